# SPDX-License-Identifier: MIT
"""The section of one symbol: all its charts, over the same places."""

import math
from collections.abc import Iterable, Sequence

from . import dashboard_charts as charts
from .dashboard_charts import Canvas, Scale
from .dashboard_rows import DIAGNOSTICS, KERNELS, Series, epoch_changes, has_number, newest_part, safe
from .dashboard_words import SEVERITY, accepted_values, anchor, flag_name, last_of, level_scale, spread_of, stamp

FLAG_HEIGHT = 8
CLOSE_UP = 80
TIME_LABELS = 5
EPOCHS_TOLD = 6


def section(each: Series, size: Canvas, epsilon: float, is_open: bool) -> str:
    """All charts of one symbol."""
    canvas = size._replace(places=len(each.values) + 1)
    recent = newest_part(each, CLOSE_UP)
    near = size._replace(places=len(recent.values) + 1)
    close_up = prediction_chart(recent, near, epsilon, f"Newest {CLOSE_UP} ticks") if recent is not each else ""
    parts = [
        prediction_chart(each, canvas, epsilon, "Forecast and actual" if has_number(each.values) else "Forecast"),
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
        f"<strong>{safe(each.symbol)}</strong><span>{told}</span><span>{count}</span></summary>"
        f'<div class="body">{"".join(parts)}</div></details>'
    )


def prediction_chart(each: Series, canvas: Canvas, epsilon: float, name: str) -> str:
    """What was observed, what had been forecast, and the interval around it."""
    accepted = accepted_values(each)
    outliers = [value if held else math.nan for value, held in zip(each.values, each.held, strict=True)]
    coming = [math.nan] * len(each.values) + [each.forecast[-1]]
    changes = epoch_changes(each)

    def draw(scale: Scale) -> Iterable[str]:
        return (
            charts.band(canvas, scale, each.lo, each.hi, "range"),
            charts.line(canvas, scale, accepted, "actual"),
            charts.line(canvas, scale, each.forecast, "fore"),
            charts.marks(canvas, scale, outliers, "held"),
            charts.marks(canvas, scale, coming, "next"),
            charts.rules(canvas, [place for place, _ in changes], "epoch"),
        )

    keys = [("actual", "actual", ""), ("forecast", "fore", ""), ("95 % interval", "band", "area")]
    keys = [key for key in keys if key[0] == "forecast" or has_number(each.lo if key[1] == "band" else each.values)]
    keys += [("refused as outlier", "bad", "area")] if any(each.held) else []
    keys += [(f"configuration epoch {newest_epochs(changes)}", "good", "")] if changes else []
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
        marked = charts.rules(canvas, [place for place, _ in epoch_changes(each)], "epoch")
        return (charts.sticks(canvas, scale, errors, "err"), marked)

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
        marked = charts.rules(canvas, [place for place, _ in epoch_changes(each)], "epoch")
        return (charts.stacked(canvas, each.weights), marked)

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
        lanes.append(f'<div class="lane"><em>{safe(title)}</em>{bands}</div>')
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


def newest_epochs(changes: Sequence[tuple[int, int]]) -> str:
    """The epochs that came into force, the newest few of them."""
    names = [str(epoch) for _, epoch in changes]
    return ", ".join(names if len(names) <= EPOCHS_TOLD else ["…", *names[-EPOCHS_TOLD:]])


def heading(name: str, *keys: str) -> str:
    """The line above a chart."""
    return f'<div class="name"><b>{safe(name)}</b><span>{"".join(keys)}</span></div>'


def legend(name: str, colour: str, kind: str) -> str:
    """What a colour means."""
    return f'<span class="key {kind}" style="--c:var(--{colour})">{safe(name)}</span>'
