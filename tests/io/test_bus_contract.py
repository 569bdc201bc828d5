# SPDX-License-Identifier: MIT
"""What every bus promises a stage, asked of all of them: in memory, on the embedded broker, on Apache Kafka."""

import os
import signal
import time
from collections.abc import Generator, Iterable
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Producer

from bus_worlds import BrokerWorld, MemoryWorld
from usp.io.bus import Bus, Outgoing, Partition, RawRecord
from usp.io.kafka import BusUnavailable, Fenced, KafkaSettings, open_bus
from usp.io.ports import free_port

BROKERS = [pytest.param("embedded"), pytest.param("kafka", marks=pytest.mark.kafka)]
BUSES = ["memory, exactly once", "memory, at least once", *BROKERS]
World = Any
PATIENCE_S = 20.0


def world_of(name: str, request: pytest.FixtureRequest) -> World:
    """A world by its name, starting its broker if it needs one."""
    if name.startswith("memory"):
        return MemoryWorld("exactly_once" if "exactly" in name else "at_least_once")
    return BrokerWorld(request.getfixturevalue(f"{name}_broker"))


@pytest.fixture(params=BUSES)
def world(request: pytest.FixtureRequest) -> Generator[World]:
    """Each of the buses."""
    made = world_of(request.param, request)
    yield made
    made.close()


@pytest.fixture(params=BROKERS)
def broker_world(request: pytest.FixtureRequest) -> Generator[BrokerWorld]:
    """Those with a broker."""
    made = world_of(request.param, request)
    yield made
    made.close()


@pytest.fixture
def kafka_world(request: pytest.FixtureRequest) -> Generator[BrokerWorld]:
    """Apache Kafka alone."""
    made = world_of("kafka", request)
    yield made
    made.close()


def fill(world: World, count: int, partition: int = 0, first: int = 0) -> None:
    """Numbered records into a partition of the source."""
    world.publish([Outgoing(world.source.name, partition, b"k", b"%d" % n) for n in range(first, first + count)])


