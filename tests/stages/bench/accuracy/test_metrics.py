# SPDX-License-Identifier: MIT
"""Metrics by hand."""

import math

import numpy as np
import pytest

from usp.stages.bench.accuracy.metrics import (
    Forecasts,
    conformal,
    geometric_mean,
    interval_scores,
    ratio,
    regret,
    score,
)
from usp.stages.bench.accuracy.peers import last_value
from usp.stages.bench.accuracy.series import Series, evenly_spaced
from usp.stages.bench.accuracy.table import LAST_VALUE, Row, as_csv, rows_of
from usp.stages.bench.accuracy.verdict import verdict

VALUES = np.array([0.0, 1.0, 3.0, 2.0])


def forecasts(mean: list[float], half_width: float = 1.0) -> Forecasts:
    """A forecast with an interval of fixed width."""
    column = np.array(mean)
    return Forecasts(column, column - half_width, column + half_width)


def series(values: np.ndarray = VALUES, bayes: list[float] | None = None) -> Series:
    """A series of these values."""
    known = None if bayes is None else np.array(bayes)
    return Series("white", 1, values, evenly_spaced(len(values)), "by hand", known)


def test_errors_after_the_burn_in() -> None:
    """Errors 1, -1, 2 after one value: RMSE sqrt(2), MAE 4/3; two of three values inside."""
    found = score(VALUES, forecasts([9.0, 0.0, 4.0, 0.0]), "rmse", burn_in=1)
    assert (3, pytest.approx(math.sqrt(2.0)), pytest.approx(4 / 3)) == (found.steps, found.rmse, found.mae)
    assert (pytest.approx(2.0), pytest.approx(2 / 3)) == (found.loss, found.coverage)
    assert pytest.approx(4 / 3) == score(VALUES, forecasts([9.0, 0.0, 4.0, 0.0]), "mae", burn_in=1).loss


def test_a_missing_forecast_is_no_score() -> None:
    """A gap after the burn-in is refused, before it is nobody's business."""
    assert 3 == score(VALUES, forecasts([math.nan, 0.0, 0.0, 0.0]), "rmse", burn_in=1).steps
    with pytest.raises(ValueError, match="1 steps without a finite forecast"):
        score(VALUES, forecasts([0.0, 0.0, math.nan, 0.0]), "rmse", burn_in=1)


def test_the_interval_score_is_width_and_forty_times_what_is_outside() -> None:
    """Inside: the width alone; .5 outside: 2 / .05 times .5 more, on either side."""
    found = interval_scores(np.array([0.0, 1.5, -1.5]), np.full(3, -1.0), np.full(3, 1.0))
    assert [2.0, pytest.approx(22.0), pytest.approx(22.0)] == list(found)


def test_regret_is_in_losses_of_the_last_value() -> None:
    """A tenth of the last value's loss above the best; negative below it; nothing against a perfect last value."""
    assert pytest.approx(0.1) == regret(1.2, 1.0, 2.0)
    assert pytest.approx(-0.5) == regret(1.0, 2.0, 2.0)
    assert regret(1.0, 0.5, 0.0) is None
    assert ratio(1.0, 0.0) is None


def test_the_geometric_mean_multiplies() -> None:
    """sqrt(2 x 8) = 4."""
    assert pytest.approx(4.0) == geometric_mean([2.0, 8.0])


def test_conformal_intervals_cover_what_they_say() -> None:
    """95 % of the steps of a random walk with growing volatility, within a percent."""
    random = np.random.default_rng(2)
    values = np.cumsum(random.standard_normal(6000) * np.linspace(1.0, 5.0, 6000))
    found = score(values, conformal(values, last_value(values)), "rmse")
    assert found.coverage == pytest.approx(0.95, abs=0.01)


def test_conformal_intervals_see_the_past_alone() -> None:
    """Later values change no earlier bound."""
    values = np.cumsum(np.random.default_rng(3).standard_normal(900))
    changed = values.copy()
    changed[700:] += 50.0
    before, after = (conformal(each, last_value(each)).hi[:700] for each in (values, changed))
    assert before.tobytes() == after.tobytes()


def rows() -> list[Row]:
    """Us, the last value and a mediocre peer on a series whose Bayes forecast errs by one."""
    ours = Forecasts(
        *(np.array(c) for c in ([0.0, 2.0, 2.0, 3.0], [0.0] * 4, [3.0] * 4)),
        kernels=np.array([[0.0, 0.0, 0.0, 0.0], [0.0, 2.0, 2.0, 1.5]]),
        expert_losses=np.array([2.0, 0.5]),
    )
    known = series(bayes=[0.0, 0.0, 2.0, 3.0])
    found = {"usp_core": ours, LAST_VALUE: forecasts([math.nan, 0.0, 1.0, 3.0]), "zero": forecasts([0.0] * 4)}
    return rows_of(known, found, burn_in=1)


def test_rows_compare_with_the_last_value_the_best_peer_and_bayes() -> None:
    """Our squared errors 1, 1, 1; the last value's 1, 4, 1; zero's 1, 9, 4; Bayes' 1, 1, 1."""
    ours, last, zero = rows()
    assert (LAST_VALUE, "usp_core", "zero") == (ours.best_peer, ours.model, zero.model)
    assert pytest.approx(math.sqrt(0.5)) == ours.to_last_value == ours.to_best_peer
    assert (pytest.approx(1.0), pytest.approx(math.sqrt(2.0))) == (ours.to_bayes, last.to_bayes)
    assert (pytest.approx(1.0), pytest.approx(math.sqrt(14 / 6))) == (last.to_best_peer, zero.to_best_peer)


def test_regret_counts_kernels_and_experts() -> None:
    """The best kernel lost (1 + 1 + .25) / 3 = .75 a step, the best expert .5, the last value 2; we lost 1."""
    ours, last, _ = rows()
    assert pytest.approx((1.0 - 0.75) / 2.0) == ours.regret_kernel
    assert pytest.approx((1.0 - 0.5) / 2.0) == ours.regret_expert
    assert (None, None) == (last.regret_kernel, last.regret_expert)


def test_the_csv_has_a_row_per_model() -> None:
    """A header and three rows; what cannot be said is empty."""
    lines = as_csv(rows()).splitlines()
    assert lines[0].startswith("series,seed,model,metric,steps,error,")
    assert ["white,1,usp_core", "white,1,last_value", "white,1,zero"] == [
        ",".join(line.split(",")[:3]) for line in lines[1:]
    ]
    assert lines[2].endswith(",,")


def test_the_verdict_names_the_worst_series() -> None:
    """Met and unmet bars by their numbers."""
    lines = {line.name: line for line in verdict(rows(), "usp_core")}
    assert (True, "white.1") == (lines["worst / best peer"].met, lines["worst / best peer"].where)
    assert pytest.approx(math.sqrt(0.5)) == lines["geo-mean / last value"].found
    assert lines["geo-mean / last value"].met is False
    assert lines["worst / Bayes, plain laws"].met is True
    assert (pytest.approx(1.0), False) == (lines["mean coverage"].found, lines["mean coverage"].met)
    assert lines["worst regret, best kernel"].met is None
