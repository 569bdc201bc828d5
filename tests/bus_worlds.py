# SPDX-License-Identifier: MIT
"""The places in which the bus contract must hold: each opens buses, publishes, and looks at the logs from outside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from harness import MemoryBroker, MemoryBus
from usp.io import failpoints
from usp.io.bus import Bus, Delivery, Outgoing, Partition, RawRecord
from usp.io.kafka import KafkaBus, KafkaSettings, open_bus
from usp.io.local_broker import LocalBroker
from usp.io.topics import TopicSpec, ensure_topics
from usp.stages import topology
from usp.stages.contract import Topic


@dataclass
class MemoryWorld:
    """The bus of the harness."""

    delivery: Delivery
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    source: Topic = topology.MARKET_TICKS
    target: Topic = topology.PREDICTIONS

    def open(self, instance: str = "0") -> Bus:
        """A fresh process."""
        del instance
        return MemoryBus(self.broker, "group", [self.source], self.delivery)

    def publish(self, records: Sequence[Outgoing]) -> None:
        """What producers outside the pipeline do."""
        for record in records:
            self.broker.append(record)

    def seen(self, topic: Topic) -> dict[int, list[RawRecord]]:
        """What a careful reader of the topic sees, per partition."""
        return {n: list(self.broker.log(Partition(topic.name, n))) for n in range(topic.partitions)}

    def die_in_commit(self, bus: Bus, outgoing: Sequence[Outgoing], positions: Mapping[Partition, int]) -> None:
        """The process ends in the middle of this commit."""

        def die(name: str) -> None:
            raise failpoints.Crash(name)

        if self.delivery == "at_least_once":
            failpoints.install(die)
            try:
                bus.commit(outgoing, positions)
            except failpoints.Crash:
                pass
            finally:
                failpoints.install(failpoints.ignore)

    def close(self) -> None:
        """Nothing is held."""


class BrokerWorld:
    """A broker over the Kafka protocol, with topics and a group of its own."""

    def __init__(self, broker: LocalBroker, **options: Any) -> None:
        name = uuid4().hex[:8]
        self.broker = broker
        self.source = Topic(f"in.{name}", (), "", 2, None)
        self.target = Topic(f"out.{name}", (), "", 2, None)
        self.admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
        self.make_topics()
        counts = {self.source.name: 2}
        self.settings = KafkaSettings(
            broker.bootstrap_servers, f"g.{name}", name, (self.source.name,), broker.delivery, counts, **options
        )
        self.buses: list[Bus] = []

    def make_topics(self) -> None:
        """Both topics, empty."""
        ensure_topics(self.admin, [TopicSpec(t.name, t.partitions, {}) for t in (self.source, self.target)])

    def open(self, instance: str = "0", gather_s: float = 0.0) -> KafkaBus:
        """A fresh process."""
        instance = f"{self.settings.instance}.{instance}"
        bus = open_bus(replace(self.settings, instance=instance, gather_s=gather_s))
        self.buses.append(bus)
        return bus

    def producer(self, **options: Any) -> Producer:
        """A producer outside the pipeline."""
        return Producer({"bootstrap.servers": self.broker.bootstrap_servers, "log_level": 0, "linger.ms": 0, **options})

    def publish(self, records: Sequence[Outgoing]) -> None:
        """What producers outside the pipeline do."""
        producer = self.producer()
        for r in records:
            where = {} if r.partition is None else {"partition": r.partition}
            producer.produce(r.topic, key=r.key, value=r.value, headers=list(r.headers), **where)
        assert producer.flush(10) == 0

    def seen(self, topic: Topic) -> dict[int, list[RawRecord]]:
        """What a read_committed reader of the topic sees, per partition."""
        reader = Consumer(
            {
                "bootstrap.servers": self.broker.bootstrap_servers,
                "group.id": "outside",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 10,
                "log_level": 0,
            }
        )
        reader.assign([TopicPartition(topic.name, n, 0) for n in range(topic.partitions)])
        found: dict[int, list[RawRecord]] = {n: [] for n in range(topic.partitions)}
        ends = 0
        while ends < topic.partitions:
            message = reader.poll(10.0)
            assert message is not None
            where = Partition(topic.name, message.partition())
            if message.error() is not None:
                assert message.error().code() == KafkaError._PARTITION_EOF
                ends += 1
            else:
                headers = tuple(message.headers() or ())
                stamp = message.timestamp()[1] * 1_000_000
                found[where.number].append(
                    RawRecord(where, message.offset(), message.key(), message.value(), stamp, headers)
                )
        reader.close()
        return found

    def die_in_commit(self, bus: Bus, outgoing: Sequence[Outgoing], positions: Mapping[Partition, int]) -> None:
        """Everything up to the last call of a commit, and then no more."""
        assert isinstance(bus, KafkaBus)
        if bus.delivery == "exactly_once":
            bus.producer.begin_transaction()
            bus.fill_transaction(outgoing, positions)
        else:
            bus.commit(outgoing, {})
        assert bus.producer.flush(10) == 0

    def recreate_source(self) -> None:
        """The topic is deleted and made again."""
        for answer in self.admin.delete_topics([self.source.name]).values():
            answer.result(10)
        self.make_topics()

    def close(self) -> None:
        """Let every process end."""
        for bus in self.buses:
            bus.close(2.0)
