# SPDX-License-Identifier: MIT
"""`usp backtest`: a file in, forecasts and a summary out, with progress."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from ...config.model import load, packaged_defaults
from ...io.tick_files import MalformedRow, TickRow, read_ticks, write_predictions
from ..backtest import Backtest
from ..fingerprint import prepare_jax


def run_backtest(
    file: Path, out: Path | None, config: Path | None, burn_in: int, cache_dir: Path, console: Console
) -> dict[str, object]:
    """Forecast every row of `file` from the rows before it; returns the summary."""
    total = lines_of(file)
    prepare_jax(cache_dir)
    malformed: list[MalformedRow] = []
    test = Backtest(load(config) if config else packaged_defaults(), burn_in)
    with Progress(console=console) as progress, out.open("w", newline="") if out else nullcontext() as handle:
        rows = progress.track(sound_rows(file, malformed), total=total, description=file.name)
        if handle is None:
            for _ in test.run(rows):
                pass
        else:
            write_predictions(handle, test.run(rows))
    for row in malformed:
        console.print(
            f"{row.file}:{row.line}: found {row.found}; expected {row.expected}", style="yellow", markup=False
        )
    summary = test.summary
    return {
        "rows": summary.rows,
        "malformed_rows": len(malformed),
        "rejected": dict(sorted(summary.rejected.items())),
        "burn_in": burn_in,
        "relative_rmse": {symbol: summary.relative_rmse(symbol) for symbol in summary.errors},
        "coverage": {symbol: summary.coverage(symbol) for symbol in summary.errors},
        "regret": {symbol: summary.regret(symbol) for symbol in summary.errors},
    }


def sound_rows(file: Path, malformed: list[MalformedRow]) -> Iterator[TickRow]:
    """The readable rows; the others go to `malformed`."""
    for row in read_ticks(file):
        if isinstance(row, TickRow):
            yield row
        else:
            malformed.append(row)


def lines_of(file: Path) -> int:
    """Rows of a file, for the progress bar."""
    with file.open("rb") as handle:
        return sum(1 for _ in handle) - 1
