# SPDX-License-Identifier: MIT
"""What a message bus is to a stage: positions, raw records, one atomic commit.

Three buses keep this contract and pass the same tests: the in-memory bus of the test harness, Apache Kafka
with transactions, and a Kafka-protocol broker without working transactions.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

Delivery = Literal["exactly_once", "at_least_once"]
Headers = tuple[tuple[str, bytes], ...]


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


class RawRecord(NamedTuple):
    """A record as it lies in the log."""

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ns: int
    headers: Headers = ()


class Outgoing(NamedTuple):
    """A record on its way out; `partition` None leaves the choice to the key."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Polled(NamedTuple):
    """What one poll brought. Newly assigned partitions deliver nothing until `start` names their offset."""

    records: Sequence[RawRecord]
    assigned: Sequence[Partition] = ()
    revoked: Sequence[Partition] = ()


class Bus(Protocol):
    """A consumer group member and its producer, tied by one commit."""

    delivery: Delivery

    def log_id(self, topic: str) -> str:
        """Names this very log: another cluster, or the topic deleted and made again, has another id."""
        ...

    def poll(self, max_records: int, timeout_s: float) -> Polled:
        """New records of the started partitions, in offset order per partition; waits `timeout_s` for the first."""
        ...

    def start(self, partition: Partition, offset: int) -> None:
        """Deliver an assigned partition from this offset on."""
        ...

    def committed(self, partition: Partition) -> int | None:
        """The group's next offset, None if it never committed."""
        ...

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """First offset kept, and the end (the last stable offset) of a partition."""
        ...

    def read(self, partition: Partition, start: int, stop: int) -> Iterator[Sequence[RawRecord]]:
        """Committed records with start <= offset < stop, outside the group, for silent replay."""
        ...

    def commit(self, outgoing: Sequence[Outgoing], positions: Mapping[Partition, int]) -> None:
        """Publish and move the group's offsets: both or neither where `delivery` is exactly_once."""
        ...

    def close(self, deadline_s: float) -> None:
        """Leave the group; returns within the deadline."""
        ...
