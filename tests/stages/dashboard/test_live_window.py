# SPDX-License-Identifier: MIT
import json
import math
from dataclasses import replace
from typing import Any

from prediction_examples import duplicate, regime_change
from prediction_examples import numbered as prediction
from usp.schemas.records import ConfigEpoch
from usp.stages.dashboard.live_window import COLUMNS, LiveWindow


def points(window: LiveWindow, symbol: str, after: int = 0, most: int = 10_000) -> list[dict[str, Any]]:
    """The points of a symbol by name."""
    rows = json.loads(window.rows(symbol, window.run, after, most).points)
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def test_a_point_holds_what_the_charts_need():
    """Levels, weights, flags as bits, epoch and delay; numbers that JSON does not have become null."""
    window = LiveWindow()
    p = replace(prediction(1), error=None, kurtosis=math.nan, degraded_inference_mode=True, config_epoch=3)
    window.add([(p, p.ts_event_ns + 12_000_000)], 0)
    (found,) = points(window, p.symbol)
    assert (found["mean"], found["lo"], found["hi"], found["value"]) == (p.mean, p.lo, p.hi, p.value)
    assert (found["error"], found["kurtosis"], found["epoch"], found["latency_ms"]) == (None, None, 3, 12.0)
    assert found["flags"] == 1
    assert found["time_ms"] == p.ts_event_ns // 1_000_000


def test_only_the_newest_points_are_kept_and_numbered_on():
    """Memory is bounded; who missed some is told the number of the first that there is."""
    window = LiveWindow(points=10)
    window.add([(prediction(n), 0) for n in range(1, 26)], 0)
    rows = window.rows(prediction(1).symbol, window.run, 0, 100)
    assert (rows.first, rows.last, len(json.loads(rows.points))) == (15, 25, 10)
    assert len(points(window, prediction(1).symbol, after=23)) == 2
    assert len(points(window, prediction(1).symbol, most=4)) == 4
    assert points(window, prediction(1).symbol, after=25) == []
    assert points(window, "unknown") == []


def test_symbols_that_are_too_many_are_told():
    """The page says how many it does not draw."""
    window = LiveWindow(most_symbols=2)
    window.add([(prediction(1, symbol=f"S{n}"), 0) for n in range(5)], 0)
    overview = json.loads(window.overview(0))
    assert [each["name"] for each in overview["symbols"]] == ["S0", "S1"]
    assert overview["hidden"] == 3


def test_the_overview_tells_what_was_refused_alarmed_and_changed():
    """Counts by reason, newest alerts, epochs; rates over the last seconds."""
    window = LiveWindow()
    letter, alert = duplicate(), regime_change("X", a="b")
    epoch = ConfigEpoch(
        epoch=2,
        config=b"",
        config_hash="",
        previous_hash="",
        proposal_id="",
        rollback=True,
        baseline_rmse=None,
        created_ns=0,
    )
    window.add([(letter, 0), (letter, 0), (alert, 5_000_000), (epoch, 0), (prediction(1), 0)], 10**9)
    found = json.loads(window.overview(10**9))
    assert found["rejected"] == {"duplicate": 2}
    assert [(each["event"], each["severity"], each["time_ms"]) for each in found["alerts"]] == [
        ("RegimeChangedEvent", "warning", 5)
    ]
    assert found["epochs"] == [{"epoch": 2, "time_ms": 0, "rollback": True}]
    assert (found["totals"]["rejected"], found["totals"]["rate"]) == (2, 0.2)


def test_a_new_run_forgets_and_says_so():
    """Points of another run are never mixed with old ones."""
    window = LiveWindow()
    window.add([(prediction(1), 0)], 0)
    before = window.run
    version = window.version
    window.clear()
    assert window.wait(version, 0.0) != version
    assert window.run == before + 1
    assert json.loads(window.overview(0))["symbols"] == []
    assert window.rows(prediction(1).symbol, before, 1, 10).first == 0
