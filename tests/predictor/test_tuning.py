# SPDX-License-Identifier: MIT
"""Walk-forward measurement: taught before tested, lanes that know nothing of each other, objectives by hand."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usp.config.model import ModelConfig, packaged_defaults
from usp.predictor import INPUT_COUNT, Inputs
from usp.predictor.tuning import (
    LEAST_TEST_ROWS,
    Cell,
    Job,
    Series,
    Split,
    TooFewRows,
    mape,
    mase,
    measure,
    objective,
    relative_rmse,
    scored,
    walk_forward,
)


def series(symbol: str, rows: int, seed: int = 1) -> Series:
    """A random walk, one tick per second, all accepted."""
    inputs = np.zeros((rows, INPUT_COUNT))
    inputs[:, Inputs.ACTIVE] = inputs[:, Inputs.ACCEPT] = 1.0
    inputs[:, Inputs.PRICE] = 100.0 + 0.1 * np.cumsum(np.random.default_rng(seed).standard_normal(rows))
    inputs[:, Inputs.TIME_S] = np.arange(rows)
    return Series(symbol, inputs)


def with_cusum(config: ModelConfig, k: float, h: float) -> ModelConfig:
    """The configuration with another alarm."""
    return replace(config, orchestration=replace(config.orchestration, cusum_k=k, cusum_h=h))


@given(st.integers(0, 5000), st.floats(0.05, 0.95), st.integers(1, 20))
def test_every_fold_teaches_strictly_before_it_tests(rows: int, train_ratio: float, folds: int) -> None:
    """Folds roll over the whole record, test each row at most once, and never a row that they were taught."""
    try:
        splits = walk_forward(rows, train_ratio, folds)
    except TooFewRows:
        assert int(rows * (1.0 - train_ratio) / folds) < LEAST_TEST_ROWS
        return
    assert len(splits) == folds
    assert splits[0].start == 0
    assert splits[-1].stop == rows
    assert all(s.start < s.test < s.stop for s in splits)
    assert all(a.stop == b.test for a, b in pairwise(splits))
    assert len({(s.test - s.start, s.stop - s.test) for s in splits}) == 1


def test_too_short_a_record_says_how_many_rows_it_takes() -> None:
    """The number in the message is enough."""
    with pytest.raises(TooFewRows, match="at least 334"):
        walk_forward(100, 0.7, 5)
    assert len(walk_forward(334, 0.7, 5)) == 5


def test_errors_are_those_of_the_tested_rows_alone() -> None:
    """Sums by hand: forecasts made at row t are held against row t + 1; an outlier is no target."""
    given_series = series("S", 6)
    given_series.inputs[:, Inputs.PRICE] = [10.0, 11.0, 13.0, 500.0, 12.0, 16.0]
    given_series.inputs[3, Inputs.ACCEPT] = 0.0
    forecasts = np.array([0.0, 12.5, 12.5, 12.5, 15.0, 0.0])
    cell = scored(Job(packaged_defaults(), given_series, Split(0, 2, 6)), forecasts)
    # targets 13 (forecast 12.5, last 11), 12 (12.5, 13), 16 (15, 12); taught move: 11 - 10
    assert cell == Cell(
        rows=3,
        squared=0.25 + 0.25 + 1.0,
        squared_last=4.0 + 1.0 + 16.0,
        absolute=2.0,
        relative=0.5 / 13 + 0.5 / 12 + 1.0 / 16,
        relative_rows=3,
        taught_absolute_last=1.0,
    )
    assert relative_rmse(cell) == math.sqrt(1.5 / 21.0)
    assert mape(cell) == (0.5 / 13 + 0.5 / 12 + 1.0 / 16) / 3
    assert mase(cell) == 2.0 / 3


def test_cells_without_a_value_are_left_out_and_bad_numbers_are_unusable() -> None:
    """A price that stood still says nothing; a forecast that is not finite can never win."""
    still = Cell(5, 0.0, 0.0, 0.0, 0.0, 0, 0.0)
    moved = Cell(5, 4.0, 1.0, 2.0, 1.0, 5, 0.5)
    broken = moved._replace(squared=math.nan, absolute=math.inf, relative=math.nan)
    for name in ("rmse", "mape", "mase"):
        assert objective(name, [still, moved]) == objective(name, [moved])
        assert objective(name, [still]) == math.inf
        assert objective(name, [moved, broken]) == math.inf


@pytest.mark.slow
def test_how_jobs_share_lanes_changes_no_bit() -> None:
    """Alone, in another order, or beside other candidates and lengths: the same cells."""
    config = packaged_defaults()
    configs = [with_cusum(config, 0.25 + 0.02 * i, 4.75 + 0.1 * i) for i in range(9)]
    splits = [Split(0, 60, 90), Split(30, 90, 150)]
    jobs = [Job(c, series("S", 150), split) for c in configs for split in splits]
    together = measure(jobs)
    assert measure(jobs[::-1]) == together[::-1]
    assert measure(jobs[5:6]) == together[5:6]


@pytest.mark.slow
def test_no_forecast_depends_on_later_rows() -> None:
    """Another future leaves every error up to it as it was: the errors of a shorter split are part of the longer."""
    first, other = series("S", 120), series("S", 120)
    other.inputs[100:, Inputs.PRICE] *= 1.5
    config = packaged_defaults()
    a, b = measure([Job(config, first, Split(0, 60, 100)), Job(config, other, Split(0, 60, 100))])
    assert a == b
    longer = measure([Job(config, first, Split(0, 60, 120))])[0]
    assert longer.squared > a.squared
