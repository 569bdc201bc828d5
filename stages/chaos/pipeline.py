# SPDX-License-Identifier: MIT
"""The pipeline of real processes that is hurt, and the witnesses that are heard afterwards."""

import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka.admin import AdminClient
from rich.console import Console

from ...config.deployment import DeploymentSettings
from ...config.model import packaged_defaults
from ...io.bus import Partition
from ...io.embedded import LocalServices
from ...io.kafka import PlainKafkaBus
from ...io.line_chain import check_chain
from ...io.line_log import files_of
from ...io.local_kafka import Detour
from ...io.ports import LOOPBACK, free_port
from ...io.registry import open_wire
from ...io.snapshots import SnapshotError, SnapshotStore, load_snapshot
from ...io.topics import ensure_topics
from ...io.wire import framed
from .. import topology
from ..commands.demo import READY_S, stage_environment
from ..fingerprint import prepare_jax
from ..process import Identity, kafka_settings
from ..replay import Recorded, recorded_predictions, replay
from .scene import ChaosSupervisor
from .tcp_proxy import TcpProxy
from .verifier import Verdict, verify

SETTLE_S = 180.0
READY_AGAIN_S = 60.0
POLL_S = 0.1
Pause = Callable[[float], None]


class Running(NamedTuple):
    """What is hurt. `network` lies between the stages and a broker of our own, if that was asked for."""

    services: LocalServices
    supervisor: ChaosSupervisor
    network: TcpProxy | None


@contextmanager
def hurtable_pipeline(
    settings: DeploymentSettings, data_dir: Path, console: Console, with_network: bool = False
) -> Generator[Running]:
    """Local services and the five stages, ready; what is left of them is stopped at the end."""
    detour = two_ports() if with_network else None
    with LocalServices(settings, data_dir, say=console.print, detour=detour) as services, ExitStack() as between:
        console.print(f"broker: {services.broker.sentence}")
        servers = services.broker.bootstrap_servers
        ensure_topics(AdminClient({"bootstrap.servers": servers, **settings.bus.security}), topology.specs())
        addresses, network = services.addresses, None
        if detour is not None and services.broker.choice.jars is not None:
            network = between.enter_context(TcpProxy(detour.advertised_port, detour.port))
            addresses = addresses._replace(bootstrap_servers=f"{LOOPBACK}:{network.port}")
        environ = stage_environment(settings, addresses, data_dir) | {"USP_PATHS__SNAPSHOTS": "io/snapshots"}
        supervisor = ChaosSupervisor(environ, data_dir / "logs", lambda text: None)
        supervisor.extra = {}
        try:
            supervisor.start()
            supervisor.wait_until_ready(READY_S, lambda ready: None)
            yield Running(services, supervisor, network)
        finally:
            supervisor.stop()


def two_ports() -> Detour:
    """Where the broker listens for those that come through the proxy, and where the proxy does."""
    port = free_port()
    return Detour(port, free_port(frozenset({port})))


def watching(supervisor: ChaosSupervisor, seen: Callable[[], None] = lambda: None) -> Pause:
    """A pause in which what has died is restarted; `seen` is called again and again."""

    def pause(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            supervisor.watch()
            seen()
            time.sleep(min(POLL_S, seconds))

    return pause


def wait_ready(supervisor: ChaosSupervisor, pause: Pause, patience_s: float = READY_AGAIN_S) -> bool:
    """Until all stages are ready again; what has died is noticed first."""
    pause(0.3)
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if all(supervisor.ready().values()):
            return True
        pause(POLL_S)
    return False


def settled(supervisor: ChaosSupervisor, pause: Pause, servers: str, settings: DeploymentSettings) -> Verdict:
    """The independent verdict once nothing is missing any more, or patience ends."""
    end = time.monotonic() + SETTLE_S
    wait_ready(supervisor, pause)
    verdict = verify(servers, settings.bus.security)
    while verdict.missing and time.monotonic() < end:
        pause(1.0)
        verdict = verify(servers, settings.bus.security)
    return verdict


@dataclass
class Bits:
    """What a replay of every partition found."""

    predictions: int = 0
    states: int = 0
    differences: list[str] = field(default_factory=list[str])


def compare_bits(settings: DeploymentSettings, servers: str, data_dir: Path, delivery: str) -> Bits:
    """Replay every partition of the orchestrator from its first offset, and compare."""
    prepare_jax(settings.paths.resolved("cache_dir"))
    stage = topology.stage("orchestrator")
    who = Identity("orchestrator", "chaos", settings.bus.log_id)
    reading = replace(kafka_settings(settings, who, stage), bootstrap_servers=servers, delivery="at_least_once")
    bus = framed(PlainKafkaBus(reading), open_wire(settings.bus.schema_registry_url))
    store = SnapshotStore(data_dir / "io" / "snapshots", report=lambda path, fault: None)
    log_id = bus.log_id(topology.VALIDATED.name) if delivery == "exactly_once" else ""
    state, found = stage.init(packaged_defaults()), Bits()
    try:
        for number in range(topology.PARTITIONS):
            partition = Partition(topology.VALIDATED.name, number)
            snapshots = dict(sound_snapshots(store, number, log_id))
            recorded = Recorded(recorded_predictions(bus, number), snapshots)
            report = replay(bus, stage, state, (partition, *bus.bounds(partition)), recorded)
            found.predictions += report.predictions
            found.states += len(report.states_checked)
            if report.difference is not None:
                found.differences.append(f"partition {number}: {report.difference}")
    finally:
        bus.close(5.0)
    return found


def sound_snapshots(store: SnapshotStore, number: int, log_id: str) -> Generator[tuple[int, Any]]:
    """Offset and snapshot of every sound file of the orchestrator's partition."""
    for file in store.files("orchestrator", number):
        try:
            snapshot = load_snapshot(file.path)
        except SnapshotError:
            continue  # damaged on purpose
        if snapshot.header.log_id == log_id and file.next_offset > 0:
            yield file.next_offset, snapshot


def parity_problems(data_dir: Path) -> tuple[int, list[str]]:
    """Lines of the parity log, and where its hash chain is broken."""
    report = check_chain(files_of(data_dir / "io" / "parity.jsonl"))
    return report.lines, [f"parity log: {problem}" for problem in report.problems]
