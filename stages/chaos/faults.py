# SPDX-License-Identifier: MIT
"""What `usp chaos` does to a running pipeline: each fault is an action on real processes and what undoes it."""

import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...io.embedded import LocalServices
from ...io.failpoints import NAMES
from ...io.local_kafka import start_kafka
from ...io.local_process import LocalProcess
from ...io.local_redis import start_redis
from ...io.ports import free_port
from .. import topology
from ..supervisor import FIRST_BACKOFF_S, Supervisor, is_ready

PAUSE_S = 14.0
AWAY_S = 8.0
FULL_S = 5.0
ARMED_S = 12.0
START_S = 40.0
SHARED_S = 5.0
TINY_FILE_BYTES = 64

# Which process passes which failpoints; `config` and `audit` need a proposal, which chaos does not make.
OWNERS = {
    "runner": ("ingest", "orchestrator"),
    "snapshot": ("snapshotter",),
    "hint": ("snapshotter",),
    "lines": ("telemetry-sink",),
    "config": ("governor",),
    "audit": ("governor",),
}


class ChaosSupervisor(Supervisor):
    """A supervisor that can give the next process of a stage further settings, once."""

    extra: dict[str, dict[str, str]]

    def spawn(self, name: str, port: int) -> LocalProcess:
        """See `Supervisor.spawn`."""
        own = getattr(self, "extra", {}).pop(name, {})
        usual = self.environ
        self.environ = {**usual, **own}
        try:
            return super().spawn(name, port)
        finally:
            self.environ = usual


@dataclass
class Scene:
    """The running pipeline, and how to wait in it: `pause` keeps watching, so that what dies is restarted."""

    services: LocalServices
    supervisor: ChaosSupervisor
    data_dir: Path
    generator: np.random.Generator
    pause: Callable[[float], None]
    reached: set[str] = field(default_factory=set[str])

    def pid(self, stage: str) -> int:
        """The process of a stage."""
        return self.supervisor.children[stage].process.pid

    def any_stage(self) -> str:
        """One of the five."""
        return str(self.generator.choice(list(topology.STAGES)))


def tell(pid: int, number: signal.Signals) -> None:
    """A signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def kill_stage(scene: Scene, stage: str) -> str:
    """SIGKILL; its supervisor starts it again without a longer and longer pause."""
    scene.supervisor.children[stage].backoff_s = FIRST_BACKOFF_S
    tell(scene.pid(stage), signal.SIGKILL)
    return stage


def kill(scene: Scene) -> str:
    """A stage dies."""
    return kill_stage(scene, scene.any_stage())


def stop(scene: Scene) -> str:
    """A stage is asked to end: it drains and takes a snapshot."""
    stage = scene.any_stage()
    scene.supervisor.children[stage].backoff_s = FIRST_BACKOFF_S
    tell(scene.pid(stage), signal.SIGTERM)
    return stage


def kill_two(scene: Scene) -> str:
    """Two stages die at once."""
    pair = scene.generator.choice(list(topology.STAGES), 2, replace=False)
    return " and ".join(kill_stage(scene, str(stage)) for stage in pair)


def stop_past_session(scene: Scene) -> str:
    """A stage is frozen for longer than its session, then goes on as a zombie."""
    stage = str(scene.generator.choice(["ingest", "orchestrator"]))
    pid = scene.pid(stage)
    tell(pid, signal.SIGSTOP)
    try:
        scene.pause(PAUSE_S)
    finally:
        tell(pid, signal.SIGCONT)
    return stage


def failpoint(scene: Scene) -> str:
    """A stage is restarted with an armed failpoint and dies exactly there, if it comes by in time."""
    open_names = [name for name in NAMES if name not in scene.reached and owners(name)] or list(filter(owners, NAMES))
    name = str(scene.generator.choice(open_names))
    stage = str(scene.generator.choice(owners(name)))
    if name == "snapshot.after_set_aside":
        flip_newest(scene, "orchestrator")
    scene.supervisor.extra[stage] = {"USP_FAILPOINT": f"{name}:kill"}
    restarts = scene.supervisor.children[stage].restarts
    kill_stage(scene, stage)

    def died_there() -> bool:
        return scene.supervisor.children[stage].restarts >= restarts + 2

    wait_until(scene, lambda: died_there() or scene.supervisor.ready()[stage], START_S)
    if "snapshot" in name or name.startswith("hint"):
        tell(scene.pid(stage if name.startswith("runner") else "orchestrator"), signal.SIGTERM)
    wait_until(scene, died_there, ARMED_S)
    if died_there():
        scene.reached.add(name)
        return f"{name} in {stage}"
    kill_stage(scene, stage)
    return f"{name} in {stage}, not reached"


def wait_until(scene: Scene, done: Callable[[], bool], patience_s: float) -> None:
    """Until it is so, or patience ends."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end and not done():
        scene.pause(0.2)


