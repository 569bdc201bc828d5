# SPDX-License-Identifier: MIT
"""One snapshot on its way: encoded now or beside the loop, then cut into pieces that fit into messages."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol, TypeVar

from ..io.snapshots import SnapshotHeader, encode_snapshot, hash_of_body, split_into_chunks
from ..schemas.records import SnapshotChunk
from . import topology
from .contract import Document, Send

T = TypeVar("T")


class Encoder(Protocol):
    """Runs a function, now or beside the loop."""

    def submit(self, fn: Callable[..., T], /, *args: Any) -> Future[T]: ...


class AtOnce:
    """The encoder of a loop that has time: everything is done when `submit` returns."""

    def submit(self, fn: Callable[..., T], /, *args: Any) -> Future[T]:
        """See `Encoder`; a fault is raised here."""
        done: Future[T] = Future()
        done.set_result(fn(*args))
        return done


class Packed(NamedTuple):
    """A snapshot as records, and the hash of the state in it."""

    chunks: Sequence[SnapshotChunk]
    body_hash: str


def packed(header: SnapshotHeader, document: Document) -> Packed:
    """Encode and cut."""
    body = encode_snapshot(header, document)
    return Packed(split_into_chunks(header, body), hash_of_body(body))


class Parcel:
    """One partition's snapshot on its way."""

    def __init__(self, partition: int, owner: str, packing: Future[Packed]) -> None:
        self.partition = partition
        self.owner = owner
        self.packing = packing
        self.sent = 0

    @property
    def ready(self) -> bool:
        """Encoded, or failed to be."""
        return self.packing.done()

    @property
    def empty(self) -> bool:
        """Every piece is sent."""
        return self.packing.done() and self.sent >= len(self.packing.result().chunks)

    def next_pieces(self, count: int) -> list[Send]:
        """Further pieces, `count` at most; waits for the encoder, and raises what it raised."""
        pieces = self.packing.result().chunks[self.sent : self.sent + count]
        self.sent += len(pieces)
        return [Send(topology.SNAPSHOTS, piece, self.owner, self.partition) for piece in pieces]
