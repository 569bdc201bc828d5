# SPDX-License-Identifier: MIT
"""Charts as inline SVG. A drawing has no text in it, so that it can stretch; labels are HTML around it.

Coordinates are those of a view box `width` by `height`; x runs over the places of a series, y over a `Scale`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from .dashboard_rows import KERNELS, has_number, safe

TICKS = 4
MARGIN = 0.08
INNER_SHARE = 0.02


class Scale(NamedTuple):
    """Values between `low` and `high`, drawn over a height."""

    low: float
    high: float

    def y(self, value: float, height: float) -> float:
        """Distance from the top; a value outside the scale lies outside the drawing, but not far."""
        share = (value - self.low) / (self.high - self.low)
        return round(height * (1.0 - min(1.5, max(-0.5, share))), 2)

    def ticks(self) -> list[float]:
        """A few round values inside."""
        step = round_step((self.high - self.low) / TICKS)
        first = math.ceil(self.low / step)
        count = math.floor(self.high / step) - first + 1
        return [(first + n) * step for n in range(min(count, 2 * TICKS + 2))]


class Canvas(NamedTuple):
    """A drawing area over `places` places."""

    width: int
    height: int
    places: int

    def x(self, place: float) -> float:
        """Where a place is drawn."""
        return round(self.width * place / max(1, self.places - 1), 2)


def round_step(rough: float) -> float:
    """The next 1, 2, 2.5 or 5 times a power of ten."""
    if not 0.0 < rough < math.inf:
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next((factor * power for factor in (1.0, 2.0, 2.5, 5.0) if factor * power >= rough), 10.0 * power)


def scale_of(columns: Iterable[Sequence[float]], epsilon: float, symmetric: bool = False) -> Scale:
    """A scale a little wider than the numbers: at least `epsilon`, for equal numbers a hundredth of their size."""
    numbers = [number for column in columns for number in column if not math.isnan(number)]
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
    if symmetric:
        low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
    spread = max(high - low, epsilon) if high > low else max(epsilon, abs(high) / 100.0)
    spread = max(spread, abs(high) * 1e-12)
    middle = (low + high) / 2.0
    half = max(high - low, spread) / 2.0 + MARGIN * spread
    return Scale(middle - half, middle + half)


def bulk(column: Sequence[float]) -> list[float]:
    """Without the few most extreme numbers, which would flatten all others."""
    numbers = sorted(number for number in column if not math.isnan(number))
    cut = int(len(numbers) * INNER_SHARE)
    return numbers[cut : len(numbers) - cut]


def digits_for(spread: float) -> int:
    """Decimals that tell values apart which differ by a hundredth of the spread."""
    return min(8, max(0, 2 - math.floor(math.log10(spread)))) if spread > 0.0 else 2


def shown(value: float, spread: float) -> str:
    """A number for people; a dash for none."""
    return "–" if math.isnan(value) else f"{value:,.{digits_for(spread)}f}".replace("-", "\u2212")


def runs(column: Sequence[float]) -> list[list[int]]:
    """Places that follow each other without a missing number."""
    found: list[list[int]] = []
    previous = -2
    for place, number in enumerate(column):
        if math.isnan(number):
            continue
        if place != previous + 1:
            found.append([])
        found[-1].append(place)
        previous = place
    return found


def thinned(places: Sequence[int], column: Sequence[float], most: int) -> list[int]:
    """At most four places per pixel column: first, lowest, highest, last. The drawing looks the same."""
    if len(places) <= 2 * most:
        return list(places)
    size = -(-len(places) // most)
    kept: list[int] = []
    for start in range(0, len(places), size):
        bucket = places[start : start + size]
        extremes = (bucket[0], min(bucket, key=lambda p: column[p]), max(bucket, key=lambda p: column[p]), bucket[-1])
        kept += sorted(set(extremes))
    return kept


def line(canvas: Canvas, scale: Scale, column: Sequence[float], css: str) -> str:
    """A polyline with breaks where numbers are missing; a lone number is a dot."""
    parts: list[str] = []
    for run in runs(column):
        points = [(canvas.x(p), scale.y(column[p], canvas.height)) for p in thinned(run, column, canvas.width)]
        if len(points) == 1:
            points = [points[0], points[0]]
        parts.append("M" + "L".join(f"{x:g} {y:g}" for x, y in points))
    return f'<path class="line {css}" d="{"".join(parts)}"/>' if parts else ""


def band(canvas: Canvas, scale: Scale, lo: Sequence[float], hi: Sequence[float], css: str) -> str:
    """The area between two columns, where both have a number."""
    both = [low if not math.isnan(high) else math.nan for low, high in zip(lo, hi, strict=True)]
    parts: list[str] = []
    for run in runs(both):
        places = sorted({*thinned(run, lo, canvas.width), *thinned(run, hi, canvas.width)})
        upper = [f"{canvas.x(p):g} {scale.y(hi[p], canvas.height):g}" for p in places]
        lower = [f"{canvas.x(p):g} {scale.y(lo[p], canvas.height):g}" for p in reversed(places)]
        parts.append("M" + "L".join(upper + lower) + "Z")
    return f'<path class="band {css}" d="{"".join(parts)}"/>' if parts else ""


def sticks(canvas: Canvas, scale: Scale, column: Sequence[float], css: str) -> str:
    """A vertical line from zero to each number."""
    zero = scale.y(0.0, canvas.height)
    places = [place for run in runs(column) for place in thinned(run, column, canvas.width)]
    parts = [f"M{canvas.x(p):g} {zero:g}V{scale.y(column[p], canvas.height):g}" for p in places]
    return f'<path class="line {css}" d="{"".join(parts)}"/>' if parts else ""


def marks(canvas: Canvas, scale: Scale, column: Sequence[float], css: str) -> str:
    """A round mark at each number, at the edge if it lies outside."""
    points = [
        (canvas.x(place), min(canvas.height - 4.0, max(4.0, scale.y(number, canvas.height))))
        for place, number in enumerate(column)
        if not math.isnan(number)
    ]
    return "".join(f'<path class="mark {css}" d="M{x:g} {y:g}h0"/>' for x, y in points)


def rules(canvas: Canvas, places: Iterable[int], css: str) -> str:
    """A vertical line at each place."""
    parts = [f"M{canvas.x(place):g} 0V{canvas.height}" for place in places]
    return f'<path class="line {css}" d="{"".join(parts)}"/>' if parts else ""


def stacked(canvas: Canvas, shares: Sequence[tuple[float, ...] | None]) -> str:
    """Weights as areas on top of each other, D at the bottom; where there are none, nothing."""
    known = [0.0 if share is not None else math.nan for share in shares]
    unit = Scale(0.0, 1.0)
    parts: list[str] = []
    for kernel, name in enumerate(KERNELS):
        top = [math.nan if share is None else sum(share[kernel:]) for share in shares]
        bottom = [math.nan if share is None else sum(share[kernel + 1 :]) for share in shares]
        parts.append(band(canvas, unit, bottom, top, f"k{name}") if has_number(known) else "")
    return "".join(parts)


def spans(up: Sequence[bool]) -> list[tuple[int, int]]:
    """Where a flag is up: first place and the one after the last."""
    found: list[tuple[int, int]] = []
    for place, is_up in enumerate(up):
        if is_up and found and found[-1][1] == place:
            found[-1] = (found[-1][0], place + 1)
        elif is_up:
            found.append((place, place + 1))
    return found


def lane(canvas: Canvas, up: Sequence[bool], css: str) -> str:
    """A flag as bands over the time that it is up; a single step is still seen."""
    least = canvas.width / 300.0
    parts: list[str] = []
    for start, stop in spans(up):
        width = max(least, canvas.x(stop) - canvas.x(start))
        left = min(canvas.x(start), canvas.width - width)
        parts.append(f'<rect class="{css}" x="{left:g}" y="0" width="{width:g}" height="{canvas.height}"/>')
    return "".join(parts)


def grid(canvas: Canvas, scale: Scale, ticks: Iterable[float]) -> str:
    """Horizontal lines at the labelled values."""
    parts = [f"M0 {scale.y(tick, canvas.height):g}H{canvas.width}" for tick in ticks]
    return f'<path class="grid" d="{"".join(parts)}"/>' if parts else ""


def drawing(canvas: Canvas, title: str, *layers: str) -> str:
    """The SVG element; stretches to the width of the page."""
    return (
        f'<svg role="img" aria-label="{safe(title)}" viewBox="0 0 {canvas.width} {canvas.height}"'
        f' preserveAspectRatio="none" style="height:{canvas.height}px"><title>{safe(title)}</title>'
        f"{''.join(layers)}</svg>"
    )


def framed(canvas: Canvas, scale: Scale, title: str, draw: Callable[[Scale], Iterable[str]]) -> str:
    """A drawing with its grid and with labels beside it."""
    ticks = scale.ticks()
    spread = scale.high - scale.low
    labels = "".join(
        f'<i style="top:{100.0 * scale.y(tick, canvas.height) / canvas.height:.2f}%">{shown(tick, spread)}</i>'
        for tick in ticks
    )
    svg = drawing(canvas, title, grid(canvas, scale, ticks), *draw(scale))
    return f'<div class="plot">{svg}<div class="ticks">{labels}</div></div>'
