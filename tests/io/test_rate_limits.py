# SPDX-License-Identifier: MIT
"""Promises of the shared limiter: exactly ten of many processes pass, with the server's clock, never without Redis."""

import os
from collections.abc import Iterator

import pytest

from usp.io.cache import open_redis
from usp.io.embedded import start_redis
from usp.io.rate_limits import RedisRateLimiter

STEPS = {"0/EURUSD": 1000}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator:
    """A Redis of our own."""
    started = start_redis(tmp_path_factory.mktemp("redis"))
    yield started
    started.stop()


@pytest.fixture
def client(server) -> Iterator:
    """An empty database."""
    found = open_redis(server.url, timeout_s=2.0)
    found.flushall()
    yield found
    found.close()


def limiter_on(client, **limits) -> RedisRateLimiter:
    return reminded(RedisRateLimiter(client, "test:", **limits))


def reminded(limiter):
    """Told that there is nothing to remember."""
    assert limiter.remember([])
    return limiter


def steps(total):
    return {"0/EURUSD": total // 2, "3/SP500": total - total // 2}


def test_stability_is_a_total_over_symbols(client):
    """1,000 steps over all symbols since the last change; a fresh log needs them too."""
    limiter = limiter_on(client)
    assert limiter.ask("a", steps(999)).reason == "Stability: 999/1000 steps since the last mutation"
    assert limiter.ask("b", steps(1000)).allowed
    assert not limiter.ask("c", steps(1999)).allowed
    assert limiter.ask("d", steps(2000)).allowed


def test_steps_never_count_twice(client):
    """Asking again with the same or older steps adds nothing; symbols that are not named keep theirs."""
    limiter = limiter_on(client)
    for number in range(5):
        assert not limiter.ask(f"a{number}", {"0/X": 400}).allowed
    assert not limiter.ask("b", {"1/Y": 500, "0/X": 10}).allowed
    assert limiter.ask("c", {"1/Y": 600}).allowed


def test_ten_in_a_sliding_hour(client):
    """The eleventh is refused with the time to wait; when the window has slid on, there is room."""
    limiter = limiter_on(client, stability_steps_required=0)
    assert all(limiter.ask(f"p{number}", STEPS).allowed for number in range(10))
    refused = limiter.ask("p10", STEPS)
    assert not refused.allowed
    assert refused.reason.startswith("Rate limit: 10/10 mutations in the last hour; try again in 3")
    short = limiter_on(client, stability_steps_required=0, window_us=1)
    assert short.ask("p11", STEPS).allowed


def test_a_known_proposal_gets_its_stored_answer(client):
    """The proposal id is the idempotency key: allowed once, counted once, answered the same for ever."""
    limiter = limiter_on(client, stability_steps_required=0, max_mutations_per_hour=1)
    assert limiter.ask("p", STEPS).allowed
    again = limiter.ask("p", STEPS)
    assert (again.allowed, again.stored) == (True, None)
    limiter.settle("p", "cafe", counts=True)
    assert limiter.ask("p", STEPS).stored == "cafe"
    assert not limiter.ask("p", STEPS).allowed
    assert not limiter.ask("q", STEPS).allowed


def test_a_change_that_came_to_nothing_gives_its_slot_back(client):
    """A proposal that was aborted after it was allowed costs neither the hour nor the stable steps."""
    limiter = limiter_on(client, max_mutations_per_hour=1)
    assert limiter.ask("p", steps(1000)).allowed
    limiter.settle("p", "cafe", counts=False)
    assert limiter.ask("q", steps(1000)).allowed


def test_a_refusal_that_was_never_allowed_gives_nothing_back(client):
    """Storing the answer to another proposal does not touch the counters."""
    limiter = limiter_on(client, max_mutations_per_hour=1)
    assert limiter.ask("p", steps(1000)).allowed
    limiter.settle("other", "cafe", counts=False)
    assert not limiter.ask("q", steps(5000)).allowed


def test_a_nonce_is_used_once(client):
    """A signed proposal cannot come again under another id."""
    limiter = limiter_on(client, stability_steps_required=0)
    assert limiter.ask("p", STEPS, "nonce").allowed
    replayed = limiter.ask("q", STEPS, "nonce")
    assert not replayed.allowed
    assert "replayed" in replayed.reason
    assert limiter.ask("p", STEPS, "nonce").allowed


def test_a_redis_that_lost_everything_is_told_what_the_audit_log_knows(client):
    """Until it is told nothing passes; then the hour's changes and the stable steps count again, told twice or once."""
    limiter = RedisRateLimiter(client, "test:", stability_steps_required=0, max_mutations_per_hour=2)
    found = limiter.ask("a", STEPS)
    assert (found.allowed, found.lost) == (False, True)
    assert limiter.remember([("p0", 3599.0), ("p1", 10.0)], steps=500)
    assert limiter.remember([("p2", 1.0)], steps=100_000)
    refused = limiter.ask("b", STEPS)
    assert refused.reason.startswith("Rate limit: 2/2 mutations in the last hour; try again in ")
    client.flushall()
    stable = limiter_on(client)
    client.flushall()
    assert stable.remember([], steps=500)
    assert stable.ask("c", {"0/X": 1499}).reason.startswith("Stability: 999/1000")
    assert stable.ask("d", {"0/X": 1500}).allowed


def test_two_logs_do_not_share_counters(client):
    """Another prefix is another world."""
    one = reminded(RedisRateLimiter(client, "one:", 1, 0))
    two = reminded(RedisRateLimiter(client, "two:", 1, 0))
    assert one.ask("p", STEPS).allowed
    assert two.ask("p2", STEPS).allowed


def ask_in_child(url, number, gate, answers):
    """One process: wait for the start signal, ask four times, report how many passed."""
    limiter = reminded(RedisRateLimiter(open_redis(url, timeout_s=5.0), "race:", stability_steps_required=0))
    os.read(gate, 1)
    passed = sum(limiter.ask(f"{number}-{n}", STEPS).allowed for n in range(4))
    os.write(answers, bytes([passed]))
    os._exit(0)


def test_of_sixteen_processes_exactly_ten_pass(server, client):
    """16 concurrent processes, 64 questions: 10 are allowed, not 9, not 12."""
    gate, starter = os.pipe()
    reader, answers = os.pipe()
    children = []
    for number in range(16):
        child = os.fork()
        if child == 0:
            ask_in_child(server.url, number, gate, answers)
        children.append(child)
    os.write(starter, b"x" * 16)
    for child in children:
        os.waitpid(child, 0)
    assert sum(os.read(reader, 16)) == 10


def test_without_redis_nothing_passes():
    """Redis away is a refusal with a reason, soon; no address in the message."""
    limiter = RedisRateLimiter(open_redis("redis://:password@127.0.0.1:1/0", timeout_s=0.2))
    answer = limiter.ask("p", STEPS)
    assert not answer.allowed
    assert "Redis" in answer.reason
    assert "password" not in answer.reason
    assert not limiter.settle("p", "cafe", counts=True)
    assert not limiter.remember([("p", 1.0)])


def test_the_counters_survive_a_restart_of_redis(tmp_path):
    """What was counted is counted still after Redis was killed."""
    first = start_redis(tmp_path)
    client = open_redis(first.url, timeout_s=2.0)
    assert limiter_on(client, max_mutations_per_hour=1).ask("p", STEPS).allowed
    first.kill()
    second = start_redis(tmp_path)
    try:
        client = open_redis(second.url, timeout_s=2.0)
        assert not limiter_on(client, stability_steps_required=0, max_mutations_per_hour=1).ask("q", STEPS).allowed
    finally:
        second.stop()
