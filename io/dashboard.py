# SPDX-License-Identifier: MIT
"""The static report: one HTML file, no script, no external asset, the same bytes for the same records.

`render` is a pure function of rows and a summary; `export_dashboard_snapshot` feeds it from a telemetry buffer.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any, cast

from . import dashboard_charts as charts
from .atomic_file import write_atomically
from .checksums import HashAlgorithm
from .dashboard_charts import Canvas, Scale
from .dashboard_rows import DIAGNOSTICS, KERNELS, Series, flags_of, has_number, newest_part, series_by_symbol
from .dashboard_style import STYLE
from .telemetry import TelemetryBuffer, materialize_telemetry_batch

TITLE = "USP Telemetry Dashboard"
WIDTH, HEIGHT = 720, 180
SPREAD_EPSILON = 1e-9
RECENT_ROWS = 25
OPEN_SECTIONS = 6
SIDE_ROOM = 320
FLAG_HEIGHT = 8
CLOSE_UP = 80
SPARK = (110, 26)
TIME_LABELS = 5
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
SEVERITY: Mapping[str, str] = {
    "outlier": "bad",
    "emergency": "bad",
    "emergency_mode": "bad",
    "degraded": "warn",
    "degraded_mode": "warn",
    "degraded_inference_mode": "warn",
    "regime_change": "warn",
    "regime_change_detected": "warn",
    "mode_collapse_warning": "warn",
}
NAMES: Mapping[str, str] = {
    "ticks_in": "Ticks in",
    "predictions_out": "Predictions out",
    "latency_p50_ms": "Latency, median",
    "latency_p99_ms": "Latency, p99",
    "of_these_outliers_held": "Outliers held back",
    "relative_rmse": "RMSE ratio",
    "coverage": "Inside 95 %",
    "degraded_inference_mode": "degraded",
    "degraded_mode": "degraded",
    "emergency_mode": "emergency",
    "regime_change_detected": "regime change",
    "mode_collapse_warning": "mode collapse",
    "jko_suspended": "weights held",
    "kernel_d_frozen": "kernel D frozen",
}


def export_dashboard_snapshot(
    telemetry_buffer: TelemetryBuffer,
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
    flags = [name for name in ("mode_collapse_warning", "degraded_mode", "emergency_mode") if payload.get(name)]
    return {**payload, "mean": payload.get("prediction"), "flags": flags}


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
        f"<h1>{escape(title)}</h1>",
        f'<p class="sub">{escape(subtitle(series, len(all_rows), facts))}</p>',
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
        f"<title>{escape(title)}</title><style>{STYLE}:root{{--wide:{width + SIDE_ROOM}px}}</style></head>"
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


def stamp(time_ns: int, with_date: bool) -> str:
    """UTC, to the second."""
    try:
        moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    except (OverflowError, OSError, ValueError):
        return f"{time_ns} ns"
    return moment.strftime("%Y-%m-%d %H:%M:%S" if with_date else "%H:%M:%S")


def is_per_symbol(value: Any, symbols: set[str]) -> bool:
    """A map with an entry for some of the symbols and for nothing else."""
    return isinstance(value, Mapping) and bool(cast(Any, value)) and set(cast(Mapping[Any, Any], value)) <= symbols


def named(name: str) -> str:
    """A key as people say it."""
    return NAMES.get(name, name.replace("_ms", "").replace("_", " ").strip().capitalize())


def figure(name: str, value: Any) -> str:
    """A value with its unit."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return escape(str(value))
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "–"
    if name.endswith("_ms"):
        return f"{value:,.1f} ms"
    return f"{value:.1%}" if name == "coverage" else f"{value:,.4g}"


def tiles(facts: Mapping[str, Any]) -> str:
    """One tile per number of the summary; refused records are summed."""
    cells: list[tuple[str, str]] = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            counts = cast(Mapping[str, Any], value)
            if name == "rejected":
                cells.append((named(name), figure(name, sum(counts.values()))))
        elif isinstance(value, int | float):
            cells.append((named(name), figure(name, value)))
    inside = "".join(f'<div class="tile"><b>{value}</b><span>{escape(name)}</span></div>' for name, value in cells)
    return f'<div class="tiles">{inside}</div>' if inside else ""


