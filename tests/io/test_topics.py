# SPDX-License-Identifier: MIT
"""Topics are made once, as they must be, and what is there already is checked."""

from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from usp.io import topics
from usp.io.kafka import BusUnavailable
from usp.io.local_broker import LocalBroker
from usp.io.topics import TopicMismatch, TopicSpec, ensure_topics, wait_until_seen
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


class ForgetfulAdmin:
    """A client that has noted that nobody leads the partitions; only a list of the topics makes it look again.

    It has to look `looks` times until a leader is there.
    """

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def list_topics(self, timeout: float) -> None:
        """See `AdminClient.list_topics`."""
        assert timeout > 0.0
        self.looks -= 1

    def list_offsets(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, Future[int]]:
        """See `AdminClient.list_offsets`."""
        answers: dict[TopicPartition, Future[int]] = {place: Future() for place in places}
        for answer in answers.values():
            if self.looks > 0:
                answer.set_exception(KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE)))
            else:
                answer.set_result(0)
        return answers


def test_a_client_that_has_noted_no_leader_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its notes would have it wait until the deadline."""
    monkeypatch.setattr(topics, "ASK_AGAIN_S", 0.0)
    admin: Any = ForgetfulAdmin(looks=3)
    wait_until_seen(admin, specs(1, 8))
    assert admin.looks == 0


def test_partitions_that_nobody_leads_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not passed over: whoever comes next would find them silent."""
    monkeypatch.setattr(topics, "TOPICS_APPEAR_S", 0.2)
    admin: Any = ForgetfulAdmin(looks=1_000_000)
    (spec,) = specs(2)
    with pytest.raises(BusUnavailable, match=rf"found 2 partitions .* the first {spec.name}/0 .*LEADER_NOT_AVAILABLE"):
        wait_until_seen(admin, [spec])
