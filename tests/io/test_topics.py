# SPDX-License-Identifier: MIT
"""Topics are made once, as they must be, and what is there already is checked."""

from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient

from usp.io.kafka import BusUnavailable
from usp.io.local_broker import LocalBroker
from usp.io.topics import TopicMismatch, TopicSpec, ensure_topics
from usp.stages import topology


@pytest.fixture(params=[pytest.param("embedded"), pytest.param("kafka", marks=pytest.mark.kafka)])
def admin(request: pytest.FixtureRequest) -> AdminClient:
    """A client of each broker."""
    broker: LocalBroker = request.getfixturevalue(f"{request.param}_broker")
    return AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})


def specs(*partitions: int) -> list[TopicSpec]:
    """Topics of their own for one test."""
    return [TopicSpec(f"made.{uuid4().hex[:8]}", count, {"cleanup.policy": "delete"}) for count in partitions]


def test_what_is_missing_is_made_once(admin: AdminClient) -> None:
    """The second call finds everything there."""
    first, second, third = specs(1, 8, 2)
    assert ensure_topics(admin, [first, second]) == [first.name, second.name]
    assert ensure_topics(admin, [first, third, second]) == [third.name]
    assert ensure_topics(admin, [first, second, third]) == []
    found = admin.list_topics(timeout=10).topics
    assert [len(found[spec.name].partitions) for spec in (first, second, third)] == [1, 8, 2]


def test_another_partition_count_is_refused(admin: AdminClient) -> None:
    """State is kept per partition: nothing is changed, and nothing else is made."""
    (existing,) = specs(2)
    ensure_topics(admin, [existing])
    (other,) = specs(1)
    with pytest.raises(TopicMismatch, match=f"{existing.name} has 2 partitions; expected 8"):
        ensure_topics(admin, [other, existing._replace(partitions=8)])
    assert other.name not in admin.list_topics(timeout=10).topics


def test_the_pipelines_topics_can_be_made(admin: AdminClient) -> None:
    """Every setting of the topology is one that the broker knows."""
    ensure_topics(admin, topology.specs())
    assert ensure_topics(admin, topology.specs()) == []


@pytest.mark.kafka
def test_a_refusal_is_told(kafka_broker: LocalBroker) -> None:
    """A replication that the cluster cannot give comes as a sentence with the topic's name."""
    admin = AdminClient({"bootstrap.servers": kafka_broker.bootstrap_servers, "log_level": 0})
    (spec,) = specs(1)
    with pytest.raises(BusUnavailable, match=f"making topic {spec.name}.*REPLICATION_FACTOR"):
        ensure_topics(admin, [spec], replication=3)