def count_cards(facts: Mapping[str, Any], per_symbol: Mapping[str, Any]) -> str:
    """Counts by reason as bars, most frequent first."""
    cards = [
        f'<section class="card"><h2>{escape(named(name))}</h2>{bars(cast(Mapping[str, Any], value))}</section>'
        for name, value in facts.items()
        if isinstance(value, Mapping) and name not in per_symbol and value
    ]
    return f'<div class="pair">{"".join(cards)}</div>' if cards else ""


def bars(counts: Mapping[str, Any]) -> str:
    """A bar chart of counts."""
    ordered = sorted(counts.items(), key=lambda item: (-float(item[1]), item[0]))
    most = max(float(count) for _, count in ordered) or 1.0
    cells = "".join(
        f"<dt>{escape(str(name).replace('_', ' '))}</dt>"
        f'<dd><div class="bar" style="width:{100.0 * float(count) / most:.1f}%"></div></dd>'
        f"<dd>{figure('', count)}</dd>"
        for name, count in ordered
    )
    return f'<dl class="bars">{cells}</dl>'


def symbol_table(series: Sequence[Series], per_symbol: Mapping[str, Any], epsilon: float) -> str:
    """One row per symbol: where it stands, what comes next, who decides, and how good it was."""
    if not series:
        return ""
    heads = ["Symbol", "", "State", "Last", "Next", "95 % interval", "Weights A–D", *map(named, per_symbol)]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(f"<tr>{symbol_row(each, per_symbol, epsilon)}</tr>" for each in series)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<section class="card"><div class="scroll" tabindex="0">{table}</div></section>'


def symbol_row(each: Series, per_symbol: Mapping[str, Any], epsilon: float) -> str:
    """The cells of one symbol."""
    canvas = Canvas(*SPARK, len(each.values))
    column = accepted_values(each) if has_number(each.values) else each.forecast[1:]
    sparkline = charts.drawing(
        canvas, f"{each.symbol}", charts.line(canvas, level_scale(each, epsilon), column, "actual")
    )
    spread = spread_of(each, epsilon)
    low, high = each.lo[-1], each.hi[-1]
    interval = f"{charts.shown(low, spread)} … {charts.shown(high, spread)}" if not math.isnan(low + high) else "–"
    extra = [figure(name, value.get(each.symbol, math.nan)) for name, value in per_symbol.items()]
    name = escape(each.symbol)
    cells = [
        f'<a href="#{anchor(each.symbol)}">{name}</a>',
        f'<span class="spark">{sparkline}</span>',
        chips(each.flags[-1]),
        charts.shown(last_of(each.values), spread),
        charts.shown(each.forecast[-1], spread),
        interval,
        mix(next((share for share in reversed(each.weights) if share is not None), None)),
        *extra,
    ]
    return "".join(f"<td>{cell}</td>" for cell in cells)


def anchor(symbol: str) -> str:
    """A name that links can use."""
    return "s-" + symbol.encode().hex()


def mix(shares: tuple[float, ...] | None) -> str:
    """The newest weights as one bar."""
    if shares is None:
        return "–"
    parts = zip(KERNELS, shares, strict=True)
    told = ", ".join(f"{name} {share:.0%}" for name, share in zip(KERNELS, shares, strict=True))
    inside = "".join(f'<u class="k{name}" style="width:{100.0 * share:.1f}%"></u>' for name, share in parts)
    return f'<span class="mix" role="img" aria-label="{told}" title="{told}">{inside}</span>'


def chips(flags: Iterable[str]) -> str:
    """The flags that are up, or that all is well."""
    inside = "".join(
        f'<span class="chip {SEVERITY.get(flag, "info")}">{escape(flag_name(flag))}</span>' for flag in sorted(flags)
    )
    return inside or '<span class="chip good">clear</span>'


def flag_name(flag: str) -> str:
    """A flag as people say it."""
    return NAMES.get(flag, flag.replace("_", " "))


