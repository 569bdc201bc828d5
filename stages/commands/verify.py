# SPDX-License-Identifier: MIT
"""`usp verify`: the independent witness on a running or stopped pipeline."""

import time
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from .console import JSON, STATE_IN_DOUBT, answer, faults_told, servers_of, settings

PAUSE_S = 1.0


def verify(
    wait: Annotated[float, typer.Option(help="Seconds to wait for answers that have not come yet.", min=0.0)] = 15.0,
    as_json: JSON = False,
) -> None:
    """Read all ticks and all answers and prove: each tick exactly one answer, in order, under the right id.

    Shares no code with the pipeline. Ends with exit code 5 if anything is lost, doubled, out of order or misnamed.

    Example: usp verify
    """
    from ..chaos.verifier import verify as judge

    with faults_told():
        chosen = settings()
        servers = servers_of(chosen)
        end = time.monotonic() + wait
        verdict = judge(servers, chosen.bus.security)
        while verdict.missing and not verdict.faults and time.monotonic() < end:
            time.sleep(PAUSE_S)
            verdict = judge(servers, chosen.bus.security)
    found: dict[str, Any] = asdict(verdict) | {"good": verdict.good}
    answer(found, as_json)
    if not as_json:
        table = Table("verified", Column("", overflow="fold"))
        for name, value in found.items():
            table.add_row(name, str(value))
        Console().print(table)
    if not verdict.good:
        raise typer.Exit(STATE_IN_DOUBT)
