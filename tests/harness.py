# SPDX-License-Identifier: MIT
"""The pipeline without a broker: an in-memory bus, snapshots in memory, and crashes on a schedule.

A crash is data: the numbers of the failpoint passages at which the process dies. `drive` restarts it each time, as
a supervisor would, and returns what a reader of the topics sees.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from usp.config.model import ModelConfig, packaged_defaults
from usp.io import failpoints
from usp.io.avro import decode, encode
from usp.io.bus import Delivery, Outgoing, Partition, Polled, RawRecord
from usp.io.metrics import Meter
from usp.io.snapshots import Snapshot, SnapshotHeader, decode_snapshot
from usp.schemas.records import AnyRecord, SnapshotChunk
from usp.stages import topology
from usp.stages.contract import Effect, Reply, Stage, Topic
from usp.stages.recovery import SnapshotCadence
from usp.stages.runner import Runner, World

START_NS = 1_700_000_000_000_000_000


@dataclass
class MemoryBroker:
    """Logs and group offsets that outlive every process. `begins` is where retention has cut a log."""

    logs: dict[Partition, list[RawRecord]] = field(default_factory=dict)
    begins: dict[Partition, int] = field(default_factory=dict)
    offsets: dict[tuple[str, Partition], int] = field(default_factory=dict)
    now_ns: int = START_NS

    def log(self, partition: Partition) -> list[RawRecord]:
        """The records of a partition, made on first use."""
        return self.logs.setdefault(partition, [])

    def append(self, record: Outgoing) -> None:
        """One record to the end of its partition, stamped with the broker's clock."""
        count = {t.name: t.partitions for t in topology.TOPICS}[record.topic]
        number = crc32(record.key or b"") % count if record.partition is None else record.partition
        partition = Partition(record.topic, number)
        self.now_ns += 1_000_000
        log = self.log(partition)
        log.append(RawRecord(partition, len(log), record.key, record.value, self.now_ns, record.headers))

    def publish(self, topic: Topic, values: Iterable[tuple[str, AnyRecord]], partition: int | None = None) -> None:
        """Records of a producer outside the pipeline."""
        for key, value in values:
            self.append(Outgoing(topic.name, partition, key.encode(), encode(value)))

    def values(self, topic: Topic) -> dict[int, list[bytes]]:
        """The value bytes of a topic per partition: what "same bits" means."""
        return {n: [r.value or b"" for r in self.log(Partition(topic.name, n))] for n in range(topic.partitions)}

    def records(self, topic: Topic) -> list[Any]:
        """The decoded records of a topic, partition after partition."""
        return [decode(value) for values in self.values(topic).values() for value in values]


class MemoryBus:
    """See `usp.io.bus.Bus`."""

    def __init__(
        self,
        broker: MemoryBroker,
        group: str,
        topics: Sequence[Topic],
        delivery: Delivery = "exactly_once",
        most: int = 2000,
    ) -> None:
        self.broker = broker
        self.group = group
        self.delivery: Delivery = delivery
        self.most = most
        self.assigned = [Partition(t.name, n) for t in topics for n in range(t.partitions)]
        self.positions: dict[Partition, int] = {}

    def log_id(self, topic: str) -> str:
        """See `Bus.log_id`."""
        return f"memory/{topic}"

    def poll(self, max_records: int, timeout_s: float) -> Polled:
        """See `Bus.poll`."""
        del timeout_s
        records: list[RawRecord] = []
        for partition, position in self.positions.items():
            room = min(max_records, self.most) - len(records)
            records += self.broker.log(partition)[position : position + room]
        for record in records:
            self.positions[record.partition] = record.offset + 1
        assigned, self.assigned = self.assigned, []
        return Polled(records, assigned)

    def start(self, partition: Partition, offset: int) -> None:
        """See `Bus.start`."""
        self.positions[partition] = offset

    def committed(self, partition: Partition) -> int | None:
        """See `Bus.committed`."""
        return self.broker.offsets.get((self.group, partition))

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """See `Bus.bounds`."""
        return self.broker.begins.get(partition, 0), len(self.broker.log(partition))

    def read(self, partition: Partition, start: int, stop: int) -> Iterator[Sequence[RawRecord]]:
        """See `Bus.read`."""
        log = self.broker.log(partition)
        for first in range(start, stop, self.most):
            yield log[first : min(first + self.most, stop)]

    def commit(self, outgoing: Sequence[Outgoing], positions: Mapping[Partition, int]) -> None:
        """See `Bus.commit`; without transactions a crash may fall between the two halves."""
        for record in outgoing:
            self.broker.append(record)
        if self.delivery == "at_least_once":
            failpoints.failpoint("runner.before_commit")
        for partition, offset in positions.items():
            self.broker.offsets[self.group, partition] = offset

    def close(self, deadline_s: float) -> None:
        """See `Bus.close`."""
        del deadline_s


@dataclass
class MemorySnapshots:
    """Reads the snapshots straight from the topic, as if the snapshotter had written them at once."""

    broker: MemoryBroker

    def newest(
        self, stage: str, partition: int, log_id: str, at_most_offset: int, usable: Callable[[SnapshotHeader], bool]
    ) -> Snapshot | None:
        """See `recovery.Snapshots.newest`."""
        found: Snapshot | None = None
        for body in assembled(self.broker.records(topology.SNAPSHOTS)):
            snapshot = decode_snapshot(body)
            header = snapshot.header
            ours = (header.stage, header.partition, header.log_id) == (stage, partition, log_id)
            fits = ours and header.next_offset <= at_most_offset and usable(header)
            if fits and (found is None or header.next_offset >= found.header.next_offset):
                found = snapshot
        return found


def assembled(chunks: Iterable[SnapshotChunk]) -> Iterator[bytes]:
    """The complete snapshots among the chunks."""
    parts: dict[str, dict[int, bytes]] = {}
    for chunk in chunks:
        parts.setdefault(chunk.snapshot_id, {})[chunk.index] = chunk.payload
        if len(parts[chunk.snapshot_id]) == chunk.count:
            yield b"".join(parts[chunk.snapshot_id][i] for i in range(chunk.count))


def no_effects(effect: Effect) -> Sequence[Reply]:
    """A world in which effects answer nothing."""
    del effect
    return ()


def runner_on(
    stage: Stage[Any],
    broker: MemoryBroker,
    *,
    config: ModelConfig | None = None,
    snapshot_every: int = 1_000_000,
    delivery: Delivery = "exactly_once",
    most: int = 2000,
    execute: Callable[[Effect], Sequence[Reply]] = no_effects,
    snapshots: Any = None,
) -> Runner:
    """A fresh process of a stage on a broker."""
    world = World(
        bus=MemoryBus(broker, stage.name, stage.consumes, delivery, most),
        snapshots=snapshots or MemorySnapshots(broker),
        execute=execute,
        now_ns=lambda: broker.now_ns,
        meter=Meter(stage.name),
        fingerprint="harness",
        cadence=SnapshotCadence(snapshot_every, 10**18),
    )
    return Runner(stage, config or packaged_defaults(), world)


def drain(make: Callable[[], Runner], crashes: Iterable[int] = ()) -> Runner:
    """Run until idle; die at the numbered failpoint passages (counted from 1) and start again each time."""
    schedule, passed = set(crashes), 0

    def planted(name: str) -> None:
        nonlocal passed
        passed += 1
        if passed in schedule:
            raise failpoints.Crash(name)

    failpoints.install(planted)
    try:
        while True:
            try:
                runner = make()
                while runner.turn():
                    pass
                return runner
            except failpoints.Crash:
                continue
    finally:
        failpoints.install(failpoints.ignore)
