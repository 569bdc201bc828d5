# SPDX-License-Identifier: MIT
"""`usp chaos`: hurt a pipeline of real processes for some minutes and prove that nothing was lost."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from .console import CALLERS_FAULT, JSON, STATE_IN_DOUBT, answer, console, fail, faults_told, settings


def chaos(
    minutes: Annotated[float, typer.Option(help="How long faults strike.", min=0.1)] = 5.0,
    seed: Annotated[int, typer.Option(help="Decides which faults, where.")] = 1,
    symbols: Annotated[int, typer.Option(help="Symbols that are fed.", min=1)] = 8,
    rate: Annotated[float, typer.Option(help="Ticks per second.", min=1.0)] = 100.0,
    fault: Annotated[list[str] | None, typer.Option(help="Only these faults; may be repeated.")] = None,
    most: Annotated[int, typer.Option(help="Stop after so many faults.", min=1)] = 100_000,
    as_json: JSON = False,
) -> None:
    """Run a pipeline of its own, feed it, kill, freeze and damage its parts, then verify and replay everything.

    Ends with exit code 5 if a tick was lost, answered twice, or answered with other bits.

    Example: usp chaos --minutes 10 --seed 7
    Example: usp chaos --minutes 3 --fault kill --fault "broker killed"
    """
    from ..chaos.faults import FAULTS
    from ..chaos.run import ChaosPlan, run_chaos

    unknown = sorted(set(fault or ()) - FAULTS.keys())
    if unknown:
        raise fail(CALLERS_FAULT, f"found --fault {', '.join(unknown)}; expected some of: {', '.join(FAULTS)}")
    with faults_told():
        plan = ChaosPlan(minutes, seed, symbols, rate, tuple(fault or ()), most)
        outcome = run_chaos(settings(), plan, console)
    found = outcome.document()
    answer(found, as_json)
    if not as_json:
        table = Table("chaos", Column("", overflow="fold"))
        for name in ("seed", "published", "faults", "failpoints_reached", "recovery_p50_s", "recovery_p99_s", "verdict",
                     "predictions_replayed", "states_compared", "differences", "good"):  # fmt: skip
            table.add_row(name, str(found[name]))
        Console().print(table)
    if not outcome.good:
        raise typer.Exit(STATE_IN_DOUBT)
