# SPDX-License-Identifier: MIT
"""`usp bench telemetry`: what telemetry at every step costs the thread that predicts.

The same ticks go through the orchestrator's handler in rounds, with and without telemetry by turns, so that whatever
else the machine does meets both. The telemetry thread runs beside it and sends to a local broker, as in a stage.
"""

import shutil
import time
from dataclasses import replace
from statistics import median

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
from ..contract import Batch, Record, Send
from ..fingerprint import prepare_jax
from ..process import Identity, kafka_settings, quiet_collector
from .ticks import bench_tick

SYMBOLS = 64
BATCH = 500
ROUND = 8
ROUNDS = 10
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
    from ..orchestrator import STAGE, Observe
    from ..telemetry_pump import TelemetryPump

    config = packaged_defaults()
    bus = kafka_settings(DeploymentSettings(), Identity("orchestrator"), STAGE)
    state = STAGE.init(config)
    quiet_collector()
    number, slower, rates = 0, list[float](), {True: list[float](), False: list[float]()}
    enqueue_s, observed, cpu_s = 0.0, 0, {True: 0.0, False: 0.0}
    with TelemetryPump(config, replace(bus, bootstrap_servers=servers), "bench", Meter("orchestrator")) as pump:
        for turn in range(-1, ROUNDS):
            took: dict[bool, float] = {}
            for is_on in (True, False) if turn % 2 else (False, True):
                batches = [batch(number + n * BATCH) for n in range(ROUND)]
                number += ROUND * BATCH
                begin, begin_cpu = time.perf_counter(), time.process_time()
                for each in batches:
                    outputs, state = STAGE.handle(each, state)
                    for output in outputs:
                        if isinstance(output, Send):
                            encode(output.value)
                        elif is_on and isinstance(output, Observe):
                            before = time.thread_time()
                            pump.observe(output)
                            enqueue_s += time.thread_time() - before
                            observed += len(output.observations)
                took[is_on] = time.perf_counter() - begin
                if turn >= 0:
                    cpu_s[is_on] += time.process_time() - begin_cpu
            if turn >= 0:
                slower.append(took[True] / took[False] - 1.0)
                for is_on, seconds in took.items():
                    rates[is_on].append(ROUND * BATCH / seconds)
        console.print(f"{observed:,} steps with telemetry")
    return {
        "on_steps_per_s": median(rates[True]),
        "off_steps_per_s": median(rates[False]),
        "slower_by": median(slower),
        "cpu_on_us_per_step": cpu_s[True] / (ROUNDS * ROUND * BATCH) * 1e6,
        "cpu_off_us_per_step": cpu_s[False] / (ROUNDS * ROUND * BATCH) * 1e6,
        "enqueue_us_per_step": enqueue_s / observed * 1e6,
        "dropped": pump.dropped,
        "observed": observed,
    }


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
