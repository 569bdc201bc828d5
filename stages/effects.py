# SPDX-License-Identifier: MIT
"""Which function of the edge executes which effect; the one table between pure stages and the world.

Every executor is idempotent. Its answer comes back to the stage as records of the same batch.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..config.deployment import DeploymentSettings
from ..config.model import ModelConfig
from ..io.bus import Bus
from ..io.kafka import KafkaSettings
from ..io.metrics import Meter
from ..io.wire import SINGLE_OBJECT, Wire
from . import topology
from .contract import Effect, Reply, SnapshotBegun, SnapshotTaken

Executor = Callable[[Any], Sequence[Reply]]
Execute = Callable[[Effect], Sequence[Reply]]


@dataclass(frozen=True)
class Services:
    """What executors are made from."""

    settings: DeploymentSettings
    config: ModelConfig
    environ: Mapping[str, str]
    bus: Bus
    kafka: KafkaSettings
    fingerprint: str
    meter: Meter
    log: Any
    wire: Wire = SINGLE_OBJECT


@contextmanager
def effects_of(stage: str, services: Services) -> Generator[Execute]:
    """The executor of a stage's effects, with what it holds open until the stage ends."""
    with TABLES.get(stage, no_effects)(services) as table:

        def execute(effect: Effect) -> Sequence[Reply]:
            if isinstance(effect, SnapshotBegun | SnapshotTaken) and type(effect) not in table:
                return ()
            return table[type(effect)](effect)

        yield execute


@contextmanager
def no_effects(services: Services) -> Generator[dict[type[Effect], Executor]]:
    """For stages that only publish."""
    del services
    yield {}


@contextmanager
def orchestrator_effects(services: Services) -> Generator[dict[type[Effect], Executor]]:
    """Telemetry goes into the ring; a thread of its own sends it. Another one compiles prepared configurations."""
    from .orchestrator import Observe
    from .program_compiler import ProgramCompiler
    from .rollout import Compile
    from .telemetry_pump import TelemetryPump

    made_from = (services.config, services.kafka, services.fingerprint, services.meter, services.wire)
    with TelemetryPump(*made_from) as pump, ProgramCompiler() as compiler:
        yield {
            Observe: pump.observe,
            SnapshotBegun: pump.snapshot_begun,
            SnapshotTaken: pump.snapshotted,
            Compile: compiler.compile,
        }


@contextmanager
def snapshotter_effects(services: Services) -> Generator[dict[type[Effect], Executor]]:
    """Files, and hints in Redis."""
    from ..io.cache import SnapshotHints
    from ..io.snapshots import Retention, SnapshotStore
    from . import snapshot_effects as run
    from .snapshotter import PersistSnapshot, ScrubSnapshots, UpdateHint

    policy = services.config.io
    store = SnapshotStore(
        services.settings.paths.resolved("snapshots"),
        fsync=policy.snapshot_atomic_fsync,
        retention=Retention(policy.snapshot_keep_last, policy.snapshot_keep_hourly),
    )
    client = redis_client(services.settings)
    hints = SnapshotHints(client, services.settings.redis.key_prefix) if client is not None else None
    yield {
        PersistSnapshot: partial(run.persist_snapshot, store),
        UpdateHint: partial(run.update_hint, hints),
        ScrubSnapshots: partial(run.scrub_snapshots, store),
    }


@contextmanager
def sink_effects(services: Services) -> Generator[dict[type[Effect], Executor]]:
    """Append-only logs, and the live page."""
    from ..io.line_log import LineLog
    from .dashboard.live_page import page_of_sink
    from .telemetry_effects import append_lines
    from .telemetry_sink import AppendLines, LogName

    paths = services.settings.paths
    logs: dict[LogName, LineLog] = {
        "parity": LineLog(paths.resolved("parity_log")),
        "adaptive": LineLog(paths.resolved("adaptive_telemetry")),
    }
    own, bus = services.settings.dashboard, services.kafka
    with page_of_sink(own, bus.bootstrap_servers, bus.security, services.wire, services.log):
        yield {AppendLines: partial(append_lines, logs)}


@contextmanager
def governor_effects(services: Services) -> Generator[dict[type[Effect], Executor]]:
    """The configuration file, its audit log, the limiter in Redis, and the epochs that were published before."""
    from ..io.mutation_protocol import ConfigPaths
    from ..io.rate_limits import RedisRateLimiter
    from .governor_effects import executors
    from .governor_recovery import GovernorWorld, epochs_in, head_in
    from .judge import JUDGES

    paths = services.settings.paths
    client = redis_client(services.settings)
    prefix = f"{services.settings.redis.key_prefix}{services.bus.log_id(topology.PREDICTIONS.name)}:"
    world = GovernorWorld(
        paths=ConfigPaths(paths.resolved("config_file"), paths.resolved("mutations_log")),
        environ=services.environ,
        read_epochs=lambda: epochs_in(services.bus),
        limiter=None if client is None else RedisRateLimiter(client, prefix),
        proposal_key=services.environ.get("USP_PROPOSAL_KEY", "").encode() or None,
        noted_head=lambda: head_in(services.bus),
        judge=JUDGES[services.settings.governor.judge],
    )
    yield executors(world)


def redis_client(settings: DeploymentSettings, timeout_s: float = 0.25) -> Any:
    """The configured Redis, None if there is none; it never waits long, since a stage waits with it."""
    from ..io.cache import open_redis

    own = settings.redis
    if not own.url:
        return None
    return open_redis(
        own.url,
        username=own.username,
        password=own.password,
        ca_file=own.ca_file,
        timeout_s=min(own.timeout_s, timeout_s),
    )


TABLES: dict[str, Any] = {
    "orchestrator": orchestrator_effects,
    "snapshotter": snapshotter_effects,
    "telemetry-sink": sink_effects,
    "governor": governor_effects,
}
