# SPDX-License-Identifier: MIT
"""Making the topics and checking that those that exist are as they must be."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

CALL_TIMEOUT_S = 30.0


class TopicSpec(NamedTuple):
    """A topic as it must be."""

    name: str
    partitions: int
    config: Mapping[str, str]


class TopicMismatch(Exception):
    """A topic exists with another partition count; state is keyed by partition, so this cannot be repaired here."""


def ensure_topics(admin: AdminClient, specs: Sequence[TopicSpec], replication: int = 1) -> list[str]:
    """Create what is missing, check the rest; the names created, in order."""
    existing = admin.list_topics(timeout=CALL_TIMEOUT_S).topics
    for spec in specs:
        found = len(existing[spec.name].partitions) if spec.name in existing else spec.partitions
        if found != spec.partitions:
            raise TopicMismatch(
                f"{spec.name} has {found} partitions; expected {spec.partitions}, since state is kept per partition."
                f" Delete the topic, or point the settings at another cluster."
            )
    missing = [spec for spec in specs if spec.name not in existing]
    new = [NewTopic(s.name, s.partitions, replication, config=dict(s.config)) for s in missing]
    for name, done in (admin.create_topics(new) if new else {}).items():
        created(name, done)
    return [spec.name for spec in missing]


def created(name: str, done: object) -> None:
    """Wait for one creation; another process may have been faster."""
    try:
        done.result(CALL_TIMEOUT_S)  # type: ignore[attr-defined]  # a concurrent.futures.Future, untyped in the client
    except KafkaException as fault:
        if fault.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise RuntimeError(f"topic {name} could not be created: {fault.args[0].str()}") from fault
