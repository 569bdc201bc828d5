# SPDX-License-Identifier: MIT
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from prediction_examples import duplicate, prediction, regime_change
from usp.config.deployment import DashboardSettings, DeploymentSettings, PathsSettings
from usp.config.errors import ConfigError
from usp.config.model import load, packaged_defaults
from usp.config.template import config_file
from usp.io.avro import encode
from usp.io.bus import Partition, RawRecord
from usp.io.dashboard import render
from usp.io.line_log import LineLog
from usp.io.reader import ReadRecord
from usp.io.telemetry_line import Source, TelemetryLine
from usp.schemas.records import AnyRecord
from usp.stages import topology
from usp.stages.dashboard.live_page import page_of_sink, require_access
from usp.stages.dashboard.look import look_of
from usp.stages.dashboard.static_page import rows_of_topics, write_report

QUIET = Console(quiet=True)


def read(topic: str, number: int, value: AnyRecord, logged_ns: int) -> ReadRecord:
    """A record as the reader hands it out."""
    return ReadRecord(RawRecord(Partition(topic, number), 0, b"", encode(value), logged_ns, ()), value)


def predictions(symbol: str, number: int) -> list[ReadRecord]:
    """Thirty forecasts of a symbol, logged 5 ms after their ticks."""
    made = [
        prediction(symbol=symbol, ts_event_ns=n * 10**9, value=100.0 + n, mean=100.5 + n, lo=99.0 + n, hi=102.0 + n)
        for n in range(30)
    ]
    return [read(topology.PREDICTIONS.name, number, p, p.ts_event_ns + 5_000_000) for p in made]


def others() -> list[ReadRecord]:
    """A refused record and an alert."""
    return [read(topology.REJECTED.name, 0, duplicate(), 0), read(topology.ALERTS.name, 0, regime_change(), 0)]


def page(records: Sequence[ReadRecord], points: int = 1000) -> str:
    """The report of these records."""
    rows, summary = rows_of_topics(records, points)
    return render(rows, summary=summary)


def test_the_order_in_which_partitions_answer_does_not_show():
    """The same records give the same bytes, whoever came first."""
    a, b, c = predictions("X", 1), predictions("Y", 2), others()
    mixed = [each for pair in zip(a, b, strict=True) for each in pair]
    assert page([*a, *b, *c]) == page([*c, *mixed]) == page([*b, *c, *a])


def test_the_newest_points_of_each_symbol_are_drawn_and_all_are_counted():
    """The figures are those of everything that was read; latency is from event to log."""
    rows, summary = rows_of_topics([*predictions("X", 1), *others()], 10)
    assert [row["value"] for row in rows] == [120.0 + n for n in range(10)]
    assert {row["latency_ms"] for row in rows} == {5.0}
    assert (summary["predictions_out"], summary["rejected"], summary["alerts"]) == (
        30,
        {"duplicate": 1},
        {"RegimeChangedEvent": 1},
    )


def test_the_log_of_the_sink_is_enough_for_a_report(tmp_path: Path):
    """Without a broker: forecasts, weights and diagnostics; gap lines are no points."""
    fields = {"timestamp_ns": 5, "prediction": 1.5, "weights": [0.25] * 4, "kurtosis": 3.0}
    lines = [TelemetryLine(f"id{n}", "X", n, 1, Source(0, n, 0, n), fields) for n in (1, 2, 9)]
    chosen = DeploymentSettings(paths=PathsSettings(data_dir=str(tmp_path)))
    LineLog(chosen.paths.resolved("parity_log")).append(lines)
    target = tmp_path / "report.html"
    assert write_report(chosen, "logs", 100, target, QUIET) == 3
    assert "3 records · 1 symbol" in target.read_text()


def test_the_report_looks_as_the_governors_file_says(tmp_path: Path):
    """Title, size of the charts and rows of the table are keys of the model configuration."""
    chosen = DeploymentSettings(paths=PathsSettings(data_dir=str(tmp_path)))
    lines = [
        TelemetryLine(f"id{n}", "X", n, 1, Source(0, n, 0, n), {"timestamp_ns": n, "prediction": float(n)})
        for n in range(1, 10)
    ]
    LineLog(chosen.paths.resolved("parity_log")).append(lines)
    target = tmp_path / "report.html"
    write_report(chosen, "logs", 100, target, QUIET)
    packaged = target.read_text()
    mapping = packaged_defaults().to_mapping()
    mapping["io"] |= {
        "telemetry_dashboard_title": "Desk 7",
        "telemetry_dashboard_width": 333,
        "telemetry_dashboard_height": 222,
        "telemetry_dashboard_recent_rows": 3,
    }
    chosen.paths.resolved("config_file").write_text(config_file(load(mapping)))
    write_report(chosen, "logs", 100, target, QUIET)
    ours = target.read_text()
    assert "<h1>USP Telemetry Dashboard</h1>" in packaged and 'viewBox="0 0 720 ' in packaged
    assert "<h1>Desk 7</h1>" in ours and 'viewBox="0 0 333 222"' in ours
    assert packaged.count("<tr>") - ours.count("<tr>") == 9 - 3


def test_every_key_of_the_look_reaches_the_renderer():
    """Each of the five is handed on under the name that the renderer takes, the demo's report included."""
    mapping = packaged_defaults().to_mapping()
    wanted = {"title": "T", "width": 333, "height": 222, "recent_rows": 3, "spread_epsilon": 0.5}
    mapping["io"] |= {f"telemetry_dashboard_{name}": value for name, value in wanted.items()}
    look = look_of(load(mapping))
    assert look == wanted
    assert "<h1>T</h1>" in render([], **look)


def test_a_page_for_other_machines_needs_a_token():
    """The process refuses to start; what to do is told, the token is not."""
    with pytest.raises(ConfigError, match="USP_DASHBOARD__TOKEN"):
        require_access(DashboardSettings(host="0.0.0.0", port=8080))
    require_access(DashboardSettings(host="0.0.0.0", port=8080, token="0123456789abcdef"))


def test_a_taken_port_does_not_stop_the_sink():
    """The logs matter more than the page: the fault is logged and the stage goes on."""
    import socket

    told: list[str] = []

    class Log:
        def error(self, event: str, **facts: object) -> None:
            told.append(f"{event} {facts}")

        def info(self, event: str, **facts: object) -> None:
            told.append(event)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        own = DashboardSettings(port=taken.getsockname()[1])
        with page_of_sink(own, "127.0.0.1:1", {}, None, Log()):  # type: ignore[arg-type]
            pass
    assert told
    assert told[0].startswith("live page is off")
    with page_of_sink(DashboardSettings(), "127.0.0.1:1", {}, None, Log()):  # type: ignore[arg-type]
        assert len(told) == 1
