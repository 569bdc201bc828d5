# SPDX-License-Identifier: MIT
"""The HTML report of a run: the summary and, per symbol, the newest stretch of forecasts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...io.atomic_file import write_atomically
from ...io.dashboard import render
from ...schemas.records import Prediction
from .look import Look
from .scoreboard import Scoreboard


def write_report(path: Path, board: Scoreboard, summary: Mapping[str, object], look: Look) -> Path:
    """Write the report and give its path back."""
    rows = [row_of(p) for _, symbol in sorted(board.symbols.items()) for p in symbol.history]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, render(rows, summary=summary, **look).encode(), fsync=False)
    return path


def row_of(p: Prediction) -> dict[str, Any]:
    """What the charts need of a prediction."""
    return dict(vars(p))
