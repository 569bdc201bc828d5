# SPDX-License-Identifier: MIT
import math
from typing import Any

import pytest

from usp.config.model import packaged_defaults
from usp.io.bus import Partition
from usp.io.telemetry_block import COLUMNS, Origin, Steps, pack
from usp.schemas.records import Alert
from usp.stages import topology
from usp.stages.adaptive_alerts import COVERAGE, LEVELS
from usp.stages.contract import Batch, Record, Send
from usp.stages.telemetry_sink import STAGE, TelemetrySinkState

CONFIG = packaged_defaults()
WINDOW = CONFIG.io.telemetry_adaptive_window_size
CALM = {
    "max_stiffness_metric": 10.0,
    "num_internal_iterations_mean": 2.0,
    "scheme_frequency_explicit": 1.0,
    COVERAGE: 0.95,
}


def fresh() -> TelemetrySinkState:
    """The sink as it starts."""
    return STAGE.init(CONFIG)


def alerts(state: TelemetrySinkState, *steps: tuple[float, dict[str, float] | None], symbol: str = "X") -> list[Alert]:
    """What the sink says to steps of (kurtosis, adaptive values)."""
    rows: list[list[float]] = []
    for kurtosis, _ in steps:
        rows.append([0.25] * 4 + [0.0] * (len(COLUMNS) - 4))
        rows[-1][COLUMNS.index("kurtosis")] = kurtosis
    numbers = range(len(steps))
    looks = {n: adaptive for n, (_, adaptive) in enumerate(steps) if adaptive is not None}
    columns = ([f"{n:032x}" for n in numbers], [symbol] * len(steps), numbers, numbers, [1_000 + n for n in numbers])
    block = pack(Steps(*columns, rows, looks), Origin(3, 0, 0, "sha256"))
    record = Record(Partition(topology.TELEMETRY.name, 3), 0, None, block, 0, (), b"")
    outputs, _ = STAGE.handle(Batch(0, (record,)), state)
    return [each.value for each in outputs if isinstance(each, Send) and isinstance(each.value, Alert)]


def look(**other: float) -> tuple[float, dict[str, Any]]:
    """The last step of an adaptive window in which all is calm but this."""
    return 3.0, CALM | other


@pytest.mark.parametrize(
    ("event", "measure", "fine", "bad"),
    [
        ("StiffnessWarning", "max_stiffness_metric", 2000.0, 2001.0),
        ("NewtonIterationsWarning", "num_internal_iterations_mean", 10.0, 10.5),
        ("ExplicitShareWarning", "scheme_frequency_explicit", 0.5, 0.49),
        ("CoverageDriftWarning", COVERAGE, 0.901, 0.89),
        ("CoverageDriftWarning", COVERAGE, 0.999, 1.01),
    ],
)
def test_a_level_is_told_when_it_is_crossed_and_not_before(event: str, measure: str, fine: float, bad: float):
    """At the limit nothing is said; beyond it once, with symbol, origin and what was measured."""
    state = fresh()
    assert alerts(state, look(**{measure: fine})) == []
    (told,) = alerts(state, look(**{measure: bad}))
    assert (told.event, told.symbol, told.origin_partition, told.stage) == (event, "X", 3, "telemetry-sink")
    assert told.severity == next(level.severity for level in LEVELS if level.event == event)
    assert "limit" in told.detail
    assert alerts(state, look(**{measure: bad}), look(**{measure: bad})) == []


def test_a_level_is_told_again_only_after_it_was_well_inside():
    """A measure that trembles around its limit is one event."""
    state = fresh()
    trembling = [look(max_stiffness_metric=value) for value in (2100.0, 1950.0, 2100.0, 1950.0, 2100.0)]
    assert len(alerts(state, *trembling)) == 1
    assert len(alerts(state, look(max_stiffness_metric=100.0), look(max_stiffness_metric=2100.0))) == 1


def test_kurtosis_counts_once_it_lasts():
    """A window of steps in a row above 20; one step below begins anew."""
    state = fresh()
    assert alerts(state, *[(25.0, None)] * (WINDOW - 1), (19.0, None), *[(25.0, None)] * (WINDOW - 1)) == []
    (told,) = alerts(state, (25.0, None))
    assert (told.event, told.detail["lasting_kurtosis"], told.detail["limit"]) == ("KurtosisWarning", "25", "20")
    assert alerts(state, *[(25.0, None)] * 5) == []
    assert alerts(state, (3.0, None)) == []
    assert state.watches == {}


def test_symbols_are_told_apart_and_a_partition_that_goes_is_forgotten():
    """Each has its own levels."""
    state = fresh()
    bad = look(scheme_frequency_explicit=0.0)
    assert [len(alerts(state, bad, symbol=name)) for name in ("X", "Y", "X")] == [1, 1, 0]
    assert STAGE.release is not None
    assert STAGE.release(state, 3).watches == {}


def test_what_was_not_measured_raises_nothing():
    """NaN, and a producer that sends fewer fields."""
    state = fresh()
    assert alerts(state, (math.nan, dict.fromkeys(CALM, math.nan)), (3.0, {}), (3.0, None)) == []
