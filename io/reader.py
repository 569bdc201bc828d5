# SPDX-License-Identifier: MIT
"""Reading topics from outside the pipeline: committed records only, repeated prediction ids dropped."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, TopicPartition

from .avro import Undecodable, decode
from .bus import Partition, RawRecord
from .kafka import CALL_TIMEOUT_S, raise_unless_harmless, raw_record, wait_for_some
from ..schemas.records import AnyRecord

REMEMBERED_IDS = 100_000


class ReadRecord(NamedTuple):
    """A record with its place; `value` tells why if the bytes hold no record."""

    raw: RawRecord
    value: AnyRecord | Undecodable


class TopicReader:
    """A reader of whole topics without a consumer group. Not safe for several threads."""

    def __init__(
        self, bootstrap_servers: str, topics: Sequence[str], *, from_start: bool, security: Mapping[str, str] | None = None
    ) -> None:
        """`from_start` False begins at the end: only what comes from now on."""
        self.consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "usp.reader",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 10,
                "log_level": 3,
                **(security or {}),
            }
        )
        self.seen: OrderedDict[str, None] = OrderedDict()
        self.consumer.assign(self.places(topics, OFFSET_BEGINNING if from_start else OFFSET_END))

    def places(self, topics: Sequence[str], offset: int) -> list[TopicPartition]:
        """Every partition of the topics, at this offset; the end is looked up now, so that nothing after it is missed."""
        found = self.consumer.list_topics(timeout=CALL_TIMEOUT_S).topics
        missing = [topic for topic in topics if topic not in found]
        if missing:
            raise LookupError(f"found no topic {', '.join(missing)}; make them with: usp topics --create")
        places = [TopicPartition(topic, n, offset) for topic in topics for n in sorted(found[topic].partitions)]
        if offset == OFFSET_END:
            for place in places:
                place.offset = self.consumer.get_watermark_offsets(place, timeout=CALL_TIMEOUT_S)[1]
        return places

    def read(self, most: int = 1000, timeout_s: float = 0.1) -> list[ReadRecord]:
        """What has come, without predictions whose id was read before."""
        messages = wait_for_some(self.consumer, most, timeout_s)
        for message in messages:
            raise_unless_harmless(message.error())
        raw = [raw_record(message) for message in messages if message.error() is None]
        return [record for record in (ReadRecord(r, decode(r.value)) for r in raw) if self.is_new(record)]

    def is_new(self, record: ReadRecord) -> bool:
        """False for a prediction id among the newest that were read."""
        name = getattr(record.value, "record_id", None)
        if name is None:
            return True
        if name in self.seen:
            return False
        self.seen[name] = None
        if len(self.seen) > REMEMBERED_IDS:
            self.seen.popitem(last=False)
        return True

    def lag(self) -> int:
        """Records between what was read and the ends of the partitions; transaction markers count."""
        places = self.consumer.position(self.consumer.assignment())
        ends = [self.consumer.get_watermark_offsets(p, timeout=CALL_TIMEOUT_S)[1] for p in places]
        return sum(max(0, end - max(p.offset, 0)) for p, end in zip(places, ends, strict=True))

    def close(self) -> None:
        """Let the connection go."""
        self.consumer.close()


def where(partition: Partition, offset: int) -> str:
    """`topic/partition@offset`, as errors and tables show a place."""
    return f"{partition.topic}/{partition.number}@{offset}"
