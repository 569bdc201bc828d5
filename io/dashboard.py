# SPDX-License-Identifier: MIT
"""The static report: one HTML file, no script, no external asset, the same bytes for the same records.

`render` is a pure function of rows and a summary; `export_dashboard_snapshot` feeds it from a telemetry buffer.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from .atomic_file import write_atomically
from .checksums import HashAlgorithm
from .dashboard_charts import Canvas
from .dashboard_rows import Series, safe, series_by_symbol
from .dashboard_sections import section
from .dashboard_style import STYLE
from .dashboard_tables import count_cards, recent_table, symbol_table, tiles
from .dashboard_words import named, stamp
from .telemetry import TelemetryBuffer, TelemetryRecord, materialize_telemetry_batch

TITLE = "USP Telemetry Dashboard"
WIDTH, HEIGHT = 720, 180
SPREAD_EPSILON = 1e-9
RECENT_ROWS = 25
OPEN_SECTIONS = 6
SIDE_ROOM = 320
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def export_dashboard_snapshot(
    telemetry_buffer: TelemetryBuffer[TelemetryRecord],
    path: Path | str,
    *,
    title: str = TITLE,
    width: int = WIDTH,
    height: int = HEIGHT,
    recent_rows: int = RECENT_ROWS,
    spread_epsilon: float = SPREAD_EPSILON,
    hash_algorithm: HashAlgorithm = "sha256",
) -> int:
    """Drain the buffer, write the report atomically, and return how many records are in it."""
    records = materialize_telemetry_batch(telemetry_buffer.drain(), hash_algorithm)
    rows = [telemetry_row(record.payload) for record in records]
    page = render(rows, title=title, width=width, height=height, recent_rows=recent_rows, spread_epsilon=spread_epsilon)
    write_atomically(Path(path), page.encode())
    return len(records)


def telemetry_row(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A row from the payload of a telemetry record, which holds no observed value."""
    return {**payload, "ts_event_ns": payload.get("timestamp_ns"), "mean": payload.get("prediction")}


def render(
    rows: Iterable[Mapping[str, Any]],
    title: str = TITLE,
    width: int = WIDTH,
    height: int = HEIGHT,
    *,
    summary: Mapping[str, Any] | None = None,
    recent_rows: int = RECENT_ROWS,
    spread_epsilon: float = SPREAD_EPSILON,
) -> str:
    """The page. Rows as `dashboard_rows.py` says; `summary` holds numbers, texts and maps of counts or per symbol."""
    all_rows = list(rows)
    series = series_by_symbol(all_rows)
    facts = summary or {}
    symbols = {each.symbol for each in series}
    per_symbol = {name: value for name, value in facts.items() if is_per_symbol(value, symbols)}
    body = [
        f"<h1>{safe(title)}</h1>",
        f'<p class="sub">{safe(subtitle(series, len(all_rows), facts))}</p>',
        tiles(facts),
        count_cards(facts, per_symbol),
        symbol_table(series, per_symbol, spread_epsilon),
        *(section(each, Canvas(width, height, 0), spread_epsilon, n < OPEN_SECTIONS) for n, each in enumerate(series)),
        recent_table(all_rows[-recent_rows:]) if recent_rows else "",
        "<footer>Times are UTC. A forecast is drawn at the tick it was made for; the last dot is the next one."
        " Same records, same bytes.</footer>",
    ]
    return page(title, width, "".join(body) if all_rows or facts else body[0] + '<p class="empty">No records.</p>')


def page(title: str, width: int, body: str) -> str:
    """The document around the contents."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{safe(title)}</title><style>{STYLE}:root{{--wide:{width + SIDE_ROOM}px}}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def subtitle(series: Sequence[Series], count: int, facts: Mapping[str, Any]) -> str:
    """How much, of what, from when to when; and what the summary says in words."""
    times = [time for each in series for time in each.times_ns if time is not None]
    period = f" · {stamp(min(times), True)} to {stamp(max(times), True)}" if times else ""
    many = "symbol" if len(series) == 1 else "symbols"
    words = [
        f" · {named(name).lower()} {value.replace('_', ' ')}" for name, value in facts.items() if isinstance(value, str)
    ]
    return f"{count:,} records · {len(series)} {many}{period}{''.join(words)}"


def is_per_symbol(value: Any, symbols: set[str]) -> bool:
    """A map with an entry for some of the symbols and for nothing else."""
    return isinstance(value, Mapping) and bool(cast(Any, value)) and set(cast(Mapping[Any, Any], value)) <= symbols
