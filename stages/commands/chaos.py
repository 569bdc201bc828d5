# SPDX-License-Identifier: MIT
"""`usp chaos`: hurt a pipeline of real processes for some minutes and prove that nothing was lost."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from .console import CALLERS_FAULT, JSON, STATE_IN_DOUBT, answer, console, fail, faults_told, settings

NOT_SHOWN = ("told", "recovery_s")


def chaos(
    minutes: Annotated[float, typer.Option(help="How long faults strike.", min=0.1)] = 5.0,
    seed: Annotated[int, typer.Option(help="Decides which faults, where.")] = 1,
    symbols: Annotated[int, typer.Option(help="Symbols that are fed.", min=1)] = 8,
    rate: Annotated[
        float | None, typer.Option(help="Ticks per second; 100, and 2,000 with --soak.", min=1.0, show_default=False)
    ] = None,
    fault: Annotated[list[str] | None, typer.Option(help="Only these faults; may be repeated.")] = None,
    most: Annotated[int, typer.Option(help="Stop after so many faults.", min=1)] = 100_000,
    soak: Annotated[
        int | None,
        typer.Option(help="Instead: so many ticks of 64 symbols, a kill every 30 s, growth measured.", min=1),
    ] = None,
    stops: Annotated[
        int | None, typer.Option(help="Instead: so many SIGTERMs under load, none may hang.", min=1)
    ] = None,
    restarts: Annotated[
        int | None,
        typer.Option(help="Instead: so many kills of the orchestrator, timed to its first prediction.", min=1),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Run a pipeline of its own, feed it, kill, freeze and damage its parts, then verify and replay everything.

    Ends with exit code 5 if a tick was lost, answered twice, or answered with other bits, or if a stage hung.

    Example: usp chaos --minutes 10 --seed 7
    Example: usp chaos --minutes 3 --fault kill --fault "broker killed"
    Example: usp chaos --stops 200
    Example: usp chaos --restarts 20
    Example: usp chaos --soak 1000000
    """
    from ..chaos.faults import FAULTS
    from ..chaos.restarts import RestartPlan, run_restarts
    from ..chaos.run import RATE_PER_S, SOAK_RATE_PER_S, ChaosPlan, run_chaos, soak_plan
    from ..chaos.stops import StopPlan, run_stops

    unknown = sorted(set(fault or ()) - FAULTS.keys())
    if unknown:
        raise fail(CALLERS_FAULT, f"found --fault {', '.join(unknown)}; expected some of: {', '.join(FAULTS)}")
    if sum(each is not None for each in (soak, stops, restarts)) > 1:
        raise fail(CALLERS_FAULT, "found several of --soak, --stops, --restarts; expected one at a time")
    with faults_told():
        if stops is not None:
            outcome: Any = run_stops(settings(), StopPlan(stops, seed, symbols, rate or RATE_PER_S), console)
        elif restarts is not None:
            outcome = run_restarts(settings(), RestartPlan(restarts), console)
        else:
            plan = ChaosPlan(minutes, seed, symbols, rate or RATE_PER_S, tuple(fault or ()), most)
            soaking = None if soak is None else soak_plan(soak, seed, rate or SOAK_RATE_PER_S)
            outcome = run_chaos(settings(), soaking or plan, console)
    show(outcome.document(), as_json)
    if not outcome.good:
        raise typer.Exit(STATE_IN_DOUBT)


def show(found: dict[str, Any], as_json: bool) -> None:
    """The result for machines or for people."""
    answer(found, as_json)
    if not as_json:
        table = Table("chaos", Column("", overflow="fold"))
        for name, value in found.items():
            if name not in NOT_SHOWN:
                table.add_row(name, str(value))
        Console().print(table)
