# SPDX-License-Identifier: MIT
"""The composition root of one stage process: settings in, a running stage out.

Here, and nowhere below, a stage meets its broker, its snapshots, its effects and the clock.
"""

import gc
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

from ..config.deployment import DeploymentSettings
from ..config.errors import ConfigError, Problem
from ..config.model import packaged_defaults
from ..io.failpoints import configure
from ..io.health import serve_health
from ..io.kafka import KafkaSettings, open_bus
from ..io.logs import configure_logs
from ..io.metrics import Meter
from ..io.snapshots import SnapshotStore
from . import topology
from .contract import Stage
from .effects import Services, effects_of
from .fingerprint import build_fingerprint, prepare_jax
from .recovery import SnapshotCadence
from .runner import Runner, World

DRAIN_S = 20.0
PREDICTING = ("orchestrator",)


@dataclass(frozen=True)
class Identity:
    """Who this process is: `instance` tells replicas of a stage apart, `log_id` names a broker without cluster ids."""

    stage: str
    instance: str = "0"
    log_id: str = ""


class StopSignal:
    """True once SIGTERM or SIGINT came; a second signal ends the process at once."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.ask)

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Remember the first signal, obey the second."""
        del frame
        if self.asked:
            raise SystemExit(128 + number)
        self.asked = True

    def __call__(self) -> bool:
        return self.asked


def refuse_registry(settings: DeploymentSettings) -> None:
    """Records are in single-object encoding; to ignore a configured registry would break its readers silently."""
    if settings.bus.schema_registry_url:
        advice = "Unset USP_SCHEMA_REGISTRY_URL; readers need no registry, only the .avsc files."
        problem = Problem("bus.schema_registry_url", "set", "unset: this version speaks single-object encoding", advice)
        raise ConfigError("deployment settings", [problem])


def quiet_collector() -> None:
    """Records live for one batch and hold no cycles: frequent collections would cost a fifth of ingest's time."""
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


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
        linger_ms=settings.bus.linger_ms,
        transaction_timeout_ms=settings.bus.transaction_timeout_ms,
    )


def run_stage(who: Identity, settings: DeploymentSettings, environ: Mapping[str, str]) -> None:
    """Run a stage until a signal; returns after a clean stop."""
    refuse_registry(settings)
    configure(environ.get("USP_FAILPOINT", ""))
    log = configure_logs(settings.logs.level, settings.logs.format, stage=who.stage, instance=who.instance)
    stop = StopSignal()
    if who.stage in PREDICTING:
        prepare_jax(settings.paths.resolved("cache_dir"))
    stage = topology.stage(who.stage)
    config = packaged_defaults()
    meter = Meter(who.stage)
    quiet_collector()
    running: list[Runner] = []
    health = serve_health(
        settings.metrics.host, settings.metrics.port, meter.registry, lambda: any(r.positions for r in running)
    )
    bus_settings = kafka_settings(settings, who, stage)
    fingerprint = build_fingerprint(who.stage in PREDICTING, config.core.lane_width)
    bus = open_bus(bus_settings)
    services = Services(settings, config, environ, bus, bus_settings, fingerprint, meter, log)
    with effects_of(who.stage, services) as execute:
        world = World(
            bus=bus,
            snapshots=SnapshotStore(settings.paths.resolved("snapshots")),
            execute=execute,
            now_ns=time.time_ns,
            meter=meter,
            fingerprint=fingerprint,
            cadence=SnapshotCadence(config.io.snapshot_every_steps, int(config.io.snapshot_every_s * 1e9)),
            log=log,
        )
        runner = Runner(stage, config, world, settings.bus.max_batch)
        running.append(runner)
        log.info("started", delivery=bus.delivery, topics=bus_settings.topics, fingerprint=fingerprint)
        runner.run(stop)
        log.info("stopping")
        bus.close(DRAIN_S)
    if health:
        health.shutdown()
    log.info("stopped")
