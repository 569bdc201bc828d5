# SPDX-License-Identifier: MIT
"""What `usp dashboard` does: gather rows, write the report, serve the live page."""

import threading
import time
import webbrowser
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console

from ...config.deployment import DeploymentSettings
from ...io.atomic_file import write_atomically
from ...io.dashboard import render, telemetry_row
from ...io.line_log import read_lines
from ...io.reader import ReadRecord, TopicReader
from ...io.wire import Wire
from ...schemas.records import Alert, DeadLetter, Prediction
from .. import topology
from ..commands.console import servers_of, wire_of
from ..commands.running import running_dashboard
from .live_page import live_page, require_access
from .look import governed_look
from .scoreboard import Scoreboard

QUIET_READS = 5
QUIET_S = 0.3
TOPICS = (topology.PREDICTIONS, topology.REJECTED, topology.DEAD_LETTERS, topology.ALERTS)


def serve(chosen: DeploymentSettings, host: str, port: int, open_it: bool, console: Console) -> None:
    """Point at the page of a running telemetry sink, or serve one from this process until interrupted."""
    sink = chosen.dashboard.port or running_dashboard(chosen)
    if sink and not host and not port:
        address = f"http://{chosen.dashboard.host}:{sink}/"
        console.print(f"live page of the telemetry sink: {address}", soft_wrap=True)
        if open_it:
            webbrowser.open(address)
        return
    own = replace(chosen.dashboard, host=host or chosen.dashboard.host, port=port)
    require_access(own)
    log = structlog.get_logger()
    with live_page(own, servers_of(chosen), chosen.bus.security, wire_of(chosen), log) as server:
        hint = "?token=..." if own.token else ""
        console.print(f"live page: {server.address}{hint}", soft_wrap=True)
        console.print("stop with Ctrl-C")
        if open_it:
            webbrowser.open(server.address)
        threading.Event().wait()


def write_report(chosen: DeploymentSettings, source: str, points: int, target: Path, console: Console) -> int:
    """Write the static report; how many records are in it. Same records and configuration, same bytes."""
    look = governed_look(chosen.paths)
    if source == "logs":
        rows, summary = rows_of_log(chosen.paths.resolved("parity_log"), points), {}
    else:
        records = kept_records(servers_of(chosen), chosen.bus.security, wire_of(chosen), console)
        rows, summary = rows_of_topics(records, points)
    page = render(rows, summary=summary, **look)
    write_atomically(target, page.encode())
    return len(rows)


def kept_records(servers: str, security: Mapping[str, str], wire: Wire, console: Console) -> Iterable[ReadRecord]:
    """Everything that the topics hold now."""
    names = [topic.name for topic in TOPICS]
    reader = TopicReader(servers, names, from_start=True, security=security, wire=wire)
    started_s, quiet = time.monotonic(), 0
    try:
        with console.status("reading the topics ...") as status:
            count = 0
            while quiet < QUIET_READS:
                records = reader.read(timeout_s=QUIET_S)
                quiet = 0 if records else quiet + 1
                count += len(records)
                status.update(f"reading the topics: {count:,} records, {time.monotonic() - started_s:.0f} s")
                yield from records
    finally:
        reader.close()


def rows_of_topics(records: Iterable[ReadRecord], points: int) -> tuple[list[dict[str, Any]], dict[str, object]]:
    """The newest rows of each symbol in the order of their ticks, and the figures of all that was read."""
    board = Scoreboard(burn_in=0)
    newest: dict[str, deque[dict[str, Any]]] = {}
    for record in records:
        match record.value:
            case Prediction() as p:
                board.add_prediction(p, record.raw.timestamp_ns)
                row = {**vars(p), "latency_ms": (record.raw.timestamp_ns - p.ts_event_ns) / 1e6}
                newest.setdefault(p.symbol, deque(maxlen=points)).append(row)
            case DeadLetter() as letter:
                board.add_letter(letter)
            case Alert() as alert:
                board.alerts[alert.event] += 1
            case _:
                pass
    rows = [row for symbol in sorted(newest) for row in newest[symbol]]
    rows.sort(key=lambda row: (row["ts_event_ns"], row["symbol"]))
    summary = board.summary(0)
    del summary["ticks_in"]
    return rows, summary


def rows_of_log(path: Path, points: int) -> list[dict[str, Any]]:
    """The newest rows of each symbol of the sink's log, which holds forecasts and no observed value."""
    newest: dict[str, deque[dict[str, Any]]] = {}
    for line in read_lines(path):
        if isinstance(line.get("step"), int) and isinstance(symbol := line.get("symbol"), str):
            newest.setdefault(symbol, deque(maxlen=points)).append(telemetry_row(line))
    return [row for symbol in sorted(newest) for row in newest[symbol]]
