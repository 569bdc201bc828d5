# SPDX-License-Identifier: MIT
"""Words and numbers of the dashboard, as people read them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from . import dashboard_charts as charts
from .dashboard_charts import Scale
from .dashboard_rows import Series, has_number, safe

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


def stamp(time_ns: int, with_date: bool) -> str:
    """UTC, to the second."""
    try:
        moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    except (OverflowError, OSError, ValueError):
        return f"{time_ns} ns"
    return moment.strftime("%Y-%m-%d %H:%M:%S" if with_date else "%H:%M:%S")


def named(name: str) -> str:
    """A key as people say it."""
    return NAMES.get(name, name.replace("_ms", "").replace("_", " ").strip().capitalize())


def figure(name: str, value: Any) -> str:
    """A value with its unit."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return safe(str(value))
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "–"
    if name.endswith("_ms"):
        return f"{value:,.1f} ms"
    if name == "relative_rmse":
        return f"{value:.4f}"
    return f"{value:.1%}" if name == "coverage" else f"{value:,.4g}"


def chips(flags: Iterable[str]) -> str:
    """The flags that are up, or that all is well."""
    inside = "".join(
        f'<span class="chip {SEVERITY.get(flag, "info")}">{safe(flag_name(flag))}</span>' for flag in sorted(flags)
    )
    return inside or '<span class="chip good">clear</span>'


def flag_name(flag: str) -> str:
    """A flag as people say it."""
    return NAMES.get(flag, flag.replace("_", " "))


def anchor(symbol: str) -> str:
    """A name that links can use."""
    return "s-" + symbol.encode("utf-8", "surrogatepass").hex()


def accepted_values(each: Series) -> list[float]:
    """What was observed and believed."""
    return [math.nan if held else value for value, held in zip(each.values, each.held, strict=True)]


def level_scale(each: Series, epsilon: float) -> Scale:
    """Fits what was accepted and forecast, and most of the interval."""
    accepted = accepted_values(each)
    forecast = charts.bulk(each.forecast) if has_number(accepted) else each.forecast
    columns = [accepted, forecast, charts.bulk(each.lo), charts.bulk(each.hi)]
    return charts.scale_of(columns, epsilon)


def spread_of(each: Series, epsilon: float) -> float:
    """How far the levels of a series reach; decides how many decimals are shown."""
    scale = level_scale(each, epsilon)
    return scale.high - scale.low


def last_of(column: Sequence[float]) -> float:
    """The newest number."""
    return next((number for number in reversed(column) if not math.isnan(number)), math.nan)
