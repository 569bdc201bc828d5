# SPDX-License-Identifier: MIT
"""Looking at a broker's logs from outside the group: ranges for replay, ends, and which log it is."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, cast

from confluent_kafka import Consumer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from .bus import Partition, RawRecord
from .kafka_client import (
    CALL_TIMEOUT_S,
    END_OF_PARTITION,
    BusUnavailable,
    KafkaSettings,
    calling,
    client_config,
    consumer_config,
    place,
    raise_unless_harmless,
    raw_record,
    wait_for_some,
)

READ_BATCH = 2000
SILENCE_S = 30.0


def read_range(settings: KafkaSettings, partition: Partition, start: int, stop: int) -> Iterator[Sequence[RawRecord]]:
    """Committed records of [start, stop) by a reader of its own; offsets may have gaps, so the end is looked for."""
    if start >= stop:
        return
    reader = Consumer(consumer_config(settings) | {"enable.partition.eof": True})
    try:
        reader.assign([TopicPartition(partition.topic, partition.number, start)])
        done = False
        while not done:
            messages = wait_for_some(reader, READ_BATCH, SILENCE_S)
            if not messages:
                raise BusUnavailable(
                    f"found nothing in {SILENCE_S:.0f} s in {partition.topic}/{partition.number} at"
                    f" {settings.bootstrap_servers}; expected the records from {start} to {stop} for a replay"
                )
            for message in messages:
                raise_unless_harmless(message.error())
            records = [raw_record(m) for m in messages if m.error() is None and (m.offset() or 0) < stop]
            if records:
                yield records
            done = any(ends_at(m) >= stop or is_end(m) for m in messages)
    finally:
        reader.close()


def is_end(message: Any) -> bool:
    """Does this say that there is no more?"""
    error = message.error()
    return error is not None and error.code() == END_OF_PARTITION


def ends_at(message: Any) -> int:
    """The offset behind a record; errors have none."""
    return message.offset() + 1 if message.error() is None else -1


def find_ends(config: Mapping[str, Any], begins: Sequence[TopicPartition]) -> dict[Partition, int]:
    """Where partitions end, found by reading on from `begins`: not every broker's own answer is right."""
    reader = Consumer({**config, "enable.partition.eof": True})
    ends: dict[Partition, int] = {}
    try:
        reader.assign(list(begins))
        while len(ends) < len(begins):
            messages = wait_for_some(reader, READ_BATCH, SILENCE_S)
            if not messages:
                raise BusUnavailable(
                    f"found no end in {SILENCE_S:.0f} s of {', '.join(sorted({p.topic for p in begins}))} at"
                    f" {config['bootstrap.servers']}; expected a broker that answers"
                )
            for message in messages:
                raise_unless_harmless(message.error())
            ends |= {place(m): m.offset() or 0 for m in messages if is_end(m)}
    finally:
        reader.close()
    return ends


def describe_log(settings: KafkaSettings, topic: str) -> str:
    """Cluster id and topic id: another cluster, or the topic made anew, has another."""
    admin = AdminClient(client_config(settings))
    with calling(f"describing {topic}", settings.bootstrap_servers):
        cluster = settings.log_id or admin.list_topics(topic, timeout=CALL_TIMEOUT_S).cluster_id
        answers: dict[str, Future[Any]] = cast(Any, admin).describe_topics(TopicCollection([topic]))
        return f"{cluster}/{answers[topic].result(CALL_TIMEOUT_S).topic_id}"
