# SPDX-License-Identifier: MIT
"""What every client of the broker shares: how to reach it, records in our form, faults that say what to do."""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from .bus import Delivery, Headers, Outgoing, Partition, RawRecord

CALL_TIMEOUT_S = 30.0
TOPICS_APPEAR_S = 10.0
LONGEST_REPLAY_MS = 3_600_000
LARGEST_RECORD = 1_000_000_000
GATHERED_BYTES = 1_000_000
PARTITION_FETCH_BYTES = 32_768
Config = dict[str, Any]
OnDelivery = Callable[[KafkaError | None, Message], None]


class BusUnavailable(Exception):
    """The world's fault: the broker did not answer, or refused; raised with what was tried and where."""


class Fenced(BusUnavailable):
    """Another process has this one's place: what this one still holds must not be published."""


@dataclass(frozen=True)
class KafkaSettings:
    """How to reach the broker and who we are there. `security` passes through to librdkafka.

    `instance` must be unique among the running processes of a cluster: a newer one fences the older. `partitions`
    are the counts that the topics must have, where given; `log_id` replaces the broker's cluster id. `gather_s` is how
    long the broker may hold records back to send more of them at once.
    """

    bootstrap_servers: str
    group: str
    instance: str
    topics: tuple[str, ...]
    delivery: Delivery
    partitions: Mapping[str, int] = field(default_factory=dict[str, int])
    log_id: str = ""
    security: Mapping[str, str] = field(default_factory=dict[str, str])
    fetch_wait_ms: int = 10
    gather_s: float = 0.0
    linger_ms: float = 1.0
    transaction_timeout_ms: int = 10_000
    session_timeout_ms: int = 10_000
    start_deadline_s: float = CALL_TIMEOUT_S


def client_config(settings: KafkaSettings) -> Config:
    """What every client of this process shares."""
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": settings.instance,
        "log_level": 3,
        "reconnect.backoff.max.ms": 1_000,
        **settings.security,
    }


def consumer_config(settings: KafkaSettings) -> Config:
    """A consumer that starts only where it is told and sees only committed records.

    A backlog comes a little from each partition at a time: ticks of many symbols share a call of the step, those of
    one symbol cannot.
    """
    return client_config(settings) | {
        "group.id": settings.group,
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "fetch.wait.max.ms": settings.fetch_wait_ms,
        "fetch.queue.backoff.ms": 5,
        "max.partition.fetch.bytes": PARTITION_FETCH_BYTES,
    }


def gathering_config(settings: KafkaSettings) -> Config:
    """A consumer whose records come in bulk: each fetch, and each batch behind it, costs the broker the same."""
    if not settings.gather_s:
        return consumer_config(settings)
    waiting = {"fetch.wait.max.ms": int(settings.gather_s * 1000), "fetch.min.bytes": GATHERED_BYTES}
    return consumer_config(settings) | waiting


def member_config(settings: KafkaSettings) -> Config:
    """A consumer with a place of its own in the group, which survives a restart within the session timeout.

    The group sees a dead process by its session; the poll interval is no watchdog here, for a replay may be long.
    """
    return gathering_config(settings) | {
        "group.instance.id": settings.instance,
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": settings.session_timeout_ms,
        "max.poll.interval.ms": LONGEST_REPLAY_MS,
    }


def producer_config(settings: KafkaSettings) -> Config:
    """An idempotent producer that sends at once; batching comes from the loop.

    A transaction begun right behind another waits for the broker to finish that one by trying again: the client's
    usual pause of 100 ms would be most of the transaction's time. The broker alone limits the size of records: a
    dead letter must hold whatever the broker took.
    """
    return client_config(settings) | {
        "enable.idempotence": True,
        "linger.ms": settings.linger_ms,
        "retry.backoff.ms": 5,
        "retry.backoff.max.ms": 50,
        "compression.type": "lz4",
        "partitioner": "murmur2_random",
        "message.max.bytes": LARGEST_RECORD,
    }


def produce(producer: Producer, record: Outgoing, on_delivery: OnDelivery | None = None) -> None:
    """Queue one record; a full queue is drained first."""
    options: Config = {} if record.partition is None else {"partition": record.partition}
    if record.headers:
        options["headers"] = list(record.headers)
    while True:
        try:
            producer.produce(record.topic, value=record.value, key=record.key, on_delivery=on_delivery, **options)
            return
        except BufferError:
            producer.poll(0.1)


