# SPDX-License-Identifier: MIT
"""Rows of a dashboard: plain dictionaries in, one series per symbol out.

A row may have: symbol, ts_event_ns, value (what was observed), mean, lo, hi (forecast of the value after it), error
(of the forecast before it), weights (rho of A, B, C, D), config_epoch, flags (names of those that are up) or the
fields named in `FLAG_FIELDS`, accepted (False for a held outlier), and the numbers named in `DIAGNOSTICS`. What is
missing or not finite is left out of the drawing.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from html import escape
from typing import Any, cast

DIAGNOSTICS: Mapping[str, str] = {
    "free_energy": "Free energy",
    "holder_exponent": "Hölder exponent",
    "kurtosis": "Kurtosis",
    "dgm_entropy": "Entropy of kernel B",
    "latency_ms": "Latency, event to log, ms",
}
KERNELS = ("A", "B", "C", "D")
FLAG_FIELDS = (
    "degraded_inference_mode",
    "degraded_mode",
    "emergency_mode",
    "jko_suspended",
    "kernel_d_frozen",
    "mode_collapse_warning",
    "regime_change_detected",
)
AHEAD = ("forecast", "lo", "hi")
NAN = math.nan
LARGEST = 1e150


@dataclass(frozen=True)
class Series:
    """One symbol, row by row; NaN where a row has no number. `forecast`, `lo`, `hi` stand at the row they are for.

    Those three have one entry more than the others: the value that is still to come.
    """

    symbol: str
    times_ns: Sequence[int | None]
    values: Sequence[float]
    held: Sequence[bool]
    forecast: Sequence[float]
    lo: Sequence[float]
    hi: Sequence[float]
    errors: Sequence[float]
    weights: Sequence[tuple[float, ...] | None]
    flags: Sequence[frozenset[str]]
    diagnostics: Mapping[str, Sequence[float]]
    epochs: Sequence[int | None]


def series_by_symbol(rows: Iterable[Mapping[str, Any]]) -> list[Series]:
    """The rows of each symbol in the order they came, symbols by name."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(str(row.get("symbol") or "all"), []).append(row)
    return [series_of(symbol, grouped[symbol]) for symbol in sorted(grouped)]


def series_of(symbol: str, rows: Sequence[Mapping[str, Any]]) -> Series:
    """Columns of one symbol's rows."""
    return Series(
        symbol=symbol,
        times_ns=[time_of(row) for row in rows],
        values=[finite(row.get("value")) for row in rows],
        held=[row.get("accepted") is False for row in rows],
        forecast=shifted(rows, "mean"),
        lo=shifted(rows, "lo"),
        hi=shifted(rows, "hi"),
        errors=[finite(row.get("error")) for row in rows],
        weights=[weights_of(row) for row in rows],
        flags=[flags_of(row) for row in rows],
        diagnostics={name: column for name in DIAGNOSTICS if has_number(column := [finite(r.get(name)) for r in rows])},
        epochs=[epoch if isinstance(epoch := row.get("config_epoch"), int) else None for row in rows],
    )


def newest_part(series: Series, count: int) -> Series:
    """The last `count` rows, if the series is more than twice as long; else the series itself."""
    if len(series.values) <= 2 * count:
        return series
    cut: dict[str, Any] = {
        f.name: column[-count - (f.name in AHEAD) :]
        for f in fields(series)
        if isinstance(column := getattr(series, f.name), list)
    }
    return replace(series, **cut)


def shifted(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """A forecast stands one place later than the row that made it."""
    return [NAN, *(finite(row.get(name)) for row in rows)]


def finite(value: Any) -> float:
    """The number, NaN for what is none and for what is too large to be drawn."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NAN
    return float(value) if -LARGEST < value < LARGEST else NAN


def time_of(row: Mapping[str, Any]) -> int | None:
    """Event time in ns, under either of its names."""
    value = row.get("ts_event_ns", row.get("timestamp_ns"))
    return value if isinstance(value, int) else None


def weights_of(row: Mapping[str, Any]) -> tuple[float, ...] | None:
    """Four weights scaled to sum 1; None if there are none."""
    given: Sequence[Any] = row.get("weights") or ()
    numbers = [max(0.0, number) for number in map(finite, given) if not math.isnan(number)]
    total = sum(numbers)
    return tuple(number / total for number in numbers) if len(numbers) == len(KERNELS) and total > 0 else None


def flags_of(row: Mapping[str, Any]) -> frozenset[str]:
    """Names of the flags that are up: those under `flags` (names, or a map of truth), else the row's flag fields."""
    flags: Any = row.get("flags")
    if flags is None:
        outlier = ("outlier",) if row.get("accepted") is False else ()
        return frozenset((*(name for name in FLAG_FIELDS if row.get(name) is True), *outlier))
    if isinstance(flags, Mapping):
        return frozenset(str(name) for name, up in cast(Mapping[Any, Any], flags).items() if up)
    return frozenset(str(name) for name in flags)


def safe(text: str) -> str:
    """Text from outside as HTML: nothing in it is markup, invisible or turned around."""
    return escape("".join(character if character.isprintable() else "\ufffd" for character in text))


def epoch_changes(series: Series) -> list[tuple[int, int]]:
    """(place, epoch) where another configuration came into force."""
    found: list[tuple[int, int]] = []
    before: int | None = None
    for place, epoch in enumerate(series.epochs):
        if epoch is not None and before is not None and epoch != before:
            found.append((place, epoch))
        before = before if epoch is None else epoch
    return found


def has_number(column: Sequence[float]) -> bool:
    """True if there is anything to draw."""
    return any(not math.isnan(number) for number in column)
