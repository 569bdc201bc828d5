# SPDX-License-Identifier: MIT
"""Tiles, bars and tables of the dashboard."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from . import dashboard_charts as charts
from .dashboard_charts import Canvas
from .dashboard_rows import DIAGNOSTICS, KERNELS, Series, finite, flags_of, has_number, safe
from .dashboard_words import accepted_values, anchor, chips, figure, last_of, level_scale, named, spread_of, stamp

SPARK = (110, 26)
RECENT_COLUMNS = ("ts_event_ns", "symbol", "value", "mean", "lo", "hi", "error")
RECENT_NAMES = {"ts_event_ns": "Time", "mean": "Next", "lo": "From", "hi": "To"}


def tiles(facts: Mapping[str, Any]) -> str:
    """One tile per number of the summary; refused records are summed."""
    cells: list[tuple[str, str]] = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            counts = cast(Mapping[str, Any], value)
            if name == "rejected":
                total = sum(count for count in counts.values() if isinstance(count, int))
                cells.append((named(name), figure(name, total)))
        elif isinstance(value, int | float):
            cells.append((named(name), figure(name, value)))
    inside = "".join(f'<div class="tile"><b>{value}</b><span>{safe(name)}</span></div>' for name, value in cells)
    return f'<div class="tiles">{inside}</div>' if inside else ""


def count_cards(facts: Mapping[str, Any], per_symbol: Mapping[str, Any]) -> str:
    """Counts by reason as bars, most frequent first."""
    cards = [
        f'<section class="card"><h2>{safe(named(name))}</h2>{bars(cast(Mapping[str, Any], value))}</section>'
        for name, value in facts.items()
        if isinstance(value, Mapping) and name not in per_symbol and value
    ]
    return f'<div class="pair">{"".join(cards)}</div>' if cards else ""


def bars(counts: Mapping[str, Any]) -> str:
    """A bar chart of counts."""
    known = {name: finite(count) for name, count in counts.items() if not math.isnan(finite(count))}
    ordered = sorted(known.items(), key=lambda item: (-item[1], item[0]))
    most = max(known.values(), default=0.0) or 1.0
    cells = "".join(
        f"<dt>{safe(str(name).replace('_', ' '))}</dt>"
        f'<dd><div class="bar" style="width:{100.0 * max(0.0, count) / most:.1f}%"></div></dd>'
        f"<dd>{figure('', counts[name])}</dd>"
        for name, count in ordered
    )
    return f'<dl class="bars">{cells}</dl>'


def symbol_table(series: Sequence[Series], per_symbol: Mapping[str, Any], epsilon: float) -> str:
    """One row per symbol: where it stands, what comes next, who decides, and how good it was."""
    if not series:
        return ""
    heads = ["Symbol", "", "State", "Last", "Next", "95 % interval", "Weights A–D", *map(named, per_symbol)]
    head = "".join(f'<th scope="col">{safe(name)}</th>' for name in heads)
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
    name = safe(each.symbol)
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


def mix(shares: tuple[float, ...] | None) -> str:
    """The newest weights as one bar."""
    if shares is None:
        return "–"
    parts = zip(KERNELS, shares, strict=True)
    told = ", ".join(f"{name} {share:.0%}" for name, share in zip(KERNELS, shares, strict=True))
    inside = "".join(f'<u class="k{name}" style="width:{100.0 * share:.1f}%"></u>' for name, share in parts)
    return f'<span class="mix" role="img" aria-label="{told}" title="{told}">{inside}</span>'


def recent_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The newest records, newest first."""
    if not rows:
        return ""
    names = [name for name in RECENT_COLUMNS if any(row.get(name) is not None for row in rows)]
    names += [name for name in DIAGNOSTICS if any(row.get(name) is not None for row in rows)]
    head = "".join(f'<th scope="col">{safe(RECENT_NAMES.get(name, named(name)))}</th>' for name in [*names, "flags"])
    body = "".join(f"<tr>{recent_cells(row, names)}</tr>" for row in reversed(rows))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<section class="card"><h2>Newest records</h2><div class="scroll" tabindex="0">{table}</div></section>'


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
            cells.append("–" if value is None else safe(str(value)))
    cells.append(chips(flags_of(row)))
    return "".join(f"<td>{cell}</td>" for cell in cells)
