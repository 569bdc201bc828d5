# SPDX-License-Identifier: MIT
"""`usp diagnose`: what the predictor's mathematics say about the end of a series."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ...config.model import load, packaged_defaults
from .console import CALLERS_FAULT, JSON, answer, console, fail, faults_told, settings

SHOWN_NUMBERS = 6


def diagnose(
    file: Annotated[Path, typer.Argument(help="CSV: timestamp_ns,symbol,price[,...]")],
    config: Annotated[Path | None, typer.Option(help="Configuration; none: the packaged one.")] = None,
    sensitivities: Annotated[
        bool, typer.Option("--sensitivities", help="Also the derivative of the forecast.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Roughness spectrum, stationarity, memory, spectral peaks, stable law, stiffness and value function per symbol.

    Of the newest values that the state of each symbol holds after the last row. Levels are in the symbol's own unit.

    Example: usp diagnose prices.csv --json
    """
    for given in (file, config):
        if given and not given.is_file():
            raise fail(CALLERS_FAULT, f"found no file {given}; expected a readable one")
    with faults_told():
        found = diagnosed(file, config, sensitivities)
        answer(found, as_json)
        if not as_json:
            for symbol, values in found.items():
                Console().print(table_of(symbol, values))


def diagnosed(file: Path, config: Path | None, sensitivities: bool) -> dict[str, Mapping[str, Any]]:
    """Symbol -> diagnosis after the last row of `file`."""
    from ..backtest import Backtest
    from ..fingerprint import prepare_jax
    from .backtest import lines_of, sound_rows

    prepare_jax(settings().paths.resolved("cache_dir"))
    from ...predictor.diagnostics import diagnose as diagnosis

    chosen = load(config) if config else packaged_defaults()
    test = Backtest(chosen)
    with Progress(console=console) as progress:
        for _ in test.run(progress.track(sound_rows(file, []), total=lines_of(file), description=file.name)):
            pass
    return {
        key[1]: diagnosis(pool.program, chosen, key[1], column, sensitivities)
        for pool in test.predictor.core.pools.values()
        for key, column in pool.columns(list(pool.places)).items()
    }


def table_of(symbol: str, values: Mapping[str, Any]) -> Table:
    """One symbol's diagnosis; long lists are cut."""
    table = Table("what", "found", title=symbol)
    for name, value in values.items():
        table.add_row(name.replace("_", " "), shown(value))
    return table


def shown(value: Any) -> str:
    """A number with four digits, the first few numbers of a list, or yes and no."""
    if isinstance(value, list):
        numbers = cast("list[Any]", value)
        return ", ".join(shown(number) for number in numbers[:SHOWN_NUMBERS]) + (
            " ..." * (len(numbers) > SHOWN_NUMBERS)
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
