# SPDX-License-Identifier: MIT
"""Promises of the judges and of what they are shown: like is compared with like, and no data never passes."""

import math

import pytest

from prediction_examples import prediction as example
from usp.stages.epoch_window import (
    Track,
    Window,
    follow,
    is_repeat,
    is_usable,
    observed,
    pooled_rmse,
    reference_of,
    widened,
)
from usp.stages.judge import JUDGES, Observation, PairedShadow, RmseRule, blocked_rank_z

RULE = RmseRule()
SHADOW = PairedShadow()


def prediction(step, value, error, *, epoch=1, **other):
    return example(symbol="X", state_step=step, value=value, error=error, config_epoch=epoch, **other)


def seen(*errors, baseline=1.0, symbol="X"):
    return [Observation(symbol, error, baseline) for error in errors]


@pytest.mark.parametrize(
    ("observations", "overdue", "verdict"),
    [
        ([], False, None),
        ([], True, "inconclusive"),
        (seen(*[1.0] * 99), False, None),
        (seen(*[1.0] * 99), True, "inconclusive"),
        (seen(*[1.0] * 100), False, "passed"),
        (seen(*[1.29] * 100), False, "passed"),
        (seen(*[1.31] * 100), False, "rolled_back"),
        (seen(*[1.31] * 100), True, "rolled_back"),
        (seen(1.0, math.nan), False, "rolled_back"),
        (seen(math.inf), False, "rolled_back"),
        (seen(*[0.0] * 100, baseline=0.0), False, "passed"),
        (seen(*[0.1] * 100, baseline=0.0), False, "rolled_back"),
        (seen(20.0), False, "rolled_back"),
        (seen(*[1.0] * 50) + seen(*[5.0] * 50, baseline=5.0, symbol="Y"), False, "passed"),
    ],
)
def test_the_stated_rule(observations, overdue, verdict):
    """Pass, roll back, wait, or nothing to say; a symbol with a larger baseline may have larger errors."""
    found = RULE.judge(observations, overdue)
    assert verdict == (found and found.verdict)


def paired(ours, before, count=100):
    """Pairs whose errors are multiples of the same shocks."""
    shocks = [1.0 + number * 37 % 11 / 4 for number in range(count)]
    return [Observation("X", shock * ours, 1.0, -shock * before) for shock in shocks]


@pytest.mark.parametrize(
    ("observations", "overdue", "verdict"),
    [
        ([], False, None),
        ([], True, "inconclusive"),
        (seen(*[1.0] * 100), True, "inconclusive"),
        (paired(1.0, 1.0, 99), False, None),
        (paired(1.0, 1.0, 99), True, "inconclusive"),
        (paired(1.0, 1.0), False, "passed"),
        (paired(0.5, 1.0), False, "passed"),
        (paired(1.09, 1.0), False, "passed"),
        (paired(1.2, 1.0), False, "rolled_back"),
        (paired(0.0, 0.0), False, "passed"),
        (paired(0.1, 0.0), False, "rolled_back"),
        (paired(1.9, 1.0, 60), False, None),
        (paired(2.5, 1.0, 9), False, None),
        (paired(2.5, 1.0, 10), False, "rolled_back"),
        ([Observation("X", math.nan, 0.0)], False, "rolled_back"),
        ([Observation("X", math.inf, 1.0, 1.0)], False, "rolled_back"),
        (paired(1.0, math.nan), True, "inconclusive"),
        ([*paired(1.0, 1.0, 99), Observation("X", 1000.0, 1.0, 1.0)], False, "inconclusive"),
        (paired(1.0, 1.0, 50) + paired(3.0, 3.0, 50), False, "passed"),
        (paired(1.0, 1.0, 75) + paired(6.0, 1.0, 25), False, "rolled_back"),
        (paired(1.0, 1.0, 75) + paired(2.0, 1.0, 25), False, "inconclusive"),
        (paired(1.0, 1.0, 95) + paired(50.0, 1.0, 5), False, "inconclusive"),
    ],
)
def test_the_paired_shadow(observations, overdue, verdict):
    """Significantly worse than the shadow is a rollback; one tick, or a wilder market, is not; NaN is at once.

    An error that doubles in one stretch of a quarter is a rollback too.
    """
    found = SHADOW.judge(observations, overdue)
    assert verdict == (found and found.verdict)