def started(bus: Bus, positions: dict[Partition, int] | None = None) -> Bus:
    """The bus, once it has a partition and reads: from these positions, else where the group stands."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        assigned = bus.poll(100, 0.1).assigned
        for partition in assigned:
            bus.start(partition, (positions or {}).get(partition, bus.committed(partition) or 0))
        if assigned:
            return bus
    raise AssertionError("no partition was assigned")


def take(bus: Bus, count: int, most: int = 2000) -> list[RawRecord]:
    """The next records; fails if they do not come."""
    found: list[RawRecord] = []
    end = time.monotonic() + PATIENCE_S
    while len(found) < count and time.monotonic() < end:
        found += bus.poll(most, 0.2).records
    assert len(found) == count
    return found


def values(records: Iterable[RawRecord]) -> list[bytes | None]:
    """What the records hold."""
    return [record.value for record in records]


def numbers(first: int, stop: int) -> list[bytes]:
    """The values of `fill`."""
    return [b"%d" % n for n in range(first, stop)]


def to_target(world: World, *found: bytes, partition: int | None = 0) -> list[Outgoing]:
    """Records for the target topic."""
    return [Outgoing(world.target.name, partition, b"k", value) for value in found]


def test_records_come_in_the_order_of_their_partition(world: World) -> None:
    """Each partition is delivered in offset order, whatever the others do."""
    for block in range(0, 300, 50):
        fill(world, 50, 0, block)
        fill(world, 50, 1, block)
    found = take(started(world.open()), 600)
    for number in (0, 1):
        own = [record for record in found if record.partition.number == number]
        assert values(own) == numbers(0, 300)
        assert [record.offset for record in own] == list(range(300))


def test_an_assigned_partition_waits_for_its_start(world: World) -> None:
    """Nothing is delivered before `start`, and then from the offset that it named."""
    fill(world, 10)
    bus = world.open()
    assigned: list[Partition] = []
    end = time.monotonic() + PATIENCE_S
    while len(assigned) < world.source.partitions and time.monotonic() < end:
        polled = bus.poll(100, 0.1)
        assigned += polled.assigned
        assert not polled.records
    assert not bus.poll(100, 0.3).records
    for partition in assigned:
        bus.start(partition, 7 if partition.number == 0 else 0)
    assert values(take(bus, 3)) == numbers(7, 10)


def test_a_start_at_the_end_brings_nothing_from_before(world: World) -> None:
    """However often a process starts: a client may have the past in its hands, and a stage must not see it again."""
    fill(world, 2000)
    end = {
        Partition(world.source.name, number): 2000 if number == 0 else 0 for number in range(world.source.partitions)
    }
    for turn in range(4):
        bus = started(world.open(), end)
        fill(world, 3, first=2000 + 3 * turn)
        assert values(take(bus, 3)) == numbers(2000 + 3 * turn, 2003 + 3 * turn)
        end[Partition(world.source.name, 0)] += 3
        bus.close(5.0)


def test_a_poll_brings_no_more_than_asked_for(world: World) -> None:
    """`max_records` bounds a batch; what is left comes next."""
    fill(world, 10)
    bus = started(world.open())
    batches: list[list[RawRecord]] = []
    while sum(map(len, batches)) < 10:
        batches.append(list(bus.poll(3, 0.2).records))
    assert max(map(len, batches)) <= 3
    assert values(record for batch in batches for record in batch) == numbers(0, 10)
    fill(world, 2, first=10)
    assert values(take(bus, 2, most=1)) == numbers(10, 12)


def test_a_lonely_record_does_not_wait_for_company(broker_world: BrokerWorld) -> None:
    """A poll returns as soon as there is anything, not when the batch or the time is full."""
    bus = started(broker_world.open())
    bus.poll(10, 0.5)
    fill(broker_world, 1)
    asked = time.monotonic()
    assert values(bus.poll(2000, 10.0).records) == [b"0"]
    assert time.monotonic() - asked < 2.0


def test_an_idle_poll_returns_in_time(broker_world: BrokerWorld) -> None:
    """Without records a poll takes its timeout and no longer."""
    bus = started(broker_world.open())
    asked = time.monotonic()
    assert bus.poll(2000, 0.3).records == []
    assert 0.2 < time.monotonic() - asked < 2.0


def test_a_commit_publishes_and_moves_the_offsets(world: World) -> None:
    """After `commit` readers see the records, in order, and the group stands where it was told."""
    fill(world, 5)
    bus = started(world.open())
    take(bus, 5)
    first = Partition(world.source.name, 0)
    bus.commit(to_target(world, b"a", b"b"), {first: 3})
    bus.commit(to_target(world, b"c"), {first: 5})
    bus.commit([], {Partition(world.source.name, 1): 0})
    bus.commit([], {})
    assert values(world.seen(world.target)[0]) == [b"a", b"b", b"c"]
    assert bus.committed(first) == 5


def test_a_group_that_never_committed_has_no_offset(world: World) -> None:
    """None is told from 0: the first is a new group."""
    bus = world.open()
    assert bus.committed(Partition(world.source.name, 0)) is None
    bus = started(bus)
    bus.commit([], {Partition(world.source.name, 0): 0})
    assert bus.committed(Partition(world.source.name, 0)) == 0


def test_a_restart_goes_on_at_the_commit(world: World) -> None:
    """The next process of the same name reads what was not committed, and nothing else."""
    fill(world, 6)
    bus = started(world.open())
    take(bus, 6)
    bus.commit([], {Partition(world.source.name, 0): 4})
    bus.close(5.0)
    assert values(take(started(world.open()), 2)) == numbers(4, 6)


def test_a_restart_after_a_crash_goes_on_at_the_commit(world: World) -> None:
    """So does one that follows a process which never closed its bus."""
    fill(world, 6)
    bus = started(world.open())
    take(bus, 6)
    bus.commit([], {Partition(world.source.name, 0): 4})
    assert values(take(started(world.open()), 2)) == numbers(4, 6)


def test_a_commit_is_both_halves_or_not_at_all(world: World) -> None:
    """A process that dies in a commit leaves neither half; at least once, it never leaves the offsets alone."""
    fill(world, 4)
    first = Partition(world.source.name, 0)
    bus = started(world.open())
    take(bus, 4)
    bus.commit(to_target(world, b"whole"), {first: 2})
    world.die_in_commit(bus, to_target(world, b"half"), {first: 4})
    heir = world.open()
    assert heir.committed(first) == 2
    left = {"exactly_once": [b"whole"], "at_least_once": [b"whole", b"half"]}
    assert values(world.seen(world.target)[0]) == left[heir.delivery]
    assert values(take(started(heir), 2)) == numbers(2, 4)
    heir.commit(to_target(world, b"again"), {first: 4})
    assert values(world.seen(world.target)[0]) == [*left[heir.delivery], b"again"]


def test_a_refused_record_stops_the_offsets(broker_world: BrokerWorld) -> None:
    """A commit with a record that cannot be published raises, and the group stays where it was."""
    fill(broker_world, 1)
    first = Partition(broker_world.source.name, 0)
    bus = started(broker_world.open())
    take(bus, 1)
    bus.commit([], {first: 0})
    with pytest.raises(BusUnavailable):
        bus.commit([*to_target(broker_world, b"x"), Outgoing(broker_world.target.name, 99, b"k", b"y")], {first: 1})
    assert broker_world.open().committed(first) == 0


def test_records_keep_their_key_value_and_headers(world: World) -> None:
    """Null is told from empty, headers keep their order and repeats, and the broker stamps a time."""
    headers = (("trace", b"\x00\xff"), ("empty", b""), ("trace", b"again"))
    sent = [
        Outgoing(world.source.name, 0, None, b"no key"),
        Outgoing(world.source.name, 0, b"", b"empty key"),
        Outgoing(world.source.name, 0, b"tombstone", None),
        Outgoing(world.source.name, 0, b"\xff\x00", b"", headers),
    ]
    world.publish(sent)
    bus = started(world.open())
    found = take(bus, 4)
    bus.commit([Outgoing(world.target.name, 1, r.key, r.value, r.headers) for r in found], {})
    for records in (found, world.seen(world.target)[1]):
        assert [(r.key, r.value, r.headers) for r in records] == [(s.key, s.value, s.headers) for s in sent]
        assert all(record.timestamp_ns > 1_600_000_000 * 10**9 for record in records)


def test_a_key_chooses_its_partition(world: World) -> None:
    """Without a partition, equal keys go to one place and different keys to several."""
    bus = started(world.open())
    keys = [b"%d" % n for n in range(20)]
    bus.commit([Outgoing(world.target.name, None, key, b"v") for key in keys * 2], {})
    seen = world.seen(world.target).items()
    places = {key: [n for n, records in seen for record in records if record.key == key] for key in keys}
    assert all(len(found) == 2 and found[0] == found[1] for found in places.values())
    assert len({found[0] for found in places.values()}) > 1


def test_bounds_enclose_the_log(world: World) -> None:
    """An empty partition ends where it begins; otherwise the end is behind the last record."""
    bus = started(world.open())
    assert bus.bounds(Partition(world.source.name, 1)) == (0, 0)
    fill(world, 3)
    fill(world, 4, first=3)
    assert bus.bounds(Partition(world.source.name, 0)) == (0, 7)


def test_bounds_do_not_wait_for_records(broker_world: BrokerWorld) -> None:
    """They are told at once, although the broker holds a fetch back until it has gathered records for long."""
    bus = started(broker_world.open(gather_s=5.0))
    bus.poll(1, 0.5)
    begun_s = time.monotonic()
    found = [bus.bounds(Partition(broker_world.source.name, 0)) for _ in range(4)]
    assert found == [(0, 0)] * 4
    assert time.monotonic() - begun_s < 4.0


def test_a_range_can_be_read_again(world: World) -> None:
    """`read` gives exactly [start, stop), outside the group, and moves nothing."""
    fill(world, 50)
    bus = started(world.open())
    take(bus, 50)
    bus.commit([], {Partition(world.source.name, 0): 20})
    where = Partition(world.source.name, 0)
    for start, stop in ((0, 50), (10, 20), (49, 50), (0, 1)):
        batches = list(bus.read(where, start, stop))
        assert values(record for batch in batches for record in batch) == numbers(start, stop)
        assert all(batches)
    assert list(bus.read(where, 7, 7)) == []
    assert bus.committed(where) == 20


def test_a_range_with_gaps_can_be_read(world: World) -> None:
    """Offsets need not follow each other: the markers of transactions lie between them, at either end too."""
    bus = started(world.open())
    for n in range(10):
        bus.commit(to_target(world, b"%d" % n), {})
    where = Partition(world.target.name, 0)
    _, end = bus.bounds(where)
    offsets = {record.offset: record.value for record in world.seen(world.target)[0]}
    assert list(offsets.values()) == numbers(0, 10)
    for start in range(end + 1):
        for stop in {start, start + 1, end}:
            found = [record for batch in bus.read(where, start, stop) for record in batch]
            assert values(found) == [value for offset, value in offsets.items() if start <= offset < stop]


def test_a_log_made_anew_has_another_name(broker_world: BrokerWorld) -> None:
    """State of a topic that was deleted must not be taken for the state of its successor."""
    source = broker_world.source.name
    name = broker_world.open().log_id(source)
    assert broker_world.open().log_id(source) == name != broker_world.open().log_id(broker_world.target.name)
    broker_world.recreate_source()
    assert broker_world.open().log_id(source) != name


def test_closing_has_a_deadline(broker_world: BrokerWorld) -> None:
    """`close` returns in time though the broker is frozen, with records of the last commit under way."""
    bus = started(broker_world.open())
    bus.commit(to_target(broker_world, b"x"), {Partition(broker_world.source.name, 0): 0})
    os.kill(broker_world.broker.process.pid, signal.SIGSTOP)
    try:
        asked = time.monotonic()
        bus.close(1.0)
        assert time.monotonic() - asked < 3.0
    finally:
        os.kill(broker_world.broker.process.pid, signal.SIGCONT)


def test_a_commit_has_a_deadline(broker_world: BrokerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that the broker does not answer raises in time, so that the process can end."""
    monkeypatch.setattr("usp.io.kafka.COMMIT_TIMEOUT_S", 1.0)
    monkeypatch.setattr("usp.io.kafka.ABORT_TIMEOUT_S", 0.5)
    broker_world.settings = replace(broker_world.settings, transaction_timeout_ms=2_000)
    bus = started(broker_world.open())
    bus.commit(to_target(broker_world, b"x"), {})
    os.kill(broker_world.broker.process.pid, signal.SIGSTOP)
    try:
        asked = time.monotonic()
        with pytest.raises(BusUnavailable):
            bus.commit(to_target(broker_world, b"y"), {Partition(broker_world.source.name, 0): 0})
        assert time.monotonic() - asked < 5.0
    finally:
        os.kill(broker_world.broker.process.pid, signal.SIGCONT)


