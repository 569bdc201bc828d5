# SPDX-License-Identifier: MIT
"""Which records of a client may be handled: those of started partitions, each offset once and in order.

A client that was told to wait at a partition may still hand out what it had fetched before it was told where to
begin; a stage that handled it would see the past again, and commit a place that it had long left.
"""

from collections.abc import Iterable

from .bus import Partition, RawRecord


class ExpectedOffsets:
    """The lowest offset of each started partition that has not been delivered.

    `behind` are the partitions of which the client has handed out the past: it should be told again where to read.
    """

    def __init__(self) -> None:
        self.next: dict[Partition, int] = {}
        self.behind: set[Partition] = set()

    def start(self, partition: Partition, offset: int) -> None:
        """From now on this partition is delivered, from this offset."""
        self.next[partition] = offset

    def forget(self, partition: Partition) -> None:
        """It is not ours any more, or its new start is not known yet."""
        self.next.pop(partition, None)
        self.behind.discard(partition)

    def due(self, records: Iterable[RawRecord]) -> list[RawRecord]:
        """The records that may be handled; the others were handled before or will come again."""
        found: list[RawRecord] = []
        for record in records:
            expected = self.next.get(record.partition)
            if expected is None:
                continue
            if record.offset < expected:
                self.behind.add(record.partition)
                continue
            self.next[record.partition] = record.offset + 1
            found.append(record)
        return found
