# SPDX-License-Identifier: MIT
"""How records are framed on the broker: as they are encoded, or as a schema registry's readers expect them.

Everything inside a process works on single-object encoding (`avro.py`). The Avro body is the same in both forms, so
a frame is exchanged at the edge without decoding anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from confluent_kafka import Producer

from .bus import Bus, Delivery, Outgoing, Partition, Polled, RawRecord


class Wire(Protocol):
    """Exchanges the frame of a value; bytes that have no frame of ours pass as they are."""

    def outward(self, value: bytes | None) -> bytes | None:
        """From single-object encoding to what the broker holds."""
        ...

    def inward(self, value: bytes | None) -> bytes | None:
        """From what the broker holds to single-object encoding."""
        ...


class SingleObjectWire:
    """The default: what is encoded is what the broker holds."""

    def outward(self, value: bytes | None) -> bytes | None:
        """As it is."""
        return value

    def inward(self, value: bytes | None) -> bytes | None:
        """As it is."""
        return value


SINGLE_OBJECT = SingleObjectWire()


class FramingProducer(Producer):
    """A producer whose values leave in the form of a wire."""

    def __init__(self, config: Mapping[str, Any], wire: Wire) -> None:
        super().__init__(dict(config))
        self.wire = wire

    def produce(self, topic: str, value: bytes | None = None, **options: Any) -> None:  # type: ignore[override]
        """See `Producer.produce`."""
        super().produce(topic, value=self.wire.outward(value), **options)


class FramingBus:
    """A bus whose records are in the form of a wire on the broker, and in single-object encoding here."""

    def __init__(self, bus: Bus, wire: Wire) -> None:
        self.bus = bus
        self.wire = wire
        self.delivery: Delivery = bus.delivery

    def log_id(self, topic: str) -> str:
        """See `Bus.log_id`."""
        return self.bus.log_id(topic)

    def poll(self, max_records: int, timeout_s: float) -> Polled:
        """See `Bus.poll`."""
        polled = self.bus.poll(max_records, timeout_s)
        return polled._replace(records=self.unframed(polled.records)) if polled.records else polled

    def start(self, partition: Partition, offset: int) -> None:
        """See `Bus.start`."""
        self.bus.start(partition, offset)

    def committed(self, partition: Partition) -> int | None:
        """See `Bus.committed`."""
        return self.bus.committed(partition)

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """See `Bus.bounds`."""
        return self.bus.bounds(partition)

    def read(self, partition: Partition, start: int, stop: int) -> Iterator[Sequence[RawRecord]]:
        """See `Bus.read`."""
        for records in self.bus.read(partition, start, stop):
            yield self.unframed(records)

    def commit(self, outgoing: Sequence[Outgoing], positions: Mapping[Partition, int]) -> None:
        """See `Bus.commit`."""
        self.bus.commit([record._replace(value=self.wire.outward(record.value)) for record in outgoing], positions)

    def close(self, deadline_s: float) -> None:
        """See `Bus.close`."""
        self.bus.close(deadline_s)

    def unframed(self, records: Sequence[RawRecord]) -> list[RawRecord]:
        """The records with their values in single-object encoding."""
        return [record._replace(value=self.wire.inward(record.value)) for record in records]


def framed(bus: Bus, wire: Wire) -> Bus:
    """The bus itself where there is nothing to exchange."""
    return bus if wire is SINGLE_OBJECT else FramingBus(bus, wire)
