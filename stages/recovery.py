# SPDX-License-Identifier: MIT
"""Start-up is crash recovery: the newest usable snapshot, then a silent replay up to the commit.

A snapshot is usable if it belongs to this very log, is not ahead of the committed offset, and was written by the
same build; a clean stop's snapshot (exactly at the commit) needs no replay and may come from another build.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from ..config.model import ModelConfig
from ..io.avro import encode
from ..io.bus import Outgoing, Partition, RawRecord
from ..io.snapshots import Snapshot, SnapshotHeader
from ..schemas.records import Alert
from . import topology
from .contract import Document, Stage
from .poison import BrokenInvariant
from .snapshot_migration import migrated
from .snapshot_parcel import Parcel, packed


class SnapshotCadence(NamedTuple):
    """When a partition's state is worth a snapshot: after so many steps, or so much time with any step."""

    every_steps: int
    every_ns: int


class Snapshots(Protocol):
    """Where snapshots can be found; only verified ones are returned."""

    def newest(
        self, stage: str, partition: int, log_id: str, at_most_offset: int, usable: Callable[[SnapshotHeader], bool]
    ) -> Snapshot | None:
        """The newest valid snapshot of this log with `next_offset <= at_most_offset`, None if there is none."""
        ...


class RetentionTrap(BrokenInvariant):
    """The log begins after the state that is needed to read it: an operator must choose."""


MISFITS = (KeyError, IndexError, TypeError, ValueError)


class Restoring(NamedTuple):
    """A restore that is going on: offsets left of those that must be replayed, and since when."""

    partition: Partition
    left: int
    total: int
    since_ns: int

    def told(self, now_ns: int) -> str:
        """For people and `/readyz`."""
        where = f"restoring {self.partition.topic}/{self.partition.number}: {self.left} of {self.total} records left"
        done = self.total - self.left
        if not done:
            return where
        return f"{where}, about {(now_ns - self.since_ns) / 1e9 / done * self.left:.0f} s"


class Mark(NamedTuple):
    """Where and when a partition was last snapshotted."""

    steps: int
    at_ns: int
    hash: str