def test_the_shadow_is_the_default():
    """Both judges can be chosen by name."""
    assert JUDGES == {"shadow": SHADOW, "rmse": RULE}
    assert is_usable(Observation("X", 1.0, 1.0), RULE)
    assert not is_usable(Observation("X", 1.0, 1.0), SHADOW)
    assert is_usable(Observation("X", math.nan, 0.0), SHADOW)


def test_neighbours_that_agree_are_less_evidence_than_strangers():
    """Sums of blocks know that differences of forecasts persist; the order of equals changes nothing."""
    persistent = [1.0] * 30 + [-1.0] * 10
    mixed = [1.0, 1.0, 1.0, -1.0] * 10
    assert blocked_rank_z(persistent, 5) < blocked_rank_z(mixed, 5)
    assert blocked_rank_z([0.0] * 20, 5) == 0.0
    assert blocked_rank_z([-d for d in mixed], 5) == pytest.approx(-blocked_rank_z(mixed, 5))


def test_the_numbers_come_with_the_verdict():
    """RMSE before and after, the increase and the count are there for the audit."""
    found = RULE.judge(seen(*[1.5] * 100), False)
    assert found is not None
    assert (found.before, found.after, found.predictions) == (1.0, pytest.approx(1.5), 100)


def test_a_reference_needs_data_and_movement():
    """Too few pairs, or a symbol that stands still, have no reference."""
    assert reference_of(((1.0, 1.0),) * 9) is None
    assert reference_of(((0.0, 1.0),) * 50) is None
    found = reference_of(((2.0, 1.0),) * 50)
    assert found == (pytest.approx(2.0), pytest.approx(0.5))


def test_the_first_error_of_an_epoch_belongs_to_the_epoch_before():
    """A record carries the error of the forecast before it, which the old configuration made."""
    track = Track(1, 10, 1.0, ((1.0, 1.0),) * 20)
    first = prediction(11, 2.0, 0.5, epoch=2)
    assert observed(track, first, 2) is None
    track = follow(track, first)
    second = observed(track, prediction(12, 3.0, 0.5, epoch=2, shadow_error=0.25), 2)
    assert second == Observation("X", pytest.approx(0.5), pytest.approx(1.0), pytest.approx(0.25))


def test_repeated_and_rejected_predictions_do_not_count():
    """A prediction that comes twice, or of an outlier, says nothing new."""
    track = follow(None, prediction(5, 1.0, None))
    assert is_repeat(track, prediction(5, 1.0, 0.1))
    assert is_repeat(track, prediction(6, 1.0, 0.1, accepted=False))
    assert not is_repeat(track, prediction(6, 1.0, 0.1))


def test_a_symbol_without_a_reference_is_not_judged_but_nan_is():
    """Errors without a scale are left out; a diverged model is seen all the same."""
    track = Track(2, 10, 1.0)
    assert observed(track, prediction(11, 1.0, 0.5, epoch=2), 2) is None
    assert observed(track, prediction(11, 1.0, math.nan, epoch=2), 2) is not None


def test_half_of_the_window_at_most_is_one_symbol():
    """Of several symbols none fills more than half; a single one may fill it all."""
    window = Window(1, 0)
    for _ in range(100):
        window = widened(window, Observation("X", 1.0, 1.0), 100, symbols=2)
    assert len(window.observations) == 50
    for _ in range(100):
        window = widened(window, Observation("X", 1.0, 1.0), 100, symbols=1)
    assert len(window.observations) == 100
    assert len(widened(window, Observation("Y", 1.0, 1.0), 100, symbols=2).observations) == 100
    assert len(widened(window, Observation("Y", math.nan, 1.0), 100, symbols=2).observations) == 101


def test_an_error_that_is_absent_where_one_must_be_is_not_a_number():
    """The wire has no NaN: a forecast that stood, and no error, is a diverged model."""
    track = Track(2, 10, 1.0)
    found = observed(track, prediction(11, 1.0, None, epoch=2), 2)
    assert found is not None
    assert math.isnan(found.error)
    assert observed(None, prediction(1, 1.0, None, epoch=2), 2) is None


def test_values_that_are_not_finite_do_not_poison_the_reference():
    """One NaN in the past does not make every later judgement NaN."""
    track = follow(Track(1, 1, 1.0, ((1.0, 1.0),) * 20), prediction(2, math.nan, math.nan))
    assert pooled_rmse({(0, "X"): track}) == pytest.approx(1.0)
    assert pooled_rmse({}) is None
