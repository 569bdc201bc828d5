# SPDX-License-Identifier: MIT
"""Snapshots on their way out of the loop: taken between two batches, encoded beside it, sent a few pieces a turn.

The state that is sent is that of one definite offset, however long it takes: a stage's `snapshot` gives a document
that later batches do not change. One snapshot is under way at a time, so that only its share of the state is kept
twice. The pieces go out in small transactions of their own that commit again what is committed: a zombie is fenced.
"""

from collections.abc import Mapping
from typing import Any

from ..io.avro import encode
from ..io.bus import Outgoing, Partition
from ..io.failpoints import failpoint
from .contract import Send, SnapshotBegun, SnapshotTaken
from .recovery import Recovery, parcel_of
from .snapshot_parcel import Parcel

PIECES_PER_TURN, PIECES_AT_ONCE = 4, 16
HAND_OVER_NS = 5_000_000_000
Positions = Mapping[Partition, int]


class Outbox:
    """The snapshots of one stage that are due or under way. `positions` are always those that are committed."""

    def __init__(self, recovery: Recovery) -> None:
        self.recovery = recovery
        self.world = recovery.world
        self.topic = recovery.stage.consumes[0].name
        self.parcels: dict[int, Parcel] = {}

    def carry(self, state: Any, positions: Positions) -> None:
        """One turn's work: some pieces, and the next snapshot that is due once nothing is under way."""
        if self.parcels:
            self.send_ready(positions)
            return
        for number in self.recovery.due(state, self.world.now_ns()):
            if self.parcels:
                return
            self.parcels[number] = self.taken(state, number, positions)
            self.send_ready(positions)

    def taken(self, state: Any, number: int, positions: Positions, clean_stop: bool = False) -> Parcel:
        """A partition's state as it is now."""
        self.world.execute(SnapshotBegun(number))
        return parcel_of(self.recovery, state, number, positions[Partition(self.topic, number)], clean_stop)

    def send_ready(self, positions: Positions) -> None:
        """Some pieces of what is encoded."""
        for parcel in [each for each in self.parcels.values() if each.ready]:
            partition = Partition(self.topic, parcel.partition)
            self.send(parcel, {partition: positions[partition]}, PIECES_PER_TURN)

    def send(self, parcel: Parcel, offsets: Positions, count: int) -> None:
        """Some pieces in one commit; with the last one the snapshot is told."""
        pieces = parcel.next_pieces(count)
        failpoint("runner.before_snapshot")
        self.world.bus.commit([outgoing(piece) for piece in pieces], offsets)
        failpoint("runner.after_snapshot")
        if parcel.empty:
            self.parcels.pop(parcel.partition, None)
            self.recovery.sent(parcel)
            self.world.execute(SnapshotTaken(parcel.partition, parcel.packing.result().body_hash))

    def finish(self, state: Any, positions: Positions) -> None:
        """Before a clean stop: whatever has moved, and the rest of what is under way."""
        moved = self.recovery.moved()
        under_way = [parcel for number, parcel in self.parcels.items() if number not in moved]
        for parcel in under_way:
            self.send_all(
                parcel, {Partition(self.topic, parcel.partition): positions[Partition(self.topic, parcel.partition)]}
            )
        for number in moved:
            partition = Partition(self.topic, number)
            self.send_all(self.taken(state, number, positions, clean_stop=True), {partition: positions[partition]})

    def send_all(self, parcel: Parcel, offsets: Positions) -> None:
        """Every piece that is left."""
        while not parcel.empty:
            self.send(parcel, offsets, PIECES_AT_ONCE)

    def hand_over(self, state: Any, number: int, positions: Positions, since_ns: int) -> None:
        """The state of a partition that the group has taken from us, so that its next owner has less to replay.

        Without offsets, for these are no longer ours to commit; the state is right whoever sends it, since it follows
        from the log up to an offset that is committed. Left out when the rebalance has lasted too long already.
        """
        parcel = self.parcels.pop(number, None)
        in_time = self.world.now_ns() - since_ns <= HAND_OVER_NS
        if in_time and number in self.recovery.moved():
            parcel = self.taken(state, number, positions)
        self.recovery.dirty.discard(number)
        if in_time and parcel is not None:
            self.send_all(parcel, {})


def outgoing(send: Send) -> Outgoing:
    """A send as the bus takes it."""
    return Outgoing(send.topic.name, send.partition, send.key.encode(), encode(send.value), send.headers)
