# SPDX-License-Identifier: MIT
"""`usp bench telemetry`: what telemetry at every step costs the thread that predicts.

Ticks go through the orchestrator's handler in rounds, with and without telemetry by turns, so that whatever else the
machine does meets both. The telemetry thread runs beside it and sends to a local broker, as in a stage. A round begins
with batches that are not timed, so that the thread is as busy as it will be; it is idle again before the next round.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any, NamedTuple

from confluent_kafka.admin import AdminClient
from rich.console import Console

from ...config.deployment import DeploymentSettings
from ...config.model import packaged_defaults
from ...io.avro import encode
from ...io.bus import Partition
from ...io.embedded import LocalServices
from ...io.metrics import Meter
from ...io.topics import ensure_topics
from ...schemas.records import ValidatedTick
from .. import topology
from ..contract import Batch, Effect, Output, Record, Send
from ..fingerprint import prepare_jax
from ..process import Identity, kafka_settings, quiet_collector
from .ticks import bench_tick

SYMBOLS = 64
BATCH = 500
WARM, ROUND = 16, 48
ROUNDS = 10
SETTLE_S = 0.3
BASE_NS = 1_700_000_000_000_000_000


def bench_telemetry(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """Steps per second with and without telemetry, the cost of an enqueue, and what the ring dropped."""
    prepare_jax(settings.paths.resolved("cache_dir"))
    run_dir = (settings.paths.resolved("data_dir") / "bench").absolute()
    shutil.rmtree(run_dir, ignore_errors=True)
    with LocalServices(settings, run_dir, say=console.print) as services:
        servers = services.broker.bootstrap_servers
        ensure_topics(AdminClient({"bootstrap.servers": servers, "log_level": 2}), topology.specs())
        return rounds(servers, console)


def rounds(servers: str, console: Console) -> dict[str, object]:
    """Rounds by turns against a broker; medians of the pairs."""
    from ..orchestrator import STAGE
    from ..telemetry_pump import TelemetryPump

    config = packaged_defaults()
    bus = kafka_settings(DeploymentSettings(), Identity("orchestrator"), STAGE)
    run = Rounds(STAGE.handle, STAGE.init(config))
    quiet_collector()
    with TelemetryPump(config, replace(bus, bootstrap_servers=servers), "bench", Meter("orchestrator")) as pump:
        for turn in range(-1, ROUNDS):
            for is_on in (True, False) if turn % 2 else (False, True):
                run.batches(pump.observe if is_on else None, WARM)
                found = run.batches(pump.observe if is_on else None, ROUND)
                while pump.buffer.size():
                    time.sleep(SETTLE_S)
                time.sleep(SETTLE_S)
                if turn >= 0:
                    run.timed[is_on].append(found)
        dropped = pump.dropped
    on, off = run.timed[True], run.timed[False]
    console.print(f"{len(on) * ROUND * BATCH:,} steps with telemetry, as many without")
    steps = ROUND * BATCH
    return {
        "on_steps_per_s": median(steps / each.wall_s for each in on),
        "off_steps_per_s": median(steps / each.wall_s for each in off),
        "slower_by": median(a.wall_s / b.wall_s - 1.0 for a, b in zip(on, off, strict=True)),
        "cpu_on_us_per_step": sum(each.cpu_s for each in on) / (len(on) * steps) * 1e6,
        "cpu_off_us_per_step": sum(each.cpu_s for each in off) / (len(off) * steps) * 1e6,
        "enqueue_us_per_step": sum(each.enqueue_s for each in on) / (len(on) * steps) * 1e6,
        "dropped": dropped,
        "observed": len(on) * steps,
    }


class Timed(NamedTuple):
    """What some batches took: wall time, processor time of the process, time inside of `observe`."""

    wall_s: float
    cpu_s: float
    enqueue_s: float


class Rounds:
    """The handler, its state, and what each timed round took, by whether telemetry was on."""

    def __init__(self, handle: Callable[[Batch, Any], tuple[list[Output], Any]], state: Any) -> None:
        self.handle = handle
        self.state = state
        self.number = 0
        self.timed: dict[bool, list[Timed]] = {True: [], False: []}

    def batches(self, observe: Callable[[Any], object] | None, count: int) -> Timed:
        """So many batches: handle, encode what is published, give telemetry its share."""
        ready = [batch(self.number + n * BATCH) for n in range(count)]
        self.number += count * BATCH
        begin, begin_cpu, enqueue_s = time.perf_counter(), time.process_time(), 0.0
        for each in ready:
            outputs, self.state = self.handle(each, self.state)
            for output in outputs:
                if isinstance(output, Send):
                    encode(output.value)
                elif isinstance(output, Effect) and observe is not None:
                    before = time.thread_time()
                    observe(output)
                    enqueue_s += time.thread_time() - before
        return Timed(time.perf_counter() - begin, time.process_time() - begin_cpu, enqueue_s)


def batch(first: int) -> Batch:
    """A batch of validated ticks."""
    return Batch(BASE_NS, [record(number) for number in range(first, first + BATCH)])


def record(number: int) -> Record:
    """A tick that ingest has accepted, as the runner hands it to the orchestrator."""
    tick = bench_tick(number, SYMBOLS, BASE_NS + number * 1_000_000)
    partition = number % SYMBOLS % topology.PARTITIONS
    value = ValidatedTick(
        origin_partition=partition,
        origin_offset=number,
        origin_row=0,
        accept=True,
        suspend_jko_update=False,
        degraded_mode=False,
        freeze_kernel_d=False,
        staleness_ns=0,
        validated_ns=tick.ts_event_ns,
        events=[],
        ingest_config_hash="",
        **vars(tick),
    )
    return Record(Partition(topology.VALIDATED.name, partition), number, tick.symbol.encode(), value, BASE_NS)
