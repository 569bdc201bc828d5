# SPDX-License-Identifier: MIT
"""Making the topics and checking that those that exist are as they must be."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, cast

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from .kafka_client import CALL_TIMEOUT_S, BusUnavailable, calling


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
    missing = [spec for spec in specs if spec.name not in existing]
    create(admin, [NewTopic(s.name, s.partitions, replication, config=dict(s.config)) for s in missing])
    return [spec.name for spec in missing]


def create(admin: AdminClient, topics: list[NewTopic]) -> None:
    """Make these; another process may have been faster."""
    if not topics:
        return
    answers: dict[str, Future[None]] = cast(Any, admin).create_topics(topics)
    for name, answer in answers.items():
        with calling(f"making topic {name}", "the broker"):
            try:
                answer.result(CALL_TIMEOUT_S)
            except KafkaException as fault:
                if fault.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
