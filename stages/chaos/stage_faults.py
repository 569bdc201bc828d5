# SPDX-License-Identifier: MIT
"""Faults of the stages themselves: they die, freeze, stumble over their disk, or share their work."""

import resource
import signal

from ...io.failpoints import NAMES
from ...io.local_process import LocalProcess
from ...io.ports import free_port
from .. import topology
from ..supervisor import FIRST_BACKOFF_S, is_ready
from .scene import Scene, tell, wait_until

PAUSE_S = 14.0
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


def owners(name: str) -> tuple[str, ...]:
    """The stages that pass a failpoint while only ticks flow."""
    prefix = name.partition(".")[0]
    return () if prefix in ("config", "audit") else OWNERS[prefix]


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
