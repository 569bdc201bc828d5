# SPDX-License-Identifier: MIT
"""The bus over the Kafka protocol: with transactions on Apache Kafka, without on brokers that lack them.

Crash-only: whatever the client library calls fatal or abortable is raised, the process ends, and its restart (which
fences the old producer) is the one recovery path.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from .bus import Delivery, Outgoing, Partition, Polled, RawRecord

READ_BATCH = 2000
CALL_TIMEOUT_S = 30.0
REPLAY_SILENCE_S = 30.0


class BusUnavailable(Exception):
    """The world's fault: the broker did not answer, or refused; raised with what was tried and where."""


@dataclass(frozen=True)
class KafkaSettings:
    """How to reach the broker and who we are there. `security` passes through to librdkafka."""

    bootstrap_servers: str
    group: str
    instance: str
    topics: tuple[str, ...]
    delivery: Delivery
    partitions: Mapping[str, int] = field(default_factory=dict[str, int])
    log_id: str = ""
    security: Mapping[str, str] = field(default_factory=dict[str, str])
    fetch_wait_ms: int = 10
    linger_ms: float = 1.0
    transaction_timeout_ms: int = 10_000
    session_timeout_ms: int = 10_000


class KafkaBus:
    """One group member with its producer, on Apache Kafka: offsets travel inside the producer's transactions."""

    delivery: Delivery = "exactly_once"

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self.producer = transactional_producer(settings)
        self.consumer = Consumer(consumer_config(settings))
        self.assigned: list[Partition] = []
        self.revoked: list[Partition] = []
        self.log_ids: dict[str, str] = {}
        self.consumer.subscribe(
            list(settings.topics), on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=self.on_revoke
        )

    def on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """New partitions wait, paused, until `start` says from which offset."""
        waiting = [TopicPartition(p.topic, p.partition, OFFSET_BEGINNING) for p in partitions]
        consumer.incremental_assign(waiting)
        if waiting:
            consumer.pause(waiting)
        self.assigned += [Partition(p.topic, p.partition) for p in partitions]

    def on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Between batches nothing is open, so giving a partition up needs no more than saying so."""
        gone = [Partition(p.topic, p.partition) for p in partitions]
        self.assigned = [p for p in self.assigned if p not in gone]
        self.revoked += gone

    def log_id(self, topic: str) -> str:
        """Cluster id and topic id, asked once per topic."""
        if topic not in self.log_ids:
            self.log_ids[topic] = self.settings.log_id or describe_log(self.settings, topic)
        return self.log_ids[topic]

    def poll(self, max_records: int, timeout_s: float) -> Polled:
        """See `Bus.poll`."""
        messages = wait_for_some(self.consumer, max_records, timeout_s)
        records = [raw_record(m) for m in messages if m.error() is None]
        for message in messages:
            raise_unless_harmless(message.error())
        polled = Polled(records, self.assigned, self.revoked)
        self.assigned, self.revoked = [], []
        return polled

    def start(self, partition: Partition, offset: int) -> None:
        """See `Bus.start`."""
        where = TopicPartition(partition.topic, partition.number, offset)
        self.consumer.incremental_unassign([where])
        self.consumer.incremental_assign([where])
        self.consumer.resume([where])

    def committed(self, partition: Partition) -> int | None:
        """See `Bus.committed`. Waits for transactions that are still being written."""
        where = TopicPartition(partition.topic, partition.number)
        offset = self.consumer.committed([where], timeout=CALL_TIMEOUT_S)[0].offset
        return offset if offset >= 0 else None

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """See `Bus.bounds`."""
        where = TopicPartition(partition.topic, partition.number)
        low, high = self.consumer.get_watermark_offsets(where, timeout=CALL_TIMEOUT_S)
        return low, high

    def read(self, partition: Partition, start: int, stop: int) -> Iterator[Sequence[RawRecord]]:
        """See `Bus.read`."""
        return read_range(self.settings, partition, start, stop)

    def commit(self, outgoing: Sequence[Outgoing], positions: Mapping[Partition, int]) -> None:
        """See `Bus.commit`: one transaction holds the records and the offsets."""
        self.producer.begin_transaction()
        try:
            for record in outgoing:
                produce(self.producer, record)
            if positions:
                metadata = self.consumer.consumer_group_metadata()
                self.producer.send_offsets_to_transaction(topic_partitions(positions), metadata, CALL_TIMEOUT_S)
            self.producer.commit_transaction(CALL_TIMEOUT_S)
        except KafkaException as fault:
            abort(self.producer, fault)
            raise

    def close(self, deadline_s: float) -> None:
        """See `Bus.close`. Static membership: the group keeps our place for the restart."""
        self.producer.flush(deadline_s)
        self.consumer.close()


class PlainKafkaBus(KafkaBus):
    """At least once: fixed partitions, records flushed first, offsets after. Readers drop repeated record ids."""

    delivery: Delivery = "at_least_once"

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self.producer = Producer(producer_config(settings))
        self.consumer = Consumer(consumer_config(settings))
        self.log_ids = {}
        self.revoked = []
        self.assigned = [
            Partition(topic, number) for topic in settings.topics for number in range(settings.partitions[topic])
        ]

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """The log of the fallback begins at 0 and tells no end that can be trusted."""
        return 0, -1

    def start(self, partition: Partition, offset: int) -> None:
        """See `Bus.start`."""
        self.consumer.incremental_assign([TopicPartition(partition.topic, partition.number, offset)])

    def commit(self, outgoing: Sequence[Outgoing], positions: Mapping[Partition, int]) -> None:
        """See `Bus.commit`."""
        for record in outgoing:
            produce(self.producer, record)
        if self.producer.flush(CALL_TIMEOUT_S):
            raise BusUnavailable(f"records were not acknowledged by {self.settings.bootstrap_servers} in {CALL_TIMEOUT_S:.0f} s")
        if positions:
            self.consumer.commit(offsets=topic_partitions(positions), asynchronous=False)


def open_bus(settings: KafkaSettings) -> KafkaBus:
    """The bus that the delivery mode asks for."""
    return KafkaBus(settings) if settings.delivery == "exactly_once" else PlainKafkaBus(settings)


def client_config(settings: KafkaSettings) -> dict[str, Any]:
    """What every client of this process shares."""
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": settings.instance,
        "log_level": 3,
        **settings.security,
    }


def consumer_config(settings: KafkaSettings) -> dict[str, Any]:
    """A consumer that starts only where it is told and sees only committed records."""
    membership: dict[str, Any] = {}
    if settings.delivery == "exactly_once":
        membership = {
            "group.instance.id": settings.instance,
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": settings.session_timeout_ms,
        }
    return client_config(settings) | membership | {
        "group.id": settings.group,
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "fetch.wait.max.ms": settings.fetch_wait_ms,
        "fetch.queue.backoff.ms": 5,
    }


def producer_config(settings: KafkaSettings) -> dict[str, Any]:
    """An idempotent producer that sends at once; batching comes from the loop."""
    return client_config(settings) | {
        "enable.idempotence": True,
        "linger.ms": settings.linger_ms,
        "compression.type": "lz4",
        "partitioner": "murmur2_random",
        "message.max.bytes": 4_000_000,
    }


def transactional_producer(settings: KafkaSettings) -> Producer:
    """A producer whose id is ours alone: `init_transactions` fences an older process of the same name."""
    producer = Producer(
        producer_config(settings)
        | {"transactional.id": settings.instance, "transaction.timeout.ms": settings.transaction_timeout_ms}
    )
    producer.init_transactions(CALL_TIMEOUT_S)
    return producer


def produce(producer: Producer, record: Outgoing) -> None:
    """Queue one record; a full queue is drained first."""
    where = {} if record.partition is None else {"partition": record.partition}
    headers = list(record.headers) or None
    while True:
        try:
            producer.produce(record.topic, value=record.value, key=record.key, headers=headers, **where)
            return
        except BufferError:
            producer.poll(0.1)


def abort(producer: Producer, fault: KafkaException) -> None:
    """Abort what can be aborted; the transaction of a fenced or broken producer times out by itself."""
    error = fault.args[0]
    if isinstance(error, KafkaError) and error.txn_requires_abort():
        producer.abort_transaction(CALL_TIMEOUT_S)


def wait_for_some(consumer: Consumer, most: int, timeout_s: float) -> list[Message]:
    """Wait for one message, then take what else is there; `consume` alone would wait until it had `most`."""
    first = consumer.poll(timeout_s)
    return [] if first is None else [first, *consumer.consume(most - 1, 0.0)]


def topic_partitions(positions: Mapping[Partition, int]) -> list[TopicPartition]:
    """Offsets in the client library's form."""
    return [TopicPartition(p.topic, p.number, offset) for p, offset in positions.items()]


