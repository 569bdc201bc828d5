# SPDX-License-Identifier: MIT
"""`usp bench`: the figures that the project promises, measured by commands that anybody can run."""

import time
from collections.abc import Callable

from rich.console import Console

from ...config.deployment import DeploymentSettings
from ...config.model import packaged_defaults
from ...io.avro import decode, encode
from ...io.bus import Partition
from ...schemas.records import Tick
from .. import topology
from ..contract import Batch, Record, Send
from ..process import quiet_collector
from .hostile import bench_hostile
from .step import bench_step
from .ticks import bench_tick

INGEST_TICKS = 60_000
BATCH = 1000
BASE_NS = 1_700_000_000_000_000_000


def bench_ingest(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """Ingest without a broker: decode, judge, encode, on one core."""
    del settings, console
    from ..ingest import STAGE

    wires = [encode(bench_tick(n, 64, BASE_NS + n * 1_000_000)) for n in range(INGEST_TICKS)]
    state = STAGE.init(packaged_defaults())
    quiet_collector()
    begin, out = time.perf_counter(), 0
    for first in range(0, INGEST_TICKS, BATCH):
        records = [record_of(wires[place], place) for place in range(first, first + BATCH)]
        outputs, state = STAGE.handle(Batch(BASE_NS + first * 1_000_000, records), state)
        out += sum(len(encode(output.value)) > 0 for output in outputs if isinstance(output, Send))
    elapsed = time.perf_counter() - begin
    return {"ticks_per_s": INGEST_TICKS / elapsed, "us_per_tick": elapsed / INGEST_TICKS * 1e6, "records_out": out}


def record_of(wire: bytes, place: int) -> Record:
    """A tick as the runner hands it to ingest."""
    tick = decode(wire)
    if not isinstance(tick, Tick):
        raise TypeError(f"found {tick}; expected the tick that was encoded")
    partition = Partition(topology.MARKET_TICKS.name, 0)
    return Record(partition, place, tick.symbol.encode(), tick, BASE_NS + place * 1_000_000, (), wire)


def pipeline(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """End to end over a local broker."""
    from .pipeline import bench_pipeline

    return bench_pipeline(settings, console)


def governor(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """The judges on changes whose effect is known."""
    from .governor import bench_governor

    return bench_governor(settings, console)


def tuning(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """Automatic tuning beside none, on markets that change their regime."""
    from .tuning import bench_tuning

    return bench_tuning(settings, console)


def control(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """False alarms and delay of the change alarm."""
    from .control import bench_control

    return bench_control(settings, console)


def telemetry(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """What telemetry at every step costs the thread that predicts."""
    from .telemetry import bench_telemetry

    return bench_telemetry(settings, console)


def snapshot(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """What a snapshot of many symbols does to the loop."""
    from .snapshot import bench_snapshot

    return bench_snapshot(settings, console)


BENCHES: dict[str, Callable[[DeploymentSettings, Console], dict[str, object]]] = {
    "step": bench_step,
    "hostile": bench_hostile,
    "ingest": bench_ingest,
    "pipeline": pipeline,
    "governor": governor,
    "tuning": tuning,
    "control": control,
    "telemetry": telemetry,
    "snapshot": snapshot,
}
