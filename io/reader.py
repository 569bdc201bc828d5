# SPDX-License-Identifier: MIT
"""Reading topics from outside the pipeline: committed records only, repeated ids dropped."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import Consumer, TopicPartition

from ..schemas.records import AnyRecord
from .avro import Undecodable, decode
from .bus import Partition, RawRecord
from .kafka_client import CALL_TIMEOUT_S, Config, calling, raise_unless_harmless, raw_record, wait_for_some
from .kafka_log import find_ends
from .wire import SINGLE_OBJECT, Wire

REMEMBERED_IDS = 100_000


class UnknownTopic(Exception):
    """The caller's fault: no topic of that name."""


class ReadRecord(NamedTuple):
    """A record with its place; `value` tells why if the bytes hold no record."""

    raw: RawRecord
    value: AnyRecord | Undecodable


class TopicReader:
    """A reader of whole topics without a consumer group. Not safe for several threads."""

    def __init__(
        self,
        bootstrap_servers: str,
        topics: Sequence[str],
        *,
        from_start: bool,
        security: Mapping[str, str] | None = None,
        wire: Wire = SINGLE_OBJECT,
    ) -> None:
        """`from_start` False begins at the end: only what comes from now on. Raises BusUnavailable, UnknownTopic."""
        self.config: Config = {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "usp.reader",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 10,
            "log_level": 2,
            **(security or {}),
        }
        self.wire = wire
        self.seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.consumer = Consumer(self.config)
        with calling("looking for the topics", bootstrap_servers):
            self.consumer.assign(self.places(topics, from_start))

    def places(self, topics: Sequence[str], from_start: bool) -> list[TopicPartition]:
        """Every partition of the topics, where reading begins; looked up now, so that nothing after it is missed."""
        found = self.consumer.list_topics(timeout=CALL_TIMEOUT_S).topics
        missing = [topic for topic in topics if topic not in found]
        if missing:
            raise UnknownTopic(f"found no topic {', '.join(missing)}; make them with: usp topics --create")
        places = [TopicPartition(topic, n) for topic in topics for n in sorted(found[topic].partitions)]
        for place in places:
            low, high = self.consumer.get_watermark_offsets(place, timeout=CALL_TIMEOUT_S)
            place.offset = low if from_start else max(low, high - 1)
        if not from_start:
            ends = find_ends(self.config, places)
            for place in places:
                place.offset = ends[Partition(place.topic, place.partition)]
        return places

    def read(self, most: int = 1000, timeout_s: float = 0.1) -> list[ReadRecord]:
        """What has come, without records whose id was read before."""
        records = (self.decoded(raw) for raw in self.read_raw(most, timeout_s))
        return [record for record in records if self.is_new(record)]

    def read_raw(self, most: int = 1000, timeout_s: float = 0.1) -> list[RawRecord]:
        """What has come as it lies in the log, for who has no time to decode now; repeated ids are not dropped."""
        messages = wait_for_some(self.consumer, most, timeout_s)
        for message in messages:
            raise_unless_harmless(message.error())
        return [raw_record(message) for message in messages if message.error() is None]

    def decoded(self, raw: RawRecord) -> ReadRecord:
        """The record that these bytes hold."""
        return ReadRecord(raw, decode(self.wire.inward(raw.value)))

    def is_new(self, record: ReadRecord) -> bool:
        """False for an id among the newest that were read from this topic."""
        record_id = getattr(record.value, "record_id", None)
        if record_id is None:
            return True
        name = (record.raw.partition.topic, record_id)
        if name in self.seen:
            return False
        self.seen[name] = None
        if len(self.seen) > REMEMBERED_IDS:
            self.seen.popitem(last=False)
        return True

    def close(self) -> None:
        """Let the connection go."""
        self.consumer.close()


def where(partition: Partition, offset: int) -> str:
    """`topic/partition@offset`, as errors and tables show a place."""
    return f"{partition.topic}/{partition.number}@{offset}"
