# SPDX-License-Identifier: MIT
"""The drawings of the accuracy page, on the charts of the dashboard."""

from collections.abc import Mapping, Sequence

import numpy as np

from ....io import dashboard_charts as charts
from ....io.dashboard_charts import Canvas, Scale
from ....io.dashboard_rows import safe
from .metrics import Forecasts, losses
from .series import Numbers, Series
from .table import Row
from .verdict import PEER_BAR

WIDTH, HEIGHT = 900, 190
NEWEST = 200
LEAST_SPREAD = 1e-12
OUR_COLOURS = ("next", "diag", "err")
OUR_VARIABLES = ("--fore", "--kB", "--err")
RATIO_LOW, RATIO_HIGH = 0.9, 1.05
NOISE = 0.005
MOST_POINTS = 300  # of a curve of sums, which is smooth


def ratio_dots(groups: Mapping[str, Sequence[Row]], models: Sequence[str]) -> str:
    """A bar from 1 to the ratio for each series and bank: to the left we are better. Cut at the ends of the scale.

    Grey is within the noise, red beyond the bar of the verdict.
    """
    middle = (1.0 - RATIO_LOW) / (RATIO_HIGH - RATIO_LOW)
    parts: list[str] = []
    for label, group in groups.items():
        for row in group:
            if row.model in models and row.to_best_peer is not None:
                share = (min(max(row.to_best_peer, RATIO_LOW), RATIO_HIGH) - RATIO_LOW) / (RATIO_HIGH - RATIO_LOW)
                parts.append(ratio_bar(f"{label} · {row.model}", row.to_best_peer, middle, share))
    return f'<dl class="bars">{"".join(parts)}</dl>'


def ratio_bar(name: str, value: float, middle: float, share: float) -> str:
    """One bar of `ratio_dots`; all shares are of the width."""
    left, width = min(middle, share), abs(share - middle)
    colour = "--good" if value < 1.0 - NOISE else "--err" if value <= 1.0 + NOISE else "--warn"
    colour = "--bad" if value > PEER_BAR else colour
    style = f"margin-left:{100 * left:.2f}%;width:{100 * width:.2f}%;background:var({colour})"
    return f'<dt>{safe(name)}</dt><dd><div class="bar" style="{style}"></div></dd><dd>{value:.4f}</dd>'


def error_bars(rows: Sequence[Row], models: Sequence[str]) -> str:
    """The error of every model, smallest first; lengths are relative to the largest among all but the hopeless."""
    ordered = sorted(rows, key=lambda row: row.error)
    longest = 2.0 * ordered[len(ordered) // 2].error or max(row.error for row in ordered) or 1.0
    parts: list[str] = []
    for row in ordered:
        width = 100.0 * min(row.error / longest, 1.0)
        colour = "--fore" if row.model in models else "--err"
        bar = f'<div class="bar" style="width:{width:.2f}%;background:var({colour})"></div>'
        parts.append(f"<dt>{safe(row.model)}</dt><dd>{bar}</dd><dd>{row.error:.5g}</dd>")
    title = f"{rows[0].metric.upper()} after the burn-in"
    return f'{named(title, [])}<dl class="bars">{"".join(parts)}</dl>'


def forecast_plot(series: Series, found: Forecasts) -> str:
    """The newest values with the forecasts that stood before them."""
    first = max(0, len(series.values) - NEWEST)
    values, mean, lo, hi = (list(map(float, c[first:])) for c in (series.values, found.mean, found.lo, found.hi))
    canvas = Canvas(WIDTH, HEIGHT, len(values))
    scale = charts.scale_of([values, charts.bulk(lo), charts.bulk(hi)], LEAST_SPREAD)

    def layers(scale: Scale) -> list[str]:
        return [
            charts.band(canvas, scale, lo, hi, "range"),
            charts.line(canvas, scale, values, "actual"),
            charts.line(canvas, scale, mean, "fore"),
        ]

    keys = [("--actual", "value"), ("--fore", "our forecast"), ("--band", "95 % interval")]
    drawing = charts.framed(canvas, scale, f"{series.label}: newest values and forecasts", layers)
    return named(f"Newest {len(values)} values", keys) + drawing


def regret_plot(
    series: Series, found: Mapping[str, Forecasts], rows: Sequence[Row], models: Sequence[str], burn_in: int
) -> str:
    """Cumulative loss less that of the best single model, for us and for our best kernel; below zero is better."""
    reference = losses_after(series, found[rows[0].best_peer].mean, burn_in)
    unit = max(float(np.mean(losses_after(series, found["last_value"].mean, burn_in))), LEAST_SPREAD)

    def curve(each: Numbers) -> list[float]:
        sums = np.cumsum(each - reference) / unit
        return list(map(float, sums[:: -(-len(sums) // MOST_POINTS)]))

    curves: list[tuple[str, str, str, list[float]]] = [
        (css, variable, model, curve(losses_after(series, found[model].mean, burn_in)))
        for model, css, variable in zip(models, OUR_COLOURS, OUR_VARIABLES, strict=False)
    ]
    kernels = found[models[0]].kernels
    if kernels is not None:
        best = min((losses_after(series, kernel, burn_in) for kernel in kernels), key=lambda each: float(np.sum(each)))
        curves.append(("held", "--bad", f"best kernel of {models[0]} alone", curve(best)))
    count = len(curves[0][-1])
    canvas = Canvas(WIDTH, HEIGHT, count)
    scale = charts.scale_of([[0.0], *(points for *_, points in curves)], LEAST_SPREAD)

    def layers(scale: Scale) -> list[str]:
        zero = charts.line(canvas, scale, [0.0] * count, "zero")
        return [zero, *(charts.line(canvas, scale, points, css) for css, _, _, points in curves)]

    keys = [(variable, name) for _, variable, name, _ in curves]
    title = f"Summed loss less that of {rows[0].best_peer}, in mean losses of the last value: below zero is better"
    return named(title, keys) + charts.framed(canvas, scale, f"{series.label}: {title}", layers)


def losses_after(series: Series, mean: Numbers, burn_in: int) -> Numbers:
    """Losses of a forecast after the burn-in."""
    return losses((series.values - mean)[burn_in:], series.metric)


def named(title: str, keys: Sequence[tuple[str, str]]) -> str:
    """The line over a drawing: its title and what the colours mean."""
    legend = "".join(f'<span class="key" style="--c:var({variable})">{safe(name)}</span>' for variable, name in keys)
    return f'<div class="name"><b>{safe(title)}</b><span>{legend}</span></div>'