def wait_for_some(consumer: Consumer, most: int, timeout_s: float) -> list[Message]:
    """Wait for one message, then take what else is there.

    `consume` alone would wait until it had `most`.
    """
    first = consumer.poll(timeout_s)
    return [] if first is None else [first, *consumer.consume(most - 1, 0.0)]


def raw_record(message: Message) -> RawRecord:
    """A message of the client library as our record."""
    kind, timestamp_ms = message.timestamp()
    return RawRecord(
        place(message),
        message.offset() or 0,
        message.key(),
        message.value(),
        0 if kind == TIMESTAMP_NOT_AVAILABLE else timestamp_ms * 1_000_000,
        tuple(cast(Headers, message.headers() or ())),
    )


def place(message: Message) -> Partition:
    """The partition of a message, or of an error that came in its stead."""
    return Partition(message.topic() or "", message.partition() or 0)


def topic_partitions(positions: Mapping[Partition, int]) -> list[TopicPartition]:
    """Offsets in the client library's form."""
    return [TopicPartition(p.topic, p.number, offset) for p, offset in positions.items()]


# The client library's own error codes have names that begin with an underscore.
END_OF_PARTITION = KafkaError._PARTITION_EOF
UNREACHABLE = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE)
HARMLESS = (END_OF_PARTITION, *UNREACHABLE)
FENCING = (
    KafkaError._FENCED,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.ILLEGAL_GENERATION,
)
UNKNOWN_TOPIC = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
LOST_POSITION = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)
ADVICE: tuple[tuple[tuple[int, ...], str], ...] = (
    (UNREACHABLE, "expected a Kafka broker that answers there: start it (usp up) or set USP_BUS__BOOTSTRAP_SERVERS"),
    (FENCING, "expected to be the only process of this name: another one has taken its place, let it run alone"),
    (UNKNOWN_TOPIC, "expected the pipeline's topics: make them with usp topics --create"),
    (LOST_POSITION, "expected the position to lie in the log: it was cut or made anew, restore a newer snapshot"),
)


def raise_unless_harmless(error: KafkaError | None) -> None:
    """End of partition and lost connections pass (the client reconnects); the rest ends the process."""
    if error is not None and error.code() not in HARMLESS:
        raise unavailable("reading", "the broker", error)


def unavailable(doing: str, servers: str, error: KafkaError) -> BusUnavailable:
    """A fault of the client library as a sentence: what was tried, what was found, what was expected, what to do."""
    fault = Fenced if error.code() in FENCING else BusUnavailable
    advice = next((text for codes, text in ADVICE if error.code() in codes), "expected success: see the broker's log")
    return fault(f"{doing}: found {error.name()} at {servers} ({error.str()}); {advice}")


@contextmanager
def calling(doing: str, servers: str) -> Generator[None]:
    """Faults of the client library inside become `BusUnavailable`."""
    try:
        yield
    except KafkaException as fault:
        raise unavailable(doing, servers, fault.args[0]) from fault


def require_topics(client: Producer, settings: KafkaSettings) -> dict[str, int]:
    """The partition counts of our topics; raises BusUnavailable within the start's deadline.

    A topic made a moment ago may need another one to be seen by all.
    """
    end_s = time.monotonic() + TOPICS_APPEAR_S
    while True:
        with calling("looking for the topics", settings.bootstrap_servers):
            known = client.list_topics(timeout=settings.start_deadline_s).topics
        found = {topic: len(known[topic].partitions) for topic in settings.topics if topic in known}
        if len(found) == len(settings.topics):
            return checked(found, settings)
        if time.monotonic() > end_s:
            missing = ", ".join(sorted(set(settings.topics) - set(found)))
            raise BusUnavailable(
                f"found no topic {missing} at {settings.bootstrap_servers}; expected the pipeline's topics: make them"
                " with usp topics --create"
            )
        time.sleep(0.1)


def checked(found: dict[str, int], settings: KafkaSettings) -> dict[str, int]:
    """The counts, if they are those that state is kept by."""
    for topic, count in found.items():
        expected = settings.partitions.get(topic, count)
        if count != expected:
            raise BusUnavailable(
                f"found {count} partitions of {topic} at {settings.bootstrap_servers}; expected {expected}, since state"
                " is kept per partition. Delete the topic, or name another cluster"
            )
    return found
