# SPDX-License-Identifier: MIT
"""Puts snapshots together and has them written to disk, then tells Redis.

In: pieces of snapshots. Out: effects (write, hint, look for broken files) and alerts. A partition is committed no
further than the first piece of its oldest open set, so that a restart sees every unfinished snapshot again; what
is written twice stays the same file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..config.model import ModelConfig
from ..io.bus import Partition
from ..io.snapshot_chunks import Assembler, BadChunk, OpenSet
from ..schemas.records import Alert, Severity, SnapshotChunk
from . import topology
from .contract import Batch, Effect, Hold, Output, Record, Reply, Send, Stage
from .poison import raw_of, refused

SCRUB_INTERVAL_NS = 3_600_000_000_000


@dataclass(frozen=True)
class PersistSnapshot(Effect):
    """Verify these bytes and write them as a file. Answers SnapshotPersisted or SnapshotRefused."""

    snapshot_id: str
    stage: str
    partition: int
    next_offset: int
    step: int
    data: bytes
    now_ns: int


@dataclass(frozen=True)
class UpdateHint(Effect):
    """Tell Redis about a file that is safe on disk. Answers HintSkipped if Redis is away, else nothing."""

    log_id: str
    stage: str
    partition: int
    snapshot_id: str
    next_offset: int
    step: int
    path: str


@dataclass(frozen=True)
class ScrubSnapshots(Effect):
    """Look at the files and set broken ones aside. Answers one SnapshotSetAside for each."""

    now_ns: int


@dataclass(frozen=True)
class SnapshotPersisted(Reply):
    """The file is safe on disk."""

    log_id: str
    stage: str
    partition: int
    snapshot_id: str
    next_offset: int
    step: int
    path: str


@dataclass(frozen=True)
class SnapshotRefused(Reply):
    """No file was written. `event` says whether the bytes, the room or the system was the cause."""

    event: str
    stage: str
    partition: int
    snapshot_id: str
    reason: str


@dataclass(frozen=True)
class HintSkipped(Reply):
    """Redis does not know of the newest file; readers find it by themselves."""

    stage: str
    partition: int
    snapshot_id: str
    reason: str


@dataclass(frozen=True)
class SnapshotSetAside(Reply):
    """A file on disk was broken and has been renamed."""

    path: str
    reason: str


@dataclass
class SnapshotterState:
    """The open sets of each input partition."""

    assemblers: dict[int, Assembler] = field(default_factory=dict[int, Assembler])


def init(config: ModelConfig) -> SnapshotterState:
    """Nothing is open."""
    del config
    return SnapshotterState()


def handle(batch: Batch, state: SnapshotterState) -> tuple[list[Output], SnapshotterState]:
    """Take pieces in, answer replies, hold what is not yet whole."""
    outputs: list[Output] = []
    for record in batch.records:
        match record.value:
            case SnapshotChunk() as chunk:
                outputs += taken(record, chunk, state, batch.now_ns)
            case SnapshotPersisted() as done:
                outputs.append(hint_of(done))
            case Reply() as reply:
                outputs.append(alert_of(reply, batch.now_ns))
            case _:
                outputs += refused(STAGE, raw_of(record), "unexpected_record", unexpected(record), batch.now_ns)
    if batch.timer is not None and is_scrub_due(batch.timer.previous_ns, batch.now_ns):
        outputs.append(ScrubSnapshots(batch.now_ns))
    return outputs + holds(state), state


def taken(record: Record, chunk: SnapshotChunk, state: SnapshotterState, now_ns: int) -> Sequence[Output]:
    """One piece; the write if it was the last of its snapshot. Never raises once the state has changed."""
    assembler = state.assemblers.setdefault(record.partition.number, Assembler())
    try:
        whole = assembler.add(chunk, record.offset, record.timestamp_ns)
    except BadChunk as fault:
        return refused(STAGE, raw_of(record), "bad_snapshot_chunk", str(fault), now_ns)
    outputs: list[Output] = [given_up(each, now_ns) for each in assembler.expire(record.timestamp_ns)]
    if whole is not None:
        outputs.append(
            PersistSnapshot(
                whole.snapshot_id,
                whole.owner.stage,
                whole.owner.partition,
                whole.next_offset,
                whole.step,
                whole.data,
                now_ns,
            )
        )
    return outputs


def holds(state: SnapshotterState) -> list[Output]:
    """How far each partition may be committed."""
    first = {number: assembler.first_needed() for number, assembler in state.assemblers.items()}
    return [
        Hold(Partition(topology.SNAPSHOTS.name, number), offset)
        for number, offset in first.items()
        if offset is not None
    ]


def is_scrub_due(previous_ns: int, now_ns: int) -> bool:
    """At the runner's first look at the clock, and whenever a full interval has begun since its last."""
    return previous_ns >= now_ns or previous_ns // SCRUB_INTERVAL_NS != now_ns // SCRUB_INTERVAL_NS


def hint_of(done: SnapshotPersisted) -> UpdateHint:
    """The file is durable: now Redis may know."""
    return UpdateHint(done.log_id, done.stage, done.partition, done.snapshot_id, done.next_offset, done.step, done.path)


def alert_of(reply: Reply, now_ns: int) -> Send:
    """What went wrong in the world, for people on call."""
    match reply:
        case SnapshotRefused():
            detail = owner(reply.stage, reply.partition) | {"snapshot": reply.snapshot_id, "reason": reply.reason}
            return alert(reply.event, "critical", detail, now_ns)
        case HintSkipped():
            detail = owner(reply.stage, reply.partition) | {"snapshot": reply.snapshot_id, "reason": reply.reason}
            return alert("SnapshotHintSkippedEvent", "info", detail, now_ns)
        case SnapshotSetAside():
            return alert("CorruptedSnapshotEvent", "critical", {"path": reply.path, "reason": reply.reason}, now_ns)
        case _:
            raise TypeError(f"found the reply {type(reply).__name__}, expected one of this stage's")


def given_up(lost: OpenSet, now_ns: int) -> Send:
    """A snapshot whose sender died half-way, and whose successor did not send one in time."""
    detail = owner(lost.owner.stage, lost.owner.partition) | {
        "next_offset": str(lost.next_offset),
        "pieces": f"{len(lost.pieces)} of {lost.count}",
    }
    return alert("SnapshotIncompleteEvent", "warning", detail, now_ns)


def owner(stage: str, partition: int) -> dict[str, str]:
    """Whose snapshot it is."""
    return {"stage": stage, "partition": str(partition)}


def alert(event: str, severity: Severity, detail: dict[str, str], now_ns: int) -> Send:
    """An alert of this stage; no tick is concerned."""
    value = Alert(
        event=event,
        severity=severity,
        stage=STAGE.name,
        symbol=None,
        origin_partition=None,
        origin_offset=None,
        timestamp_ns=now_ns,
        detail=detail,
    )
    return Send(topology.ALERTS, value, STAGE.name)


def unexpected(record: Record) -> str:
    """For a record of another kind on this topic."""
    return f"found a {type(record.value).__name__}, expected a SnapshotChunk"


def release(state: SnapshotterState, partition: int) -> SnapshotterState:
    """Another process reads this partition from its hold on."""
    state.assemblers.pop(partition, None)
    return state


STAGE: Stage[SnapshotterState] = Stage(
    name="snapshotter",
    consumes=(topology.SNAPSHOTS,),
    produces=(topology.ALERTS, topology.DEAD_LETTERS),
    dead_letters=topology.DEAD_LETTERS,
    init=init,
    handle=handle,
    gather_s=0.2,
    release=release,
)
