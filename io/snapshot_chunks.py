# SPDX-License-Identifier: MIT
"""Snapshots in pieces that fit into messages, and the pieces back together.

The assembler is a pure value per log partition. It knows where each set began, so that its reader commits no
further than the first piece that is still needed.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from ..schemas.records import SnapshotChunk
from .snapshot_format import SnapshotHeader, snapshot_id

CHUNK_BYTES = 512 * 1024
MAX_CHUNKS = 16_384
MAX_SET_BYTES = 4 * 2**30
OPEN_SETS_PER_OWNER = 2
SET_PATIENCE_NS = 600_000_000_000


def split_into_chunks(header: SnapshotHeader, data: bytes, chunk_bytes: int = CHUNK_BYTES) -> list[SnapshotChunk]:
    """The pieces of an encoded snapshot, in order; all carry the id of the whole."""
    whole = snapshot_id(data)
    starts = range(0, len(data), chunk_bytes)
    return [
        SnapshotChunk(
            snapshot_id=whole,
            stage=header.stage,
            partition=header.partition,
            next_offset=header.next_offset,
            step=header.step,
            index=index,
            count=len(starts),
            payload=data[start : start + chunk_bytes],
        )
        for index, start in enumerate(starts)
    ]


class Owner(NamedTuple):
    """Whose state a snapshot is."""

    stage: str
    partition: int


@dataclass
class OpenSet:
    """A snapshot that is still arriving. `first_offset` and `first_ns` are those of its first piece in the log."""

    owner: Owner
    next_offset: int
    step: int
    count: int
    first_offset: int
    first_ns: int
    pieces: dict[int, bytes] = field(default_factory=dict[int, bytes])


class CompleteSet(NamedTuple):
    """All pieces of a snapshot, in order."""

    snapshot_id: str
    owner: Owner
    next_offset: int
    step: int
    data: bytes


class BadChunk(ValueError):
    """A piece that belongs to no possible snapshot."""


@dataclass
class Assembler:
    """The open sets of one log partition, by snapshot id; a set begins with its piece 0."""

    sets: dict[str, OpenSet] = field(default_factory=dict[str, OpenSet])

    def add(self, chunk: SnapshotChunk, offset: int, timestamp_ns: int) -> CompleteSet | None:
        """Take a piece in; the complete set if it was the last one. BadChunk leaves everything as it was."""
        check_chunk(chunk, self.sets.get(chunk.snapshot_id))
        if chunk.index == 0 and chunk.snapshot_id not in self.sets:
            self.begin(chunk, offset, timestamp_ns)
        found = self.sets.get(chunk.snapshot_id)
        if found is None:
            return None
        found.pieces.setdefault(chunk.index, chunk.payload)
        return self.complete(chunk.snapshot_id, found) if len(found.pieces) == found.count else None

    def begin(self, chunk: SnapshotChunk, offset: int, timestamp_ns: int) -> None:
        """Open a set; what it supersedes is discarded."""
        owner = Owner(chunk.stage, chunk.partition)
        others = [key for key, other in self.sets.items() if other.owner == owner]
        for key in others:
            if self.sets[key].next_offset <= chunk.next_offset or len(others) >= OPEN_SETS_PER_OWNER:
                del self.sets[key]
        self.sets[chunk.snapshot_id] = OpenSet(owner, chunk.next_offset, chunk.step, chunk.count, offset, timestamp_ns)

    def complete(self, whole: str, found: OpenSet) -> CompleteSet:
        """Close a set; what it supersedes is discarded."""
        del self.sets[whole]
        for key, other in list(self.sets.items()):
            older = other.first_offset < found.first_offset or other.next_offset <= found.next_offset
            if other.owner == found.owner and older:
                del self.sets[key]
        data = b"".join(found.pieces[index] for index in range(found.count))
        return CompleteSet(whole, found.owner, found.next_offset, found.step, data)

    def expire(self, timestamp_ns: int) -> list[OpenSet]:
        """Give up sets that began too long before this time of the log: whoever sent them has died."""
        expired = {key: each for key, each in self.sets.items() if timestamp_ns - each.first_ns > SET_PATIENCE_NS}
        for key in expired:
            del self.sets[key]
        return list(expired.values())

    def first_needed(self) -> int | None:
        """Offset of the first piece of the oldest open set; None if nothing is open."""
        return min((each.first_offset for each in self.sets.values()), default=None)


def check_chunk(chunk: SnapshotChunk, known: OpenSet | None) -> None:
    """BadChunk says what is impossible about a piece."""
    where = f"piece {chunk.index} of {chunk.count} of snapshot {chunk.snapshot_id[:16]!r}"
    if not 0 < chunk.count <= MAX_CHUNKS or not 0 <= chunk.index < chunk.count:
        raise BadChunk(f"found {where}, expected 0 <= index < count <= {MAX_CHUNKS}")
    if min(chunk.partition, chunk.next_offset, chunk.step) < 0:
        raise BadChunk(f"{where}: found a negative partition, offset or step")
    if chunk.count * len(chunk.payload) > MAX_SET_BYTES:
        raise BadChunk(f"{where}: found {len(chunk.payload)} bytes in it, expected at most {MAX_SET_BYTES} in all")
    if known is None:
        return
    found = (Owner(chunk.stage, chunk.partition), chunk.next_offset, chunk.step, chunk.count)
    expected = (known.owner, known.next_offset, known.step, known.count)
    if found != expected:
        raise BadChunk(f"{where}: found owner, offset, step, count {found}, expected {expected} as in its first piece")
