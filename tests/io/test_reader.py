# SPDX-License-Identifier: MIT
"""Readers outside the pipeline see each committed record once, from where they asked to begin."""

from collections.abc import Generator

import pytest

from bus_worlds import BrokerWorld
from prediction_examples import prediction
from usp.io.avro import Undecodable, encode
from usp.io.bus import Outgoing
from usp.io.kafka import BusUnavailable
from usp.io.ports import free_port
from usp.io.reader import ReadRecord, TopicReader, UnknownTopic


@pytest.fixture(params=[pytest.param("embedded"), pytest.param("kafka", marks=pytest.mark.kafka)])
def world(request: pytest.FixtureRequest) -> Generator[BrokerWorld]:
    """Both brokers."""
    made = BrokerWorld(request.getfixturevalue(f"{request.param}_broker"))
    yield made
    made.close()


def take(reader: TopicReader, count: int) -> list[ReadRecord]:
    """The next records, and proof that no more follow."""
    found: list[ReadRecord] = []
    for _ in range(100):
        found += reader.read(timeout_s=0.1)
        if len(found) >= count:
            break
    return found + reader.read(timeout_s=0.3)


def predictions(world: BrokerWorld, *names: str, partition: int = 0) -> list[Outgoing]:
    """Predictions with these ids for the target topic."""
    values = [encode(prediction(record_id=name)) for name in names]
    return [Outgoing(world.target.name, partition, b"k", value) for value in values]


def ids(records: list[ReadRecord]) -> list[str]:
    """Their record ids, or the reason why there is none."""
    return [r.value.reason if isinstance(r.value, Undecodable) else r.value.record_id for r in records]  # type: ignore[union-attr]


def test_a_reader_from_the_start_sees_everything_once(world: BrokerWorld) -> None:
    """Repeats of an id are dropped per topic; bytes that hold no record are shown as such."""
    world.publish([*predictions(world, "a", "b", "a"), *predictions(world, "b", "c", partition=1)])
    world.publish([Outgoing(world.source.name, 0, b"k", encode(prediction(record_id="a")))])
    world.publish([Outgoing(world.target.name, 0, b"k", b"garbage")])
    reader = TopicReader(world.broker.bootstrap_servers, [world.target.name, world.source.name], from_start=True)
    found = take(reader, 5)
    reader.close()
    assert sorted(ids(found)) == ["a", "a", "b", "c", "not_single_object"]


def test_a_reader_from_the_end_sees_only_what_comes(world: BrokerWorld) -> None:
    """Nothing that lay there before, and nothing missed after the reader was made."""
    for n in range(3):
        world.publish(predictions(world, *(f"old{n}{i}" for i in range(5))))
    reader = TopicReader(world.broker.bootstrap_servers, [world.target.name], from_start=False)
    world.publish(predictions(world, "new", partition=0))
    world.publish(predictions(world, "new too", partition=1))
    found = take(reader, 2)
    reader.close()
    assert sorted(ids(found)) == ["new", "new too"]


def test_a_missing_topic_is_told(world: BrokerWorld) -> None:
    """With what to do about it."""
    with pytest.raises(UnknownTopic, match=r"no topic nowhere.*usp topics --create"):
        TopicReader(world.broker.bootstrap_servers, [world.target.name, "nowhere"], from_start=True)


def test_a_broker_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the deadline, with its address."""
    monkeypatch.setattr("usp.io.reader.CALL_TIMEOUT_S", 1.0)
    servers = f"127.0.0.1:{free_port()}"
    with pytest.raises(BusUnavailable, match=f"{servers}.*expected a Kafka broker"):
        TopicReader(servers, ["t"], from_start=True)


@pytest.mark.kafka
def test_aborted_records_are_not_seen(request: pytest.FixtureRequest) -> None:
    """Neither they nor the markers of their transactions count."""
    world = BrokerWorld(request.getfixturevalue("kafka_broker"))
    writer = world.producer(**{"transactional.id": world.target.name})
    writer.init_transactions(10)
    for name, end in (
        ("a", writer.commit_transaction),
        ("b", writer.abort_transaction),
        ("c", writer.commit_transaction),
    ):
        writer.begin_transaction()
        for record in predictions(world, name):
            writer.produce(record.topic, partition=0, value=record.value)
        writer.flush(10)
        end(10)
    reader = TopicReader(world.broker.bootstrap_servers, [world.target.name], from_start=True)
    assert ids(take(reader, 2)) == ["a", "c"]
    reader.close()
