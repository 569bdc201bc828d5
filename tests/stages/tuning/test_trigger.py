# SPDX-License-Identifier: MIT
"""When automatic tuning begins: a regime change and a rise of the error, both, and not too often."""

import numpy as np

from usp.stages.tuning.trigger import LEAST_STEPS_BETWEEN, RECENT, Watch, follow, tuned


def after(errors: list[float], changes: set[int], watch: Watch | None = None) -> tuple[Watch, list[int]]:
    """The watch after these errors, and the steps at which a tuning was due."""
    watch = watch or Watch()
    due: list[int] = []
    for error in errors:
        step = watch.step + 1
        watch = follow(watch, step, error, step in changes)
        due += [step] if watch.is_due else []
    return watch, due


def noise(steps: int, sigma: float = 1.0, seed: int = 1) -> list[float]:
    """Errors of one size."""
    return (sigma * np.random.default_rng(seed).standard_normal(steps)).tolist()


def test_a_rise_alone_is_no_reason() -> None:
    """A market that turned wild, without a regime alarm, starts nothing."""
    assert after(noise(500) + noise(200, 3.0), set())[1] == []


def test_an_alarm_alone_is_no_reason() -> None:
    """An alarm that cost nothing starts nothing."""
    assert after(noise(800, seed=4), {600})[1] == []


def test_both_together_are() -> None:
    """Soon after the alarm, and only while it is recent."""
    due = after(noise(500) + noise(200, 3.0), {505})[1]
    assert due
    assert 505 <= due[0] <= 505 + RECENT
    assert due[-1] <= 505 + RECENT


def test_too_short_a_past_is_no_reason() -> None:
    """Without a reference there is no rise."""
    assert after(noise(100) + noise(100, 5.0), {101})[1] == []


def test_a_tuning_rests_until_the_governor_would_take_another() -> None:
    """Nothing is due again within the stable steps that the governor asks for."""
    watch, due = after(noise(500) + noise(40, 3.0), {505})
    assert due
    watch = tuned(watch)
    again = after(noise(900) + noise(100, 9.0) + noise(200, 30.0), {watch.step + 905, watch.step + 1005}, watch)[1]
    assert again
    assert again[0] - watch.step >= LEAST_STEPS_BETWEEN


def test_repeated_and_absent_errors_change_nothing() -> None:
    """A prediction that was read twice, one without an error, one that is no number."""
    watch = after(noise(300), {10})[0]
    for step, error in ((watch.step, 5.0), (1, 5.0), (watch.step + 1, None), (watch.step + 1, float("nan"))):
        assert follow(watch, step, error, True) == watch


def test_a_price_that_stood_still_has_no_rise() -> None:
    """No error at all before is no measure of a rise."""
    assert after([0.0] * 400 + noise(RECENT), {401})[1] == []