def raw_record(message: Message) -> RawRecord:
    """A message of the client library as our record."""
    kind, timestamp_ms = message.timestamp()
    return RawRecord(
        Partition(message.topic() or "", message.partition() or 0),
        message.offset() or 0,
        message.key(),
        message.value(),
        0 if kind == TIMESTAMP_NOT_AVAILABLE else timestamp_ms * 1_000_000,
        tuple(message.headers() or ()),
    )


HARMLESS = (KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT)


def raise_unless_harmless(error: KafkaError | None) -> None:
    """End of partition and lost connections pass (the client reconnects); the rest ends the process."""
    if error is not None and error.code() not in HARMLESS:
        raise BusUnavailable(f"the broker answered {error.name()}: {error.str()}")


def read_range(settings: KafkaSettings, partition: Partition, start: int, stop: int) -> Iterator[Sequence[RawRecord]]:
    """Committed records of [start, stop) by a reader of its own; offsets may have gaps, so the end is looked for."""
    if start >= stop:
        return
    reader = Consumer(consumer_config(settings) | {"enable.partition.eof": True, "group.instance.id": ""})
    try:
        reader.assign([TopicPartition(partition.topic, partition.number, start)])
        done = False
        while not done:
            messages = wait_for_some(reader, READ_BATCH, REPLAY_SILENCE_S)
            if not messages:
                raise BusUnavailable(
                    f"replay of {partition.topic}/{partition.number} stood still for {REPLAY_SILENCE_S:.0f} s below offset {stop}"
                )
            records = [raw_record(m) for m in messages if m.error() is None]
            done = any(ends(m, stop) for m in messages)
            yield [record for record in records if record.offset < stop]
    finally:
        reader.close()


def ends(message: Message, stop: int) -> bool:
    """Is this the last that a replay up to `stop` has to see?"""
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise_unless_harmless(error)
        return False
    return error is not None or (message.offset() or 0) >= stop - 1


def describe_log(settings: KafkaSettings, topic: str) -> str:
    """Cluster id and topic id of a topic."""
    admin = AdminClient(client_config(settings))
    cluster = admin.list_topics(topic, timeout=CALL_TIMEOUT_S).cluster_id
    described = admin.describe_topics(TopicCollection([topic]))[topic].result(CALL_TIMEOUT_S)
    return f"{cluster}/{described.topic_id}"
