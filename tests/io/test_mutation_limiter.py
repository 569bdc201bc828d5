# SPDX-License-Identifier: MIT
"""Promises of the limiter in memory: rate, stability, size, safe with threads, rebuilt from the audit log."""

from concurrent.futures import ThreadPoolExecutor

from usp.io.audit_log import append_audit_log
from usp.io.config_mutation import MutationRateLimiter

DELTA = {"orchestration.cusum_k": (0.5, 0.6)}


def test_a_fresh_limiter_wants_stability_first():
    """The first change, too, needs 1,000 steps."""
    limiter = MutationRateLimiter()
    assert limiter.can_mutate() == (False, "Stability: 0/1000")
    for _ in range(1000):
        limiter.increment_stability_counter()
    assert limiter.can_mutate() == (True, "OK")
    limiter.record_mutation(DELTA)
    assert limiter.can_mutate() == (False, "Stability: 0/1000")


def test_ten_changes_in_an_hour_are_enough():
    """The eleventh is refused."""
    limiter = MutationRateLimiter(stability_steps_required=0)
    for _ in range(10):
        assert limiter.can_mutate() == (True, "OK")
        limiter.record_mutation(DELTA)
    assert limiter.can_mutate() == (False, "Rate limit: 10/10 mutations")


def test_the_size_of_a_step_may_be_set():
    """The limit of the limiter holds, unless a call names its own; zero is a limit too."""
    limiter = MutationRateLimiter(max_relative_change=0.1)
    assert limiter.validate_delta(DELTA)[0] is False
    assert limiter.validate_delta(DELTA, 0.3)[0] is True
    assert limiter.validate_delta(DELTA, 0.0)[0] is False


def test_of_many_callers_exactly_ten_pass():
    """Check and record are one step."""
    limiter = MutationRateLimiter(stability_steps_required=0)
    with ThreadPoolExecutor(16) as pool:
        passed = list(pool.map(lambda _: limiter.try_mutation(DELTA)[0], range(64)))
    assert sum(passed) == 10


def test_a_limiter_remembers_what_the_audit_log_knows(tmp_path):
    """After a restart the successful changes of the last hour count; older ones and refused ones do not."""
    log = tmp_path / "mutations.log"
    for event in ("MUTATION_SUCCESS", "MUTATION_ABORTED", "MUTATION_SUCCESS"):
        append_audit_log(log, {"event": event, "delta": {"a": [1, 2]}})
    append_audit_log(log, {"timestamp": "2020-01-01T00:00:00.000000Z", "event": "MUTATION_SUCCESS"})
    limiter = MutationRateLimiter.from_audit_log(log, stability_steps_required=0, max_mutations_per_hour=2)
    assert limiter.can_mutate() == (False, "Rate limit: 2/2 mutations")
