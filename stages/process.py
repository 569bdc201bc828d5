# SPDX-License-Identifier: MIT
"""The composition root of one stage process: settings in, a running stage out.

Here, and nowhere below, a stage meets its broker, its snapshots, its effects and the clock.
"""

import gc
import os
import signal
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from types import FrameType
from typing import Any

from ..config.deployment import DeploymentSettings
from ..config.model import packaged_defaults
from ..io.bus import Partition
from ..io.failpoints import configure
from ..io.health import serve_health
from ..io.kafka import KafkaSettings, open_bus
from ..io.kafka_log import read_range
from ..io.log_ends import LogEnds
from ..io.logs import configure_logs
from ..io.metrics import Meter, count_resources
from ..io.registry import open_wire
from ..io.secrets_hidden import secrets_in
from ..io.snapshot_store import Report, SnapshotStore, log_refusal
from ..io.snapshots import SnapshotError
from ..io.wire import framed
from . import topology
from .commands.console import NO_PROGRESS
from .contract import Stage
from .doorkeeper import Doorkeeper, exiting
from .effects import Services, effects_of
from .fingerprint import build_fingerprint, prepare_jax
from .recovery import SnapshotCadence
from .runner import Runner, World
from .watchdog import Watchdog, nothing_known

DRAIN_S = 20.0
STOP_S = 24.0
PREDICTING = ("orchestrator",)


@dataclass(frozen=True)
class Identity:
    """Who this process is: `instance` tells replicas of a stage apart, `log_id` names a broker without cluster ids."""

    stage: str
    instance: str = "0"
    log_id: str = ""


class StopSignal:
    """True once SIGTERM or SIGINT came; a second signal ends the process at once.

    With a deadline the process ends by itself that many seconds after the first signal, whatever it waits for.
    """

    def __init__(self, deadline_s: float | None = None) -> None:
        self.asked = False
        self.deadline_s = deadline_s
        self.asked_s = 0.0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.ask)

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Remember the first signal, obey the second."""
        del frame
        if self.asked:
            raise SystemExit(128 + number)
        self.asked, self.asked_s = True, time.monotonic()
        if self.deadline_s is not None:
            guard = Timer(self.deadline_s, os._exit, (NO_PROGRESS,))
            guard.daemon = True
            guard.start()

    def left_s(self) -> float:
        """Seconds until the deadline."""
        return (self.deadline_s or DRAIN_S) - (time.monotonic() - self.asked_s)

    def __call__(self) -> bool:
        return self.asked


def quiet_collector() -> None:
    """Records hold no cycles and live for a batch, or until telemetry has sent them: collections would cost a fifth."""
    gc.freeze()
    gc.set_threshold(100_000, 10, 10)


def kafka_settings(settings: DeploymentSettings, who: Identity, stage: Stage[Any]) -> KafkaSettings:
    """How this process reaches the broker."""
    prefix = settings.bus.group_prefix
    return KafkaSettings(
        bootstrap_servers=settings.bus.bootstrap_servers,
        group=f"{prefix}.{who.stage}",
        instance=f"{prefix}.{who.stage}.{who.instance}",
        topics=tuple(topic.name for topic in stage.consumes),
        delivery=settings.bus.delivery,
        partitions={topic.name: topic.partitions for topic in stage.consumes},
        log_id=who.log_id,
        security=settings.bus.security,
        fetch_wait_ms=settings.bus.fetch_wait_ms,
        gather_s=stage.gather_s,
        linger_ms=settings.bus.linger_ms,
        transaction_timeout_ms=settings.bus.transaction_timeout_ms,
    )


def refused_into(refusals: list[tuple[Path, SnapshotError]]) -> Report:
    """Every file that cannot be used is logged and kept for an alert."""

    def report(path: Path, fault: SnapshotError) -> None:
        log_refusal(path, fault)
        refusals.append((path, fault))

    return report


def watchdog_of(runner: Runner, bus: KafkaSettings, meter: Meter, log: Any) -> Watchdog:
    """The watchdog of a process; the ends of the logs are asked for where the broker knows them."""

    def has_records(partition: Partition, start: int, stop: int) -> bool:
        return next(iter(read_range(bus, partition, start, stop)), None) is not None

    ends = LogEnds(bus).of if bus.delivery == "exactly_once" else nothing_known
    return Watchdog(runner, ends, has_records, meter, log, lambda: os._exit(NO_PROGRESS))


def run_stage(who: Identity, settings: DeploymentSettings, environ: Mapping[str, str]) -> None:
    """Run a stage until a signal; returns after a clean stop."""
    configure(environ.get("USP_FAILPOINT", ""))
    whose = {"stage": who.stage, "instance": who.instance}
    log = configure_logs(settings.logs.level, settings.logs.format, secrets_in(environ), **whose)
    stop = Doorkeeper(STOP_S, exiting(NO_PROGRESS))
    if who.stage in PREDICTING:
        prepare_jax(settings.paths.resolved("cache_dir"))
    stage = topology.stage(who.stage)
    config = packaged_defaults()
    meter = Meter(who.stage)
    quiet_collector()
    running: list[Runner] = []
    refusals: list[tuple[Path, SnapshotError]] = []
    count_resources(meter.registry)
    health = serve_health(
        settings.metrics.host,
        settings.metrics.port,
        meter.registry,
        lambda: running[0].waiting_for() if running else "starting",
    )
    bus_settings = kafka_settings(settings, who, stage)
    fingerprint = build_fingerprint(who.stage in PREDICTING, config.core.lane_width)
    state = stage.init(config)  # compiles, while the broker may still be starting
    wire = open_wire(settings.bus.schema_registry_url)
    bus = framed(open_bus(bus_settings), wire)
    services = Services(settings, config, environ, bus, bus_settings, fingerprint, meter, log, wire)
    with effects_of(who.stage, services) as execute, ThreadPoolExecutor(1, "snapshots") as encoder:
        world = World(
            bus=bus,
            snapshots=SnapshotStore(settings.paths.resolved("snapshots"), report=refused_into(refusals)),
            execute=execute,
            now_ns=time.time_ns,
            meter=meter,
            fingerprint=fingerprint,
            cadence=SnapshotCadence(config.io.snapshot_every_steps, int(config.io.snapshot_every_s * 1e9)),
            log=log,
            refusals=refusals,
            encoder=encoder,
        )
        runner = Runner(stage, config, world, settings.bus.max_batch, state)
        running.append(runner)
        watchdog = watchdog_of(runner, bus_settings, meter, log)
        watchdog.start()
        stop.arm()
        log.info("started", delivery=bus.delivery, topics=bus_settings.topics, fingerprint=fingerprint)
        runner.run(stop)
        log.info("stopping")
        bus.close(max(1.0, min(DRAIN_S, stop.left_s())))
        watchdog.stop.set()
    if health:
        health.shutdown()
    log.info("stopped")
