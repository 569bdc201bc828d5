# SPDX-License-Identifier: MIT
"""Making the topics and checking that those that exist are as they must be."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, cast

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    OffsetSpec,  # pyright: ignore[reportPrivateImportUsage]  # documented, not exported
)
from confluent_kafka.cimpl import NewTopic

from .kafka_client import CALL_TIMEOUT_S, TOPICS_APPEAR_S, BusUnavailable, calling

ASK_AGAIN_S = 0.05


class TopicSpec(NamedTuple):
    """A topic as it must be."""

    name: str
    partitions: int
    config: Mapping[str, str]


class TopicMismatch(BusUnavailable):
    """A topic exists with another partition count; state is keyed by partition, so this cannot be repaired here."""


def ensure_topics(admin: AdminClient, specs: Sequence[TopicSpec], replication: int = 1) -> list[str]:
    """Create what is missing, check the rest; the names created, in order. Raises BusUnavailable."""
    with calling("looking for the topics", "the broker"):
        existing = admin.list_topics(timeout=CALL_TIMEOUT_S).topics
    for spec in specs:
        found = len(existing[spec.name].partitions) if spec.name in existing else spec.partitions
        if found != spec.partitions:
            raise TopicMismatch(
                f"{spec.name} has {found} partitions; expected {spec.partitions}, since state is kept per partition."
                f" Delete the topic, or point the settings at another cluster."
            )
    missing = {spec.name: spec for spec in specs if spec.name not in existing}
    made = create(admin, [NewTopic(s.name, s.partitions, replication, config=dict(s.config)) for s in missing.values()])
    wait_until_seen(admin, list(missing.values()))
    return made


def create(admin: AdminClient, topics: list[NewTopic]) -> list[str]:
    """Make these; the names of those that nobody else was faster with."""
    made: list[str] = []
    answers: dict[str, Future[None]] = cast(Any, admin).create_topics(topics) if topics else {}
    for name, answer in answers.items():
        with calling(f"making topic {name}", "the broker"):
            try:
                answer.result(CALL_TIMEOUT_S)
                made.append(name)
            except KafkaException as fault:
                if fault.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
    return made


def wait_until_seen(admin: AdminClient, specs: Sequence[TopicSpec]) -> None:
    """A topic can be made and its partitions not be led yet: wait until all of them answer. Raises BusUnavailable."""
    places = [TopicPartition(spec.name, n) for spec in specs for n in range(spec.partitions)]
    end_s = time.monotonic() + TOPICS_APPEAR_S
    while faults := unanswered(admin, places):
        places = list(faults)
        if time.monotonic() > end_s:
            raise BusUnavailable(
                f"found {len(places)} partitions of new topics without an answer after {TOPICS_APPEAR_S:.0f} s, the"
                f" first {places[0].topic}/{places[0].partition} ({faults[places[0]]}); expected a leader for each: see"
                " the broker's log, then run usp topics --create again"
            )
        time.sleep(ASK_AGAIN_S)


def unanswered(admin: AdminClient, places: Sequence[TopicPartition]) -> dict[TopicPartition, BaseException]:
    """The partitions that do not say where they end, with the reason.

    The topics are listed first: the client may have noted that nobody leads them, and would answer so from its notes
    for as long as only partitions are asked for.
    """
    if not places:
        return {}
    with calling("looking for the new topics", "the broker"):
        admin.list_topics(timeout=CALL_TIMEOUT_S)
    asked = {place: OffsetSpec.latest() for place in places}
    answers: dict[TopicPartition, Future[Any]] = cast(Any, admin).list_offsets(asked)
    faults = {place: answer.exception(CALL_TIMEOUT_S) for place, answer in answers.items()}
    return {place: fault for place, fault in faults.items() if fault is not None}