@pytest.mark.parametrize("polls", range(4))
def test_closing_while_the_group_moves_partitions(broker_world: BrokerWorld, polls: int) -> None:
    """`close` returns in time though the group has just spoken, and though the topic has gone."""
    buses = [broker_world.open(str(n)) for n in range(2)]
    for _ in range(polls):
        for bus in buses:
            bus.poll(10, 0.02)
    time.sleep(0.3)
    if polls % 2:
        broker_world.recreate_source()
    for bus in buses:
        asked = time.monotonic()
        bus.close(5.0)
        bus.close(5.0)
        assert time.monotonic() - asked < 3.0


def test_a_broker_that_is_away_is_told_within_the_deadline() -> None:
    """Opening a bus on a port where nothing listens says so, says where, and what to do."""
    servers = f"127.0.0.1:{free_port()}"
    for delivery in ("exactly_once", "at_least_once"):
        asked = time.monotonic()
        with pytest.raises(BusUnavailable, match=rf"{servers}.*expected a Kafka broker.*usp up"):
            open_bus(KafkaSettings(servers, "g", "i", ("t",), delivery, start_deadline_s=1.0))
        assert time.monotonic() - asked < 5.0


def test_missing_topics_are_told(broker_world: BrokerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a bus on topics that nobody made, or made with another count, says what to do."""
    monkeypatch.setattr("usp.io.kafka_client.TOPICS_APPEAR_S", 0.3)
    own = broker_world.settings
    with pytest.raises(BusUnavailable, match=r"no topic nowhere.*usp topics --create"):
        open_bus(KafkaSettings(own.bootstrap_servers, "g", "i", ("nowhere",), own.delivery))
    with pytest.raises(BusUnavailable, match=r"found 2 partitions .* expected 8"):
        open_bus(KafkaSettings(own.bootstrap_servers, "g", "i", own.topics, own.delivery, {own.topics[0]: 8}))


@pytest.mark.kafka
def test_a_newer_process_of_the_same_name_fences_the_older(kafka_world: BrokerWorld) -> None:
    """The zombie's commit fails, nobody sees its records, and the offsets are the heir's."""
    fill(kafka_world, 4)
    first = Partition(kafka_world.source.name, 0)
    zombie = started(kafka_world.open())
    take(zombie, 4)
    heir = started(kafka_world.open())
    take(heir, 4)
    heir.commit(to_target(kafka_world, b"heir"), {first: 2})
    with pytest.raises(Fenced, match="another one has taken its place"):
        zombie.commit(to_target(kafka_world, b"zombie"), {first: 4})
    heir.commit(to_target(kafka_world, b"heir"), {first: 3})
    assert values(kafka_world.seen(kafka_world.target)[0]) == [b"heir", b"heir"]
    assert heir.committed(first) == 3


@pytest.mark.kafka
def test_a_zombie_in_the_middle_of_a_transaction_is_fenced(kafka_world: BrokerWorld) -> None:
    """What it had sent before its heir came is aborted, and cannot be committed any more."""
    first = Partition(kafka_world.source.name, 0)
    zombie: Any = started(kafka_world.open())
    kafka_world.die_in_commit(zombie, to_target(kafka_world, b"zombie"), {first: 4})
    heir = kafka_world.open()
    with pytest.raises(Exception, match=r"(?i)fenced"):
        zombie.producer.commit_transaction(10.0)
    assert kafka_world.seen(kafka_world.target)[0] == []
    assert heir.committed(first) is None


@pytest.mark.kafka
def test_an_open_transaction_hides_what_follows(kafka_world: BrokerWorld) -> None:
    """Polls, bounds and replays end before it; its end brings everything."""
    fill(kafka_world, 2)
    bus = started(kafka_world.open())
    take(bus, 2)
    writer: Producer = kafka_world.producer(**{"transactional.id": kafka_world.source.name})
    writer.init_transactions(10)
    writer.begin_transaction()
    writer.produce(kafka_world.source.name, partition=0, value=b"open")
    writer.flush(10)
    fill(kafka_world, 1, first=2)
    where = Partition(kafka_world.source.name, 0)
    assert bus.poll(100, 0.5).records == []
    assert bus.bounds(where) == (0, 2)
    assert values(r for batch in bus.read(where, 0, 4) for r in batch) == numbers(0, 2)
    writer.commit_transaction(10)
    assert values(take(bus, 2)) == [b"open", b"2"]


@pytest.mark.kafka
def test_two_processes_share_the_partitions(kafka_world: BrokerWorld) -> None:
    """While a second one joins and takes its share, each record is still handled once."""
    buses = [started(kafka_world.open("a"))]
    sent, end = 0, time.monotonic() + PATIENCE_S
    while sent < 200 or (not all(bus.consumer.assignment() for bus in buses) and time.monotonic() < end):
        fill(kafka_world, 5, sent // 5 % 2, sent)
        sent += 5
        if sent == 100:
            buses.append(kafka_world.open("b"))
        for bus in buses:
            copy_some(kafka_world, bus)
    assert all(bus.consumer.assignment() for bus in buses)
    fill(kafka_world, 5, sent // 5 % 2, sent)
    while sum(map(len, kafka_world.seen(kafka_world.target).values())) < sent + 5 and time.monotonic() < end:
        for bus in buses:
            copy_some(kafka_world, bus)
    found = kafka_world.seen(kafka_world.target)
    for number in (0, 1):
        assert values(found[number]) == [b"%d" % n for n in range(sent + 5) if n // 5 % 2 == number]


class OldProofs:
    """A consumer whose proof of membership is of an earlier generation, so many times."""

    def __init__(self, consumer: Any, times: int) -> None:
        self.consumer = consumer
        self.proof = consumer.consumer_group_metadata()
        self.times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self.consumer, name)

    def consumer_group_metadata(self) -> Any:
        """See `Consumer.consumer_group_metadata`."""
        self.times -= 1
        return self.proof if self.times >= 0 else self.consumer.consumer_group_metadata()


@pytest.mark.kafka
@pytest.mark.parametrize("times", [1, 99])
def test_a_new_generation_in_the_middle_of_a_commit(kafka_world: BrokerWorld, times: int) -> None:
    """Who is still a member commits all the same, once; who cannot prove it commits nothing."""
    own = started(kafka_world.open("a"))
    old: Any = OldProofs(own.consumer, times)
    other = kafka_world.open("b")
    end = time.monotonic() + PATIENCE_S
    while not other.poll(1, 0.05).assigned and time.monotonic() < end:
        own.poll(1, 0.05)
    kept = Partition(*next((p.topic, p.partition) for p in own.consumer.assignment()))
    own.consumer = old
    if times == 1:
        own.commit(to_target(kafka_world, b"once"), {kept: 0})
    else:
        with pytest.raises(Fenced, match="ILLEGAL_GENERATION"):
            own.commit(to_target(kafka_world, b"never"), {kept: 0})
    assert values(kafka_world.seen(kafka_world.target)[0]) == ([b"once"] if times == 1 else [])


def copy_some(world: BrokerWorld, bus: Bus) -> None:
    """One round of a stage that copies."""
    polled = bus.poll(7, 0.05)
    for partition in polled.assigned:
        bus.start(partition, bus.committed(partition) or 0)
    if polled.records:
        ends = {record.partition: record.offset + 1 for record in polled.records}
        bus.commit([Outgoing(world.target.name, r.partition.number, r.key, r.value) for r in polled.records], ends)