class Recovery:
    """Snapshots of one stage: restoring them, and knowing when the next is due.

    `restoring` and `restored_records` are looked at from other threads.
    """

    def __init__(self, stage: Stage[Any], world: Any, config: ModelConfig) -> None:
        self.stage = stage
        self.world = world
        self.policy = config.io
        self.schema_version = config.meta.schema_version
        self.marks: dict[int, Mark] = {}
        self.dirty: set[int] = set()
        self.restoring: Restoring | None = None
        self.restored_records = 0

    def recover(
        self, state: Any, partition: Partition, replay: Callable[[Sequence[RawRecord], Any], Any]
    ) -> tuple[Any, int]:
        """The state at the committed offset of a partition, and that offset."""
        bus = self.world.bus
        begin, _ = bus.bounds(partition)
        committed = bus.committed(partition)
        position = begin if committed is None else committed
        if self.stage.restore is None or partition.topic != self.stage.consumes[0].name:
            return state, max(position, begin)
        state, start = self.restored(state, partition, position)
        if start < begin:
            raise self.trapped(partition, start, begin)
        began_ns = self.world.now_ns()
        self.restoring = Restoring(partition, position - start, position - start, began_ns)
        for records in bus.read(partition, start, position):
            state = replay(records, state)
            self.restored_records += len(records)
            left = max(0, position - 1 - records[-1].offset)
            self.restoring = Restoring(partition, left, position - start, began_ns)
        self.restoring = None
        self.marks[partition.number] = Mark(self.steps(state, partition.number), self.world.now_ns(), "")
        return state, position

    def trapped(self, partition: Partition, start: int, begin: int) -> RetentionTrap:
        """Says what an operator can do, also on the topic of alerts."""
        where = f"{partition.topic}/{partition.number}"
        detail = {"partition": where, "state_ends_at": str(start), "log_begins_at": str(begin)}
        self.tell("RetentionTrapEvent", detail)
        return RetentionTrap(
            f"{self.stage.name}: {where} begins at offset {begin}, the newest usable snapshot ends at {start}; expected"
            " no gap. Stop the stage and choose: put a newer snapshot of this log back (usp snapshot restore FILE), or"
            f" go on without the records between (usp snapshot restore --accept-gap --stage {self.stage.name}"
            f" --partition {partition.number}), which is recorded: runbooks/restore-a-snapshot.md"
        )

    def tell(self, event: str, detail: dict[str, str]) -> None:
        """An alert of its own commit: the process may be about to end."""
        now_ns = self.world.now_ns()
        alert = Alert(
            event=event, severity="critical", stage=self.stage.name, symbol=None, origin_partition=None,
            origin_offset=None, timestamp_ns=now_ns, detail=detail,
        )  # fmt: skip
        self.world.bus.commit([Outgoing(topology.ALERTS.name, None, self.stage.name.encode(), encode(alert))], {})

    def restored(self, state: Any, partition: Partition, committed: int) -> tuple[Any, int]:
        """The state of the newest usable snapshot and its offset; nothing and 0 on a cold start."""
        number = partition.number

        def usable(header: SnapshotHeader) -> bool:
            return header.fingerprint == self.world.fingerprint or header.next_offset == committed

        log_id = self.world.bus.log_id(partition.topic)
        snapshot = self.world.snapshots.newest(self.stage.name, number, log_id, committed, usable)
        while self.world.refusals:
            path, fault = self.world.refusals.pop(0)
            self.tell("CorruptedSnapshotEvent", {"path": str(path), "reason": str(fault), "kind": type(fault).__name__})
        if snapshot is None or self.stage.restore is None:
            self.world.meter.cold_start(number, committed)
            return state, 0
        try:
            version = snapshot.header.schema_version
            document = migrated(self.stage.name, version, self.schema_version, snapshot.document)
            state = self.stage.restore(state, number, document)
        except MISFITS as fault:
            return self.misfit(state, number, snapshot, fault), 0
        self.world.meter.restored(number, snapshot.header.next_offset, committed)
        return state, snapshot.header.next_offset

    def misfit(self, state: Any, number: int, snapshot: Snapshot, fault: Exception) -> Any:
        """A snapshot of another build whose layout this one does not know: a cold start, said loudly."""
        self.world.log.critical(
            "snapshot does not fit this build, cold start",
            partition=number,
            snapshot=snapshot.snapshot_id,
            written_by=snapshot.header.fingerprint,
            expected=self.world.fingerprint,
            fault=f"{type(fault).__name__}: {fault}",
        )
        self.world.meter.cold_start(number, snapshot.header.next_offset)
        return self.stage.release(state, number) if self.stage.release else state

    def steps(self, state: Any, partition: int) -> int:
        """Steps of a partition's state so far."""
        return self.stage.steps(state, partition) if self.stage.steps else 0

    def advanced(self, touched: set[Partition]) -> None:
        """These partitions have moved since their last snapshot."""
        self.dirty |= {p.number for p in touched if p.topic == self.stage.consumes[0].name}

    def sent(self, parcel: Parcel) -> None:
        """All of this snapshot is on its topic; the next one names it."""
        mark = self.marks.get(parcel.partition)
        if mark is not None:
            self.marks[parcel.partition] = mark._replace(hash=parcel.packing.result().chunks[0].snapshot_id)

    def moved(self) -> Sequence[int]:
        """All partitions that have moved since their last snapshot."""
        return sorted(self.dirty) if self.stage.snapshot else ()

    def due(self, state: Any, now_ns: int) -> Sequence[int]:
        """The partitions whose snapshot is due."""
        cadence = self.world.cadence
        return [
            number
            for number in self.moved()
            if self.steps(state, number) - self.marks[number].steps >= cadence.every_steps
            or now_ns - self.marks[number].at_ns >= cadence.every_ns
        ]


def parcel_of(recovery: Recovery, state: Any, number: int, next_offset: int, clean_stop: bool) -> Parcel:
    """A partition's state at `next_offset`, given to the encoder, and the mark that it was taken."""
    stage, world = recovery.stage, recovery.world
    document: Document = stage.snapshot(state, number) if stage.snapshot else {}
    steps = recovery.steps(state, number)
    header = SnapshotHeader(
        log_id=world.bus.log_id(stage.consumes[0].name),
        stage=stage.name,
        partition=number,
        next_offset=next_offset,
        step=steps,
        config_epoch=int(document.get("config_epoch", 0)),
        config_hash=str(document.get("config_hash", "")),
        fingerprint=world.fingerprint,
        previous_hash=recovery.marks[number].hash,
        created_ns=world.now_ns(),
        schema_version=recovery.schema_version,
        clean_stop=clean_stop,
        anchors=document.get("anchors", {}),
        compression=recovery.policy.snapshot_compression,
        hash_algorithm=recovery.policy.snapshot_hash_algorithm,
        serialization=recovery.policy.snapshot_format,
    )
    recovery.marks[number] = Mark(steps, world.now_ns(), recovery.marks[number].hash)
    recovery.dirty.discard(number)
    return Parcel(number, f"{stage.name}/{number}", world.encoder.submit(packed, header, document))
