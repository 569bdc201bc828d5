# SPDX-License-Identifier: MIT
"""Ticks from files and from the simulator onto `market.ticks.v1`, paced by the clock that the caller passes."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from confluent_kafka import Producer

from ..io.avro import encode
from ..io.planted_faults import SimulatedTick, wire_value
from ..io.tick_files import TickRow, restamp
from ..io.wire import SINGLE_OBJECT, FramingProducer, Wire
from ..schemas.records import Tick, TickKind
from . import topology

NS_PER_S = 1_000_000_000
PACE_NS = 2_000_000


class Due(NamedTuple):
    """A record to publish `due_ns` after the start; `value` makes its bytes for a given start."""

    due_ns: int
    key: bytes
    value: Callable[[int], bytes | None]


def tick_producer(bootstrap_servers: str, security: Mapping[str, str], wire: Wire = SINGLE_OBJECT) -> Producer:
    """An idempotent producer with the partitioner that every producer of ticks must use."""
    return FramingProducer(
        {
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 1,
            "compression.type": "lz4",
            "message.max.bytes": 4_000_000,
            "log_level": 2,
            **security,
        },
        wire,
    )


def from_rows(rows: Sequence[TickRow], rate_per_s: float, producer_id: str) -> Iterator[Due]:
    """Rows of a file, squeezed to a rate, as if they happened from now on."""
    for moved in restamp(rows, 0, rate_per_s):
        yield Due(moved.timestamp_ns, moved.symbol.encode(), partial(row_value, moved, producer_id))


def kept_times(rows: Sequence[TickRow], rate_per_s: float, producer_id: str) -> Iterator[Due]:
    """Rows of a file with their own event times, published at a rate."""
    for place, row in enumerate(rows):
        due_ns = int(place / rate_per_s * NS_PER_S)
        yield Due(due_ns, row.symbol.encode(), partial(kept_value, row, producer_id))


def row_value(row: TickRow, producer_id: str, start_ns: int) -> bytes:
    """The bytes of a row whose time counts from the start."""
    return encode(row_tick(row, producer_id, start_ns))


def kept_value(row: TickRow, producer_id: str, start_ns: int) -> bytes:
    """The bytes of a row that keeps its own time."""
    del start_ns
    return encode(row_tick(row, producer_id, 0))


def row_tick(row: TickRow, producer_id: str, start_ns: int) -> Tick:
    """A row as the record that producers publish."""
    kind: TickKind = "quote" if row.bid is not None and row.ask is not None else "trade"
    at_ns = start_ns + row.timestamp_ns
    return Tick(
        symbol=row.symbol,
        venue="file",
        kind=kind,
        price=row.price,
        size=row.size,
        bid=row.bid,
        ask=row.ask,
        sequence=None,
        ts_event_ns=at_ns,
        ts_publish_ns=at_ns,
        producer_id=producer_id,
    )


def from_simulation(ticks: Iterable[SimulatedTick], producer_id: str) -> Iterator[Due]:
    """Simulated ticks, planted faults included."""
    for tick in ticks:
        yield Due(tick.publish_ns, tick.key, partial(simulated_value, tick, producer_id))


def simulated_value(tick: SimulatedTick, producer_id: str, start_ns: int) -> bytes | None:
    """The bytes of a simulated record; byte-level faults are done after encoding."""

    def encoded(sound: SimulatedTick) -> bytes:
        return encode(
            Tick(
                symbol=sound.symbol,
                venue=sound.venue,
                kind=sound.kind,
                price=sound.price,
                size=sound.size,
                bid=sound.bid,
                ask=sound.ask,
                sequence=sound.sequence,
                ts_event_ns=start_ns + sound.timestamp_ns,
                ts_publish_ns=start_ns + sound.publish_ns,
                producer_id=producer_id,
            )
        )

    return wire_value(tick, encoded)


def publish(
    streams: Sequence[Iterator[Due]],
    producer: Producer,
    now_ns: Callable[[], int],
    sleep_s: Callable[[float], object],
    stop: Callable[[], bool],
    published: Callable[[int], object],
) -> int:
    """Publish the streams merged by due time, each record when it is due; the number of records published."""
    start_ns, count = now_ns(), 0
    for due in heapq.merge(*streams, key=lambda item: item.due_ns):
        if stop():
            break
        ahead_ns = start_ns + due.due_ns - now_ns()
        if ahead_ns > PACE_NS:
            published(count)
            sleep_s(ahead_ns / NS_PER_S)
        produce(producer, due, start_ns)
        count += 1
    producer.flush(30.0)
    published(count)
    return count


def produce(producer: Producer, due: Due, start_ns: int) -> None:
    """Queue one record; a full queue is drained first."""
    value = due.value(start_ns)
    while True:
        try:
            producer.produce(topology.MARKET_TICKS.name, key=due.key, value=value)
            producer.poll(0)
            return
        except BufferError:
            producer.poll(0.1)
