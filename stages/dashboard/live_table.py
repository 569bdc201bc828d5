# SPDX-License-Identifier: MIT
"""The terminal's view of a run: a live table of the symbols, and a summary at the end."""

from collections.abc import Mapping
from typing import Any, cast

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ...schemas.records import Prediction
from .scoreboard import Scoreboard, SymbolRow

FLAGS = (
    ("emergency_mode", "EMERG", "bold red"),
    ("degraded_inference_mode", "DEGR", "yellow"),
    ("regime_change_detected", "REGIME", "magenta"),
    ("mode_collapse_warning", "COLLAPSE", "red"),
    ("kernel_d_frozen", "FROZEN", "cyan"),
)


def live_table(board: Scoreboard, now_ns: int, footer: str) -> Group:
    """One row per symbol, in order of the names."""
    table = Table(expand=True, header_style="bold", border_style="dim")
    for name in (
        "symbol",
        "last",
        "predicted",
        "95 % interval",
        "error",
        "weights A-D",
        "rel. RMSE",
        "flags",
        "lag ms",
        "/s",
    ):
        table.add_column(name, justify="left" if name in ("symbol", "flags") else "right", no_wrap=True)
    for name, row in sorted(board.symbols.items()):
        table.add_row(*cells(name, row, now_ns))
    return Group(table, Text(footer, style="dim"))


def cells(name: str, row: SymbolRow, now_ns: int) -> tuple[str | Text, ...]:
    """The cells of a symbol."""
    p = row.newest
    error = "" if p.error is None else f"{p.error:+.3g}"
    relative = f"{row.relative_rmse():.4f}" if row.judged else "burn-in"
    interval = f"{number(p.lo)} .. {number(p.hi)}"
    weights = " ".join(f"{weight:.2f}" for weight in p.weights)
    return (
        name,
        number(p.value),
        number(p.mean),
        interval,
        error,
        weights,
        relative,
        flags(p),
        f"{row.latency_ms:.1f}",
        f"{row.rate_per_s(now_ns):.0f}",
    )


def number(value: float) -> str:
    """Prices of any size in seven significant digits."""
    return f"{value:.7g}"


def flags(prediction: Prediction) -> Text:
    """The flags that are set."""
    return Text(" ").join(Text(short, style) for name, short, style in FLAGS if getattr(prediction, name))


def rounded(value: float) -> str:
    """Four significant digits of what is small, a decimal of what is large: a rate of 0.0066 is not 0.0."""
    return f"{value:.1f}" if abs(value) >= 100.0 else f"{value:.4g}"


def summary_table(summary: Mapping[str, object]) -> Table:
    """The figures of a run, one line each."""
    table = Table(title="summary", show_header=False, border_style="dim", title_justify="left")
    for name, value in summary.items():
        if isinstance(value, dict):
            parts = cast("dict[str, Any]", value).items()
            value = ", ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in parts) or "none"
        elif isinstance(value, float):
            value = rounded(value)
        table.add_row(name.replace("_", " "), str(value))
    return table
