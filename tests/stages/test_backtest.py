# SPDX-License-Identifier: MIT
"""A backtest is the pipeline on past ticks: same gate, same step, same bits; one row per input row."""

import math

import numpy as np
import pytest

from harness import MemoryBroker, drain, runner_on
from prediction_examples import prediction
from usp.io.tick_files import PredictionRow, TickRow
from usp.stages import ingest, orchestrator, topology
from usp.stages.backtest import Backtest, Errors, Summary
from usp.stages.library import tick_of

START_NS = 1_700_000_000_000_000_000


def rows(count: int = 240) -> list[TickRow]:
    """Two interleaved series with a rejected row and an outlier."""
    generator = np.random.default_rng(5)
    prices = 100.0 + np.cumsum(generator.normal(0.0, 0.1, count))
    prices[77], prices[201] = math.nan, 9_000.0
    names = ("AAA", "BBB")
    return [TickRow(i, START_NS + i * 1_000_000_000, names[i % 2], float(price)) for i, price in enumerate(prices)]


@pytest.fixture(scope="module")
def forecasts() -> tuple[list[PredictionRow], Backtest]:
    """One backtest of the rows."""
    test = Backtest(burn_in=20)
    return list(test.run(rows())), test


def test_one_row_per_input_row_from_each_symbols_second_on(forecasts: tuple[list[PredictionRow], Backtest]) -> None:
    """Rejected rows are forecast too, with the forecast that was held."""
    made, _ = forecasts
    assert list(range(2, 240)) == [row.index for row in made]
    by_index = {row.index: row for row in made}
    assert by_index[77].pred == by_index[79].pred
    assert math.isnan(by_index[77].y)


def test_forecasts_never_see_the_row_they_forecast() -> None:
    """Changing the last rows changes no forecast of an earlier or of the first changed row."""
    changed = rows()
    changed[200:] = [TickRow(r.index, r.timestamp_ns, r.symbol, r.price * 1.01) for r in changed[200:]]
    before = {r.index: r.pred for r in Backtest().run(rows())}
    after = {r.index: r.pred for r in Backtest().run(changed)}
    assert {i: p for i, p in before.items() if i < 202} == {i: p for i, p in after.items() if i < 202}
    assert before[202] != after[202]


def test_rejections_are_counted_by_reason(forecasts: tuple[list[PredictionRow], Backtest]) -> None:
    """The summary tells what was refused."""
    _, test = forecasts
    assert {"non_finite_price": 1, "outlier": 1} == dict(test.summary.rejected)


def test_regret_is_measured_against_the_best_kernel_in_hindsight() -> None:
    """By hand: we lose 1 and 4, kernel A 0 and 1, the last value 1 and 4: (5 - 1) / 5."""
    summary = Summary(burn_in=0, errors={"AAA": Errors(previous=0.0)})
    for price, mean, kernels in ((1.0, 2.0, [1.0, 9.0, 9.0, 9.0]), (3.0, 1.0, [2.0, 3.0, 9.0, 9.0])):
        forecast = prediction(mean=mean, kernel_means=kernels)
        summary.errors["AAA"].add(forecast, price, summary.burn_in)
    assert pytest.approx((5.0 - 1.0) / 5.0) == summary.regret("AAA")
    assert 0.0 == Summary(errors={"AAA": Errors()}).regret("AAA")


def test_the_pipeline_makes_the_same_bits() -> None:
    """Ticks through both stages on the in-memory bus give the backtest's forecasts, bit for bit."""
    broker = MemoryBroker()
    gate = runner_on(ingest.STAGE, broker)
    for place, row in enumerate(rows()):
        broker.now_ns = row.timestamp_ns - 1_000_000
        tick = tick_of(row.symbol, row.timestamp_ns, row.price, None, None, None)
        broker.publish(topology.MARKET_TICKS, [(row.symbol, tick)], partition=place % 2)
        gate.turn()
    drain(lambda: runner_on(orchestrator.STAGE, broker, most=31))
    piped = {
        (r.symbol, r.ts_event_ns): (r.mean, r.median, r.lo, r.hi, *r.weights)
        for r in broker.records(topology.PREDICTIONS)
        if r.accepted
    }
    test, made = Backtest(), {}
    for row in rows():
        list(test.chunk([row]))
        forecast = test.held[row.symbol]
        if forecast is not None and forecast.accepted:
            numbers = (forecast.mean, forecast.median, forecast.lo, forecast.hi, *forecast.weights)
            made[row.symbol, forecast.ts_event_ns] = numbers
    assert 238 == len(made)
    assert made == piped
