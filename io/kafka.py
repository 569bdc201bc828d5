# SPDX-License-Identifier: MIT
"""The bus over the Kafka protocol: with transactions on Apache Kafka, without on brokers that lack them.

Crash-only: whatever the client library calls fatal or abortable is raised, the process ends, and its restart (which
fences the old producer) is the one recovery path.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from threading import Thread

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from .bus import Delivery, Outgoing, Partition, Polled, RawRecord
from .expected_offsets import ExpectedOffsets
from .kafka_client import (
    CALL_TIMEOUT_S,
    BusUnavailable,
    Fenced,
    KafkaSettings,
    calling,
    consumer_config,
    gathering_config,
    member_config,
    produce,
    producer_config,
    raise_unless_harmless,
    raw_record,
    require_topics,
    topic_partitions,
    unavailable,
    wait_for_some,
)
from .kafka_log import describe_log, find_ends, read_range

__all__ = ["BusUnavailable", "Fenced", "KafkaBus", "KafkaSettings", "PlainKafkaBus", "open_bus", "producer_config"]

COMMIT_TIMEOUT_S, ABORT_TIMEOUT_S = 10.0, 2.0
QUIET_POLLS, QUIET_POLL_S = 3, 0.03


class KafkaBus:
    """One group member with its producer, on Apache Kafka: offsets travel inside the producer's transactions."""

    delivery: Delivery = "exactly_once"

    def __init__(self, settings: KafkaSettings) -> None:
        """Takes the place of an older process of the same instance. Raises BusUnavailable within the deadline."""
        self.settings = settings
        self.log_ids: dict[str, str] = {}
        self.assigned: list[Partition] = []
        self.revoked: list[Partition] = []
        self.expected = ExpectedOffsets()
        self.closing: Thread | None = None
        self.producer = self.open_producer()
        self.consumer = self.open_consumer()
        self.enquirer = Consumer(consumer_config(settings))

    def open_producer(self) -> Producer:
        """A producer whose id is ours alone: `init_transactions` fences an older process of the same name."""
        own = self.settings
        transactions = {"transactional.id": own.instance, "transaction.timeout.ms": own.transaction_timeout_ms}
        producer = Producer(producer_config(own) | transactions)
        require_topics(producer, own)
        with calling(f"opening transactions as {own.instance}", own.bootstrap_servers):
            producer.init_transactions(own.start_deadline_s)
        return producer

    def open_consumer(self) -> Consumer:
        """A member of the group."""
        consumer = Consumer(member_config(self.settings))
        topics = list(self.settings.topics)
        consumer.subscribe(topics, on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=self.on_revoke)
        return consumer

    def on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """New partitions wait, paused, until `start` says from which offset; what comes before is not delivered."""
        waiting = [TopicPartition(p.topic, p.partition, OFFSET_BEGINNING) for p in partitions]
        consumer.incremental_assign(waiting)
        if waiting:
            consumer.pause(waiting)
        self.assigned += [Partition(p.topic, p.partition) for p in partitions]
        for p in partitions:
            self.expected.forget(Partition(p.topic, p.partition))

    def on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Between batches nothing is open, so giving a partition up needs no more than saying so."""
        del consumer
        gone = [Partition(p.topic, p.partition) for p in partitions]
        self.assigned = [p for p in self.assigned if p not in gone]
        self.revoked += gone
        for p in gone:
            self.expected.forget(p)

    def log_id(self, topic: str) -> str:
        """See `Bus.log_id`; asked once per topic."""
        if topic not in self.log_ids:
            self.log_ids[topic] = describe_log(self.settings, topic)
        return self.log_ids[topic]

    def poll(self, max_records: int, timeout_s: float) -> Polled:
        """See `Bus.poll`. What was given up while records were fetched is for its new owner to read."""
        messages = wait_for_some(self.consumer, max_records, timeout_s)
        for message in messages:
            raise_unless_harmless(message.error())
        records = self.expected.due(raw_record(m) for m in messages if m.error() is None)
        polled = Polled(records, self.assigned, self.revoked)
        self.assigned, self.revoked = [], []
        while self.expected.behind:
            self.seek(self.expected.behind.pop())
        return polled

    def seek(self, partition: Partition) -> None:
        """The client reads from the beginning although it was told otherwise: its question where the log begins, asked
        at the assignment, was probably answered after `start`."""
        where = TopicPartition(partition.topic, partition.number, self.expected.next[partition])
        with suppress(KafkaException):  # it comes to the right place by itself, later
            self.consumer.seek(where)

    def start(self, partition: Partition, offset: int) -> None:
        """See `Bus.start`."""
        where = TopicPartition(partition.topic, partition.number, offset)
        self.expected.start(partition, offset)
        self.consumer.incremental_unassign([where])
        self.consumer.incremental_assign([where])
        self.consumer.resume([where])

    def committed(self, partition: Partition) -> int | None:
        """See `Bus.committed`. Waits for transactions that are still being written."""
        where = TopicPartition(partition.topic, partition.number)
        with calling(f"asking for the offset of {self.settings.group}", self.settings.bootstrap_servers):
            offset = self.consumer.committed([where], timeout=CALL_TIMEOUT_S)[0].offset
        return offset if offset >= 0 else None

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """See `Bus.bounds`. Asked by a client of its own: the consumer's question would wait behind its long fetch."""
        where = TopicPartition(partition.topic, partition.number)
        with calling(f"asking where {partition.topic} begins", self.settings.bootstrap_servers):
            return self.enquirer.get_watermark_offsets(where, timeout=CALL_TIMEOUT_S)

    def read(self, partition: Partition, start: int, stop: int) -> Iterator[Sequence[RawRecord]]:
        """See `Bus.read`."""
        return read_range(self.settings, partition, start, stop)

    def commit(self, outgoing: Sequence[Outgoing], positions: Mapping[Partition, int]) -> None:
        """See `Bus.commit`: one transaction holds the records and the offsets.

        Waits no longer than the broker keeps a transaction open, so that a stop ends in time without a broker.
        """
        if not outgoing and not positions:
            return
        end_s = time.monotonic() + COMMIT_TIMEOUT_S
        with calling(f"committing as {self.settings.instance}", self.settings.bootstrap_servers):
            try:
                self.commit_once(outgoing, positions, end_s)
            except KafkaException as fault:
                if fault.args[0].code() != KafkaError.ILLEGAL_GENERATION:
                    raise
                self.commit_once(outgoing, positions, end_s)

    def commit_once(self, outgoing: Sequence[Outgoing], positions: Mapping[Partition, int], end_s: float) -> None:
        """One transaction, aborted when it fails.

        The group may begin a new generation between the proof and its use. What we poll for is ours until the next
        poll, so a member may try again with a newer proof; who is no member any more gets none that is accepted.
        """
        self.producer.begin_transaction()
        try:
            self.fill_transaction(outgoing, positions)
            self.producer.commit_transaction(max(1.0, end_s - time.monotonic()))
        except KafkaException as fault:
            abort(self.producer, fault.args[0])
            raise

    def fill_transaction(self, outgoing: Sequence[Outgoing], positions: Mapping[Partition, int]) -> None:
        """Records, then offsets with the group's proof that the partitions are still ours."""
        for record in outgoing:
            produce(self.producer, record)
        if positions:
            proof = self.consumer.consumer_group_metadata()
            self.producer.send_offsets_to_transaction(topic_partitions(positions), proof, COMMIT_TIMEOUT_S)

    def close(self, deadline_s: float) -> None:
        """See `Bus.close`. Every commit has flushed; the group keeps our place for the restart. Safe to call again."""
        if self.closing is None:
            self.closing = Thread(target=self.leave, name="closing", daemon=True)
            self.closing.start()
        self.closing.join(deadline_s)

    def leave(self) -> None:
        """Give every partition up, then close.

        Closing while the group has something to say hangs the client, which holds the interpreter then (librdkafka
        issues 4041 and 4884), and so does forgetting it: what collects it closes it. So let the group have its say
        first, for as long as it takes: nobody waits for this thread, and the process ends without it.
        """
        self.enquirer.close()
        self.consumer.unsubscribe()
        quiet = 0
        while quiet < QUIET_POLLS:
            quiet = quiet + 1 if self.consumer.poll(QUIET_POLL_S) is None and not self.consumer.assignment() else 0
        self.consumer.close()


