# SPDX-License-Identifier: MIT
"""`usp chaos`: a pipeline of real processes is fed and hurt for some minutes; then two witnesses are heard.

1. `verifier.py`, which shares no code with the pipeline: nothing lost, doubled, out of order or misnamed.
2. A replay of each partition from its first offset in this undisturbed process: every prediction has the same bytes,
   and so has the state at every snapshot that is on disk.

The faults follow from the seed; when they strike follows from the machine.
"""

import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient
from rich.console import Console

from ...config.deployment import DeploymentSettings
from ...config.model import packaged_defaults
from ...io.avro import encode
from ...io.bus import Partition
from ...io.embedded import LocalServices
from ...io.kafka import PlainKafkaBus
from ...io.registry import open_wire
from ...io.snapshots import SnapshotError, SnapshotStore, load_snapshot
from ...io.topics import ensure_topics
from ...io.wire import framed
from .. import topology
from ..bench.ticks import bench_tick
from ..commands.demo import READY_S, stage_environment
from ..fingerprint import prepare_jax
from ..process import Identity, kafka_settings
from ..publisher import tick_producer
from ..replay import Recorded, recorded_predictions, replay
from .faults import FAULTS, ChaosSupervisor, Scene, drawn
from .verifier import Verdict, verify

SETTLE_S = 180.0
READY_AGAIN_S = 60.0
CALM_S = (0.2, 3.0)
OVERLAP = 0.25


@dataclass(frozen=True)
class ChaosPlan:
    """How long, with which seed, what is fed, and which faults (all of them without names)."""

    minutes: float = 5.0
    seed: int = 1
    symbols: int = 8
    rate_per_s: float = 100.0
    faults: tuple[str, ...] = ()
    most_faults: int = 100_000


@dataclass
class Outcome:
    """What was done and what was found. `recovery_s` are times from a fault to all stages ready."""

    seed: int
    published: int = 0
    faults: dict[str, int] = field(default_factory=dict[str, int])
    told: list[str] = field(default_factory=list[str])
    failpoints_reached: list[str] = field(default_factory=list[str])
    recovery_s: list[float] = field(default_factory=list[float])
    verdict: Verdict = field(default_factory=Verdict)
    predictions_replayed: int = 0
    states_compared: int = 0
    differences: list[str] = field(default_factory=list[str])

    @property
    def good(self) -> bool:
        """Both witnesses are content, and every tick that the broker took was seen."""
        return self.verdict.good and not self.differences and self.verdict.ticks >= self.published > 0

    def document(self) -> dict[str, Any]:
        """For machines."""
        times = np.quantile(self.recovery_s, [0.5, 0.99]).tolist() if self.recovery_s else [None, None]
        return asdict(self) | {"good": self.good, "recovery_p50_s": times[0], "recovery_p99_s": times[1]}


class Feed:
    """Numbered ticks from a thread, until told to stop; only those that the broker acknowledged count."""

    def __init__(self, servers: str, settings: DeploymentSettings, plan: ChaosPlan) -> None:
        self.producer = tick_producer(servers, settings.bus.security, open_wire(settings.bus.schema_registry_url))
        self.plan = plan
        self.delivered = 0
        self.stop = Event()
        self.thread = Thread(target=self.run, name="feed", daemon=True)

    def run(self) -> None:
        """Publish at the plan's rate."""
        number = 0
        while not self.stop.wait(1.0 / self.plan.rate_per_s):
            tick = bench_tick(number, self.plan.symbols, time.time_ns())
            number += 1
            try:
                self.producer.produce(
                    topology.MARKET_TICKS.name, key=tick.symbol.encode(), value=encode(tick), on_delivery=self.count
                )
            except BufferError:
                self.producer.poll(0.5)
            self.producer.poll(0)
        self.producer.flush(60.0)

    def count(self, fault: KafkaError | None, message: object) -> None:
        """The broker has it."""
        del message
        self.delivered += fault is None

    def finish(self) -> int:
        """Stop; how many ticks the broker has."""
        self.stop.set()
        self.thread.join(90.0)
        return self.delivered


@contextmanager
def hurtable_pipeline(
    settings: DeploymentSettings, data_dir: Path, console: Console
) -> Generator[tuple[LocalServices, ChaosSupervisor]]:
    """Local services and the five stages, ready; what is left of them is stopped at the end."""
    with LocalServices(settings, data_dir, say=console.print) as services:
        console.print(f"broker: {services.broker.sentence}")
        servers = services.broker.bootstrap_servers
        ensure_topics(AdminClient({"bootstrap.servers": servers, **settings.bus.security}), topology.specs())
        environ = stage_environment(settings, services.addresses, data_dir) | {"USP_PATHS__SNAPSHOTS": "io/snapshots"}
        supervisor = ChaosSupervisor(environ, data_dir / "logs", lambda text: None)
        supervisor.extra = {}
        try:
            supervisor.start()
            supervisor.wait_until_ready(READY_S, lambda ready: None)
            yield services, supervisor
        finally:
            supervisor.stop()