def section(each: Series, size: Canvas, epsilon: float, is_open: bool) -> str:
    """All charts of one symbol."""
    canvas = size._replace(places=len(each.values) + 1)
    recent = newest_part(each, CLOSE_UP)
    near = size._replace(places=len(recent.values) + 1)
    close_up = prediction_chart(recent, near, epsilon, f"Newest {CLOSE_UP} ticks") if recent is not each else ""
    parts = [
        prediction_chart(each, canvas, epsilon, "Forecast and actual"),
        close_up,
        error_chart(each, canvas._replace(height=canvas.height // 2), epsilon),
        weights_chart(each, canvas._replace(height=canvas.height // 2)),
        flag_lanes(each, canvas._replace(height=FLAG_HEIGHT)),
        times(each),
        diagnostics(each, canvas._replace(height=canvas.height // 2), epsilon),
    ]
    spread = spread_of(each, epsilon)
    told = f"last {charts.shown(last_of(each.values), spread)} · next {charts.shown(each.forecast[-1], spread)}"
    count = f"{len(each.values):,} ticks"
    return (
        f'<details class="card" id="{anchor(each.symbol)}"{" open" if is_open else ""}><summary>'
        f"<strong>{escape(each.symbol)}</strong><span>{told}</span><span>{count}</span></summary>"
        f'<div class="body">{"".join(parts)}</div></details>'
    )


def prediction_chart(each: Series, canvas: Canvas, epsilon: float, name: str) -> str:
    """What was observed, what had been forecast, and the interval around it."""
    accepted = accepted_values(each)
    outliers = [value if held else math.nan for value, held in zip(each.values, each.held, strict=True)]
    coming = [math.nan] * len(each.values) + [each.forecast[-1]]

    def draw(scale: Scale) -> Iterable[str]:
        return (
            charts.band(canvas, scale, each.lo, each.hi, "range"),
            charts.line(canvas, scale, accepted, "actual"),
            charts.line(canvas, scale, each.forecast, "fore"),
            charts.marks(canvas, scale, outliers, "held"),
            charts.marks(canvas, scale, coming, "next"),
        )

    keys = [("actual", "actual", ""), ("forecast", "fore", ""), ("95 % interval", "band", "area")]
    keys = [key for key in keys if key[0] == "forecast" or has_number(each.lo if key[1] == "band" else each.values)]
    keys += [("refused as outlier", "bad", "area")] if any(each.held) else []
    chart = charts.framed(
        canvas, level_scale(each, epsilon), f"{name}: forecast and actual value of {each.symbol}", draw
    )
    return heading(name, *(legend(*key) for key in keys)) + chart


def error_chart(each: Series, canvas: Canvas, epsilon: float) -> str:
    """Actual less forecast, as sticks from zero."""
    if not has_number(each.errors):
        return ""
    errors = [math.nan if held else error for error, held in zip(each.errors, each.held, strict=True)]
    known = [error for error in errors if not math.isnan(error)]
    rmse = math.sqrt(sum(error * error for error in known) / len(known)) if known else math.nan
    scale = charts.scale_of([charts.bulk(errors)], epsilon, symmetric=True)

    def draw(scale: Scale) -> Iterable[str]:
        return (charts.sticks(canvas, scale, errors, "err"),)

    chart = charts.framed(canvas, scale, f"Error of the forecast of {each.symbol}", draw)
    return heading("Error", f"<span>RMSE {rmse:.4g}</span>") + chart


def weights_chart(each: Series, canvas: Canvas) -> str:
    """Who decides: the weights of the four kernels over time."""
    if all(share is None for share in each.weights):
        return ""
    newest = next(share for share in reversed(each.weights) if share is not None)
    keys = [
        f'<span class="key area k{name}">{name} {share:.0%}</span>' for name, share in zip(KERNELS, newest, strict=True)
    ]

    def draw(scale: Scale) -> Iterable[str]:
        return (charts.stacked(canvas, each.weights),)

    chart = charts.framed(canvas, Scale(0.0, 1.0), f"Weights of the kernels for {each.symbol}", draw)
    return heading("Weights", *keys) + chart


def flag_lanes(each: Series, canvas: Canvas) -> str:
    """One lane per flag that was ever up."""
    names = sorted(set[str]().union(*each.flags))
    lanes: list[str] = []
    for name in names:
        up = [name in flags for flags in each.flags]
        css = SEVERITY.get(name, "info")
        title = f"{flag_name(name)}: {sum(up):,} of {len(up):,} ticks"
        bands = charts.drawing(canvas, title, charts.lane(canvas, up, css))
        lanes.append(f'<div class="lane"><em>{escape(title)}</em>{bands}</div>')
    return heading("Flags") + f'<div class="lanes">{"".join(lanes)}</div>' if lanes else ""


def times(each: Series) -> str:
    """Clock times under the charts, evenly spaced over the ticks."""
    known = [time for time in each.times_ns if time is not None]
    if not known:
        return ""
    count = min(TIME_LABELS, len(known))
    places = [round(n * (len(known) - 1) / max(1, count - 1)) for n in range(count)]
    days = len({known[place] // 86_400_000_000_000 for place in places}) > 1
    told = [stamp(known[place], with_date=days) for place in places]
    told = [text[5:10] if days else text for text in told]
    return f'<div class="times">{"".join(f"<span>{text}</span>" for text in told)}</div>'


def diagnostics(each: Series, canvas: Canvas, epsilon: float) -> str:
    """Small charts of what the predictor thinks of the signal."""
    small = canvas._replace(width=canvas.width // 2)
    parts: list[str] = []
    for name, column in each.diagnostics.items():
        scale = charts.scale_of([charts.bulk(column)], epsilon)
        newest = charts.shown(last_of(column), scale.high - scale.low)

        def draw(scale: Scale, column: Sequence[float] = column) -> Iterable[str]:
            return (charts.line(small, scale, column, "diag"),)

        chart = charts.framed(small, scale, f"{DIAGNOSTICS[name]} of {each.symbol}", draw)
        parts.append(f"<div>{heading(DIAGNOSTICS[name], f'<span>{newest}</span>')}{chart}</div>")
    return f'<div class="minor">{"".join(parts)}</div>' if parts else ""


def heading(name: str, *keys: str) -> str:
    """The line above a chart."""
    return f'<div class="name"><b>{escape(name)}</b><span>{"".join(keys)}</span></div>'


def legend(name: str, colour: str, kind: str) -> str:
    """What a colour means."""
    return f'<span class="key {kind}" style="--c:var(--{colour})">{escape(name)}</span>'


def accepted_values(each: Series) -> list[float]:
    """What was observed and believed."""
    return [math.nan if held else value for value, held in zip(each.values, each.held, strict=True)]


def level_scale(each: Series, epsilon: float) -> Scale:
    """Fits what was accepted and forecast, and most of the interval."""
    accepted = accepted_values(each)
    columns = [accepted, charts.bulk(each.forecast), charts.bulk(each.lo), charts.bulk(each.hi)]
    return charts.scale_of(columns, epsilon)


def spread_of(each: Series, epsilon: float) -> float:
    """How far the levels of a series reach; decides how many decimals are shown."""
    scale = level_scale(each, epsilon)
    return scale.high - scale.low


def last_of(column: Sequence[float]) -> float:
    """The newest number."""
    return next((number for number in reversed(column) if not math.isnan(number)), math.nan)


RECENT_COLUMNS = ("ts_event_ns", "symbol", "value", "mean", "lo", "hi", "error")


def recent_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The newest records, newest first."""
    if not rows:
        return ""
    names = [name for name in RECENT_COLUMNS if any(row.get(name) is not None for row in rows)]
    names += [name for name in DIAGNOSTICS if any(row.get(name) is not None for row in rows)]
    head = "".join(f'<th scope="col">{escape(RECENT_NAMES.get(name, named(name)))}</th>' for name in [*names, "flags"])
    body = "".join(f"<tr>{recent_cells(row, names)}</tr>" for row in reversed(rows))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<section class="card"><h2>Newest records</h2><div class="scroll" tabindex="0">{table}</div></section>'


RECENT_NAMES = {"ts_event_ns": "Time", "mean": "Next", "lo": "From", "hi": "To"}


def recent_cells(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """The cells of one record."""
    cells: list[str] = []
    for name in names:
        value = row.get(name)
        if name == "ts_event_ns" and isinstance(value, int):
            cells.append(stamp(value, with_date=True))
        elif isinstance(value, float):
            cells.append(f"{value:,.6g}".replace("-", "\u2212") if math.isfinite(value) else "–")
        else:
            cells.append("–" if value is None else escape(str(value)))
    cells.append(chips(flags_of(row)))
    return "".join(f"<td>{cell}</td>" for cell in cells)