class PlainKafkaBus(KafkaBus):
    """At least once: fixed partitions, records flushed first, offsets after. Readers drop repeated record ids.

    Nothing fences an older process of the same instance: whoever starts a second one gets more repeats.
    """

    delivery: Delivery = "at_least_once"

    def open_producer(self) -> Producer:
        """An idempotent producer; all partitions of our topics are ours."""
        producer = Producer(producer_config(self.settings))
        counts = require_topics(producer, self.settings)
        self.assigned = [Partition(topic, number) for topic in self.settings.topics for number in range(counts[topic])]
        return producer

    def open_consumer(self) -> Consumer:
        """A consumer that commits offsets to the group without being its member."""
        return Consumer(gathering_config(self.settings))

    def leave(self) -> None:
        """There is no group to leave."""
        self.enquirer.close()
        self.consumer.close()

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """See `Bus.bounds`. The embedded broker names an offset within its last batch as the end."""
        low, high = super().bounds(partition)
        begin = TopicPartition(partition.topic, partition.number, max(low, high - 1))
        return low, find_ends(consumer_config(self.settings), [begin])[partition]

    def start(self, partition: Partition, offset: int) -> None:
        """See `Bus.start`."""
        self.expected.start(partition, offset)
        self.consumer.incremental_assign([TopicPartition(partition.topic, partition.number, offset)])

    def commit(self, outgoing: Sequence[Outgoing], positions: Mapping[Partition, int]) -> None:
        """See `Bus.commit`. A record that the broker refused stops the offsets too."""
        self.send(outgoing)
        if positions:
            with calling(f"committing offsets of {self.settings.group}", self.settings.bootstrap_servers):
                for done in self.consumer.commit(offsets=topic_partitions(positions), asynchronous=False):
                    if done.error is not None:
                        raise KafkaException(done.error)

    def send(self, outgoing: Sequence[Outgoing]) -> None:
        """Returns when the broker has every record."""
        faults: list[KafkaError] = []

        def delivered(fault: KafkaError | None, message: Message) -> None:
            del message
            faults.extend([fault] if fault is not None else [])

        servers = self.settings.bootstrap_servers
        with calling("publishing", servers):
            for record in outgoing:
                produce(self.producer, record, delivered)
            left = self.producer.flush(COMMIT_TIMEOUT_S)
        if faults:
            raise unavailable("publishing", servers, faults[0])
        if left:
            raise BusUnavailable(f"found {left} records unconfirmed by {servers} after {COMMIT_TIMEOUT_S:.0f} s")


def open_bus(settings: KafkaSettings) -> KafkaBus:
    """The bus that the delivery mode asks for."""
    return KafkaBus(settings) if settings.delivery == "exactly_once" else PlainKafkaBus(settings)


def abort(producer: Producer, error: KafkaError) -> None:
    """Abort what can be aborted; the transaction of a fenced or broken producer times out by itself."""
    if not error.fatal():
        with suppress(KafkaException):
            producer.abort_transaction(ABORT_TIMEOUT_S)
