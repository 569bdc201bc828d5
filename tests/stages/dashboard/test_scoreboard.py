# SPDX-License-Identifier: MIT
"""The figures of a run are right: errors against the forecast that stood, beside the last value."""

import math

from usp.schemas.records import Prediction
from usp.stages.dashboard.scoreboard import Scoreboard


def prediction(value: float, mean: float, error: float | None, at_ns: int, **more: object) -> Prediction:
    """A prediction with the fields that the scoreboard reads."""
    fields = dict.fromkeys(Prediction.__dataclass_fields__, 0) | {
        "symbol": "A", "value": value, "mean": mean, "lo": mean - 1, "hi": mean + 1, "error": error, "accepted": True,
        "ts_event_ns": at_ns, "weights": [0.25] * 4,
    } | more  # fmt: skip
    return Prediction(**fields)


def test_relative_rmse_and_coverage() -> None:
    """Two judged steps: errors 1 and 2 against last-value errors 2 and 4."""
    board = Scoreboard(burn_in=0)
    board.add_prediction(prediction(10.0, 11.0, None, 0), 5_000_000)
    board.add_prediction(prediction(12.0, 14.0, 1.0, 0), 5_000_000)
    board.add_prediction(prediction(16.0, 16.0, 2.0, 0), 5_000_000)
    row = board.symbols["A"]
    assert math.isclose(math.sqrt(5 / 20), row.relative_rmse())
    assert 1 == row.inside
    assert 2 == row.judged


def test_outliers_are_counted_and_not_judged() -> None:
    """A held forecast says nothing about the model."""
    board = Scoreboard(burn_in=0)
    board.add_prediction(prediction(10.0, 10.0, None, 0), 1)
    board.add_prediction(prediction(9e9, 10.0, None, 0, accepted=False), 1)
    assert 1 == board.outliers
    assert 10.0 == board.symbols["A"].newest.value
    assert 0 == board.symbols["A"].judged


def test_latency_quantiles_come_from_the_histogram() -> None:
    """Within the width of a bin."""
    board = Scoreboard(burn_in=0)
    for milliseconds in range(1, 101):
        board.add_prediction(prediction(1.0, 1.0, None, 0), milliseconds * 1_000_000)
    assert math.isclose(50.0, board.latency_ms(0.5), rel_tol=0.03)
    assert math.isclose(99.0, board.latency_ms(0.99), rel_tol=0.03)
