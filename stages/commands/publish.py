# SPDX-License-Identifier: MIT
"""`usp publish`: a file or a simulated market onto the tick topic, with progress."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import Progress

from ...io.simulation_spec import SimulationSpec, every_fault, market
from ...io.simulator import simulate
from ...io.tick_files import MalformedRow, TickRow, read_ticks
from ...io.wire import SINGLE_OBJECT, Wire
from ..publisher import Due, from_rows, from_simulation, kept_times, publish, tick_producer


class PublishPlan(NamedTuple):
    """What to publish and how fast (ticks per second)."""

    file: Path | None
    simulated_symbols: int
    ticks: int
    faults: int
    seed: int
    rate_per_s: float
    keep_time: bool


def run_publish(
    plan: PublishPlan, servers: str, security: Mapping[str, str], console: Console, wire: Wire = SINGLE_OBJECT
) -> dict[str, object]:
    """Publish and tell how much; malformed rows of a file are shown and left out."""
    malformed: list[MalformedRow] = []
    stream, total = simulated(plan) if plan.file is None else read(plan, plan.file, malformed)
    for row in malformed:
        console.print(
            f"{row.file}:{row.line}: found {row.found}; expected {row.expected}", style="yellow", markup=False
        )
    with Progress(console=console) as progress:
        task = progress.add_task("publishing", total=total)
        producer = tick_producer(servers, security, wire)
        count = publish(
            [stream], producer, time.time_ns, time.sleep, lambda: False, lambda n: progress.update(task, completed=n)
        )
    return {"published": count, "malformed_rows": len(malformed)}


def simulated(plan: PublishPlan) -> tuple[Iterator[Due], int]:
    """A simulated market and about how many records it has."""
    spec = SimulationSpec(
        symbols=market(plan.simulated_symbols),
        ticks=plan.ticks,
        rate_per_s=plan.rate_per_s,
        faults=every_fault(plan.faults),
    )
    return from_simulation(simulate(spec, plan.seed), "usp-publish"), plan.ticks


def read(plan: PublishPlan, file: Path, malformed: list[MalformedRow]) -> tuple[Iterator[Due], int]:
    """The rows of a file; what cannot be read goes to `malformed`."""
    rows: list[TickRow] = []
    for row in read_ticks(file):
        if isinstance(row, TickRow):
            rows.append(row)
        else:
            malformed.append(row)
    stamped = kept_times if plan.keep_time else from_rows
    return stamped(rows, plan.rate_per_s, "usp-publish"), len(rows)