def owners(name: str) -> tuple[str, ...]:
    """The stages that pass a failpoint while only ticks flow."""
    prefix = name.partition(".")[0]
    return () if prefix in ("config", "audit") else OWNERS[prefix]


def kill_broker(scene: Scene) -> str:
    """The broker dies and comes back on its port with its files."""
    broker = scene.services.broker
    if broker.local is None or broker.choice.jars is None:
        return "skipped: not our broker"
    broker.local.kill()
    scene.pause(1.0)
    port = int(broker.bootstrap_servers.rpartition(":")[2])
    restarted = start_kafka(scene.data_dir / "kafka", broker.choice.jars, port=port)
    scene.services.broker = replace(broker, local=restarted)
    scene.services.started.callback(restarted.stop)
    return "came back"


def pause_process(scene: Scene, process: LocalProcess | None) -> str:
    """A service that does not answer for a while."""
    if process is None:
        return "skipped: not our service"
    tell(process.pid, signal.SIGSTOP)
    try:
        scene.pause(AWAY_S)
    finally:
        tell(process.pid, signal.SIGCONT)
    return f"{AWAY_S:.0f} s"


def broker_away(scene: Scene) -> str:
    """The broker is frozen."""
    local = scene.services.broker.local
    return pause_process(scene, local.process if local is not None else None)


def redis_away(scene: Scene) -> str:
    """Redis is frozen."""
    local = scene.services.redis.local
    return pause_process(scene, local.process if local is not None else None)


def kill_redis(scene: Scene) -> str:
    """Redis dies and comes back on its port with its files."""
    running = scene.services.redis
    if running.local is None:
        return "skipped: not our Redis"
    running.local.kill()
    scene.pause(1.0)
    port = int(running.url.rpartition(":")[2].partition("/")[0])
    restarted = start_redis(scene.data_dir / "redis", port=port)
    scene.services.redis = replace(running, local=restarted)
    scene.services.started.callback(restarted.stop)
    return "came back"


def full_disk(scene: Scene) -> str:
    """Files of a stage may not grow (RLIMIT_FSIZE): writing fails as on a full disk."""
    stage = str(scene.generator.choice(["snapshotter", "telemetry-sink"]))
    pid = scene.pid(stage)
    try:
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (TINY_FILE_BYTES, hard))
        scene.pause(FULL_S)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
    except (ProcessLookupError, PermissionError) as fault:
        return f"{stage} had ended: {fault}"
    return stage


def damage_snapshot(scene: Scene) -> str:
    """One byte of the newest snapshot of a stage turns, then the stage dies: it must take an older one."""
    stage = str(scene.generator.choice(["ingest", "orchestrator"]))
    told = flip_newest(scene, stage)
    kill_stage(scene, stage)
    return told


def flip_newest(scene: Scene, stage: str) -> str:
    """Turn one bit of the newest snapshot file of a stage."""
    files = sorted((scene.data_dir / "io" / "snapshots").glob(f"{stage}_*.snapshot"), key=lambda p: p.stat().st_mtime)
    if not files:
        return "no snapshot yet"
    data = bytearray(files[-1].read_bytes())
    place = int(scene.generator.integers(len(data)))
    data[place] ^= 1 << int(scene.generator.integers(8))
    files[-1].write_bytes(bytes(data))
    return f"byte {place} of {files[-1].name}"


def scale(scene: Scene) -> str:
    """Two more orchestrators come, share the partitions, and go: one asked to end, one killed."""
    others: list[LocalProcess] = []
    try:
        for instance in ("1", "2"):
            port = free_port(frozenset(child.port for child in scene.supervisor.children.values()))
            scene.supervisor.extra["orchestrator"] = {"USP_BUS__INSTANCE": instance}
            others.append(scene.supervisor.spawn("orchestrator", port))
            wait_until(scene, lambda at=port: is_ready(at), START_S)
        scene.pause(SHARED_S)
        shared = sum(other.is_running() for other in others)
        others[0].stop(25.0)
        others[1].kill()
    finally:
        for other in others:
            other.kill()
    return f"{1 + shared} and back"


Fault = Callable[[Scene], str]
FAULTS: dict[str, tuple[float, Fault]] = {
    "kill": (8.0, kill),
    "stop": (3.0, stop),
    "kill two": (2.0, kill_two),
    "failpoint": (6.0, failpoint),
    "stop past the session": (1.0, stop_past_session),
    "broker killed": (0.7, kill_broker),
    "broker away": (0.7, broker_away),
    "redis away": (0.7, redis_away),
    "redis killed": (0.7, kill_redis),
    "disk full": (1.0, full_disk),
    "snapshot damaged": (1.5, damage_snapshot),
    "scaled to three and back": (0.7, scale),
}


def drawn(scene: Scene, names: list[str]) -> str:
    """The name of the next fault, by weight."""
    weights: Any = np.array([FAULTS[name][0] for name in names])
    return str(scene.generator.choice(names, p=weights / weights.sum()))