def run_chaos(settings: DeploymentSettings, plan: ChaosPlan, console: Console) -> Outcome:
    """Feed, hurt, settle, judge."""
    data_dir = (settings.paths.resolved("data_dir") / "chaos").absolute()
    shutil.rmtree(data_dir, ignore_errors=True)
    outcome = Outcome(plan.seed)
    with hurtable_pipeline(settings, data_dir, console) as (services, supervisor):

        def pause(seconds: float) -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                supervisor.watch()
                time.sleep(0.1)

        scene = Scene(services, supervisor, data_dir, np.random.default_rng(plan.seed), pause)
        servers = services.broker.bootstrap_servers
        feed = Feed(servers, settings, plan)
        feed.thread.start()
        hurt(scene, plan, outcome, console)
        outcome.failpoints_reached = sorted(scene.reached)
        outcome.published = feed.finish()
        console.print(f"{outcome.published} ticks are in; waiting until all are answered")
        outcome.verdict = settled(scene, servers, settings)
        compare_bits(settings, servers, data_dir, services.broker.delivery, outcome)
    return outcome


def hurt(scene: Scene, plan: ChaosPlan, outcome: Outcome, console: Console) -> None:
    """One fault after another until the time is up; some overlap."""
    names = list(plan.faults or FAULTS)
    started_s = time.monotonic()
    end = started_s + plan.minutes * 60
    while time.monotonic() < end and sum(outcome.faults.values()) < plan.most_faults:
        scene.pause(float(scene.generator.uniform(*CALM_S)))
        name = drawn(scene, names)
        told = FAULTS[name][1](scene)
        outcome.faults[name] = outcome.faults.get(name, 0) + 1
        struck_s = time.monotonic()
        outcome.told.append(f"{struck_s - started_s:6.1f} s  {name}: {told}")
        console.print(outcome.told[-1], markup=False, highlight=False)
        if scene.generator.random() >= OVERLAP and wait_ready(scene) and "kill" in name:
            outcome.recovery_s.append(time.monotonic() - struck_s)


def wait_ready(scene: Scene) -> bool:
    """Until all stages are ready again; what has died is noticed first."""
    scene.pause(0.3)
    end = time.monotonic() + READY_AGAIN_S
    while time.monotonic() < end:
        if all(scene.supervisor.ready().values()):
            return True
        scene.pause(0.1)
    return False


def settled(scene: Scene, servers: str, settings: DeploymentSettings) -> Verdict:
    """The independent verdict once nothing is missing any more, or patience ends."""
    end = time.monotonic() + SETTLE_S
    wait_ready(scene)
    verdict = verify(servers, settings.bus.security)
    while verdict.missing and time.monotonic() < end:
        scene.pause(1.0)
        verdict = verify(servers, settings.bus.security)
    return verdict


def compare_bits(settings: DeploymentSettings, servers: str, data_dir: Path, delivery: Any, outcome: Outcome) -> None:
    """Replay every partition of the orchestrator from its first offset, and compare."""
    prepare_jax(settings.paths.resolved("cache_dir"))
    stage = topology.stage("orchestrator")
    who = Identity("orchestrator", "chaos", settings.bus.log_id)
    reading = replace(kafka_settings(settings, who, stage), bootstrap_servers=servers, delivery="at_least_once")
    bus = framed(PlainKafkaBus(reading), open_wire(settings.bus.schema_registry_url))
    store = SnapshotStore(data_dir / "io" / "snapshots", report=lambda path, fault: None)
    log_id = bus.log_id(topology.VALIDATED.name) if delivery == "exactly_once" else ""
    state = stage.init(packaged_defaults())
    try:
        for number in range(topology.PARTITIONS):
            partition = Partition(topology.VALIDATED.name, number)
            snapshots = dict(sound_snapshots(store, number, log_id))
            recorded = Recorded(recorded_predictions(bus, number), snapshots)
            report = replay(bus, stage, state, (partition, *bus.bounds(partition)), recorded)
            outcome.predictions_replayed += report.predictions
            outcome.states_compared += len(report.states_checked)
            if report.difference is not None:
                outcome.differences.append(f"partition {number}: {report.difference}")
    finally:
        bus.close(5.0)


def sound_snapshots(store: SnapshotStore, number: int, log_id: str) -> Generator[tuple[int, Any]]:
    """Offset and snapshot of every sound file of the orchestrator's partition."""
    for file in store.files("orchestrator", number):
        try:
            snapshot = load_snapshot(file.path)
        except SnapshotError:
            continue  # damaged on purpose
        if snapshot.header.log_id == log_id and file.next_offset > 0:
            yield file.next_offset, snapshot
