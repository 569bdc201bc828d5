# SPDX-License-Identifier: MIT
"""The Confluent wire format: consumers that use a registry read what the pipeline writes, and the other way round."""

import json
import os
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import fastavro
import pytest
from confluent_kafka.admin import AdminClient

from harness import MemoryBroker, MemoryBus, MemorySnapshots, no_effects
from registry_server import Registry, serving
from usp.config.model import packaged_defaults
from usp.io import registry as module
from usp.io.avro import Undecodable, decode, encode
from usp.io.bus import Outgoing, Partition
from usp.io.local_broker import LocalBroker
from usp.io.metrics import Meter
from usp.io.ports import free_port
from usp.io.reader import TopicReader
from usp.io.registry import RegistryUnavailable, open_wire
from usp.io.topics import ensure_topics
from usp.io.wire import SINGLE_OBJECT, FramingBus, framed
from usp.schemas import schema_of
from usp.schemas.records import RECORDS, SnapshotChunk, Tick, ValidatedTick
from usp.stages import topology
from usp.stages.publisher import tick_producer
from usp.stages.recovery import SnapshotCadence
from usp.stages.runner import Runner, World

TICK = Tick(
    symbol="AAA", venue="X", kind="trade", price=101.5, size=None, bid=None, ask=None, sequence=1,
    ts_event_ns=1_700_000_000_000_000_000, ts_publish_ns=1_700_000_000_000_000_000, producer_id="test",
)  # fmt: skip


@pytest.fixture
def registry(monkeypatch):
    """A registry that answers; a client that does not wait long for one that is away."""
    monkeypatch.setattr(module, "PAUSES_S", (0.0, 0.0, 0.0))
    with serving(Registry()) as served:
        yield served


def as_others_read(registry: Registry, value: bytes) -> dict:
    """What a consumer makes of it that knows the registry alone."""
    assert 0 == value[0]
    schema = json.loads(registry.schemas[int.from_bytes(value[1:5], "big") - registry.first_id])
    return fastavro.schemaless_reader(BytesIO(value[5:]), schema, None)


def as_others_write(registry: Registry, record) -> bytes:
    """What a producer sends that has registered the schema itself, without docs and under the topic's name."""
    bare = json.loads(json.dumps(schema_of(type(record)).json), object_hook=lambda o: {**o, "doc": "theirs"})
    number = registry.register("market.ticks.v1-value", json.dumps(bare))
    return b"\x00" + number.to_bytes(4, "big") + encode(record)[10:]


def test_without_an_address_nothing_changes():
    """Single-object encoding is the default, and costs nothing: the bus is the bus itself."""
    bus = MemoryBus(MemoryBroker(), "g", [topology.MARKET_TICKS])
    assert SINGLE_OBJECT is open_wire("")
    assert bus is framed(bus, open_wire(""))
    assert encode(TICK) == SINGLE_OBJECT.inward(SINGLE_OBJECT.outward(encode(TICK)))


def test_every_record_type_is_registered_under_its_full_name(registry):
    """RecordNameStrategy: topics carry several types; a second start registers nothing."""
    open_wire(registry.url)
    assert {f"usp.{record.__name__}" for record in RECORDS} == registry.subjects.keys()
    registry.requests.clear()
    open_wire(registry.url)
    assert [] == [request for request in registry.requests if request.endswith("/versions")]


def test_what_leaves_is_read_by_who_knows_the_registry(registry):
    """Magic byte, id, body."""
    assert TICK.__dict__ == as_others_read(registry, open_wire(registry.url).outward(encode(TICK)))


def test_what_others_write_is_read(registry):
    """A schema with other docs under another subject has another id and the same meaning; it is asked for once."""
    wire = open_wire(registry.url)
    value = as_others_write(registry, TICK)
    registry.requests.clear()
    assert [TICK, TICK] == [decode(wire.inward(value)) for _ in range(2)]
    assert 1 == len(registry.requests)


@pytest.mark.parametrize(
    "value", [None, b"", b"\x00", b"\x00\x00\x00", b"garbage", encode(TICK), b"\xc3\x01" + 30 * b"x"]
)
def test_what_is_not_framed_passes_as_it_is(registry, value):
    """Tombstones, garbage and single-object records keep their bytes: what they are is decided behind the edge."""
    wire = open_wire(registry.url)
    assert value == wire.inward(value)
    assert value is None or value[:2] == b"\xc3\x01" or value == wire.outward(value)


def test_an_id_that_nobody_registered_is_a_dead_letter(registry):
    """It is asked for once; the bytes stay as they came."""
    wire = open_wire(registry.url)
    value = b"\x00\x00\x00\xff\xff" + encode(TICK)[10:]
    registry.requests.clear()
    assert [value, value] == [wire.inward(value), wire.inward(value)]
    assert 1 == len(registry.requests)
    assert isinstance(decode(value), Undecodable)


@pytest.mark.parametrize(
    "text", ["no json", '{"type": "nonsense"}', '"string"', '{"type":"record","name":"A","fields":[]}']
)
def test_a_foreign_schema_is_nobodys_record(registry, text):
    """A schema that is not Avro, or not one of this build's, never becomes a record."""
    wire = open_wire(registry.url)
    number = registry.register("theirs", text)
    found = decode(wire.inward(b"\x00" + number.to_bytes(4, "big") + encode(TICK)[10:]))
    assert isinstance(found, Undecodable)


def test_a_registry_that_is_away_ends_the_process(registry):
    """It must not decide what a record is."""
    wire = open_wire(registry.url)
    registry.refuse += [503, 500, 429]
    with pytest.raises(RegistryUnavailable, match="USP_SCHEMA_REGISTRY_URL"):
        wire.inward(as_others_write(registry, TICK))


def test_a_busy_registry_is_asked_again(registry):
    """A restart of the registry is no incident."""
    registry.refuse += [503, 500]
    assert open_wire(registry.url).outward(encode(TICK)).startswith(b"\x00")


@pytest.mark.parametrize(("status", "advice"), [(403, "right"), (409, "compatible"), (422, "expected success")])
def test_a_refusal_is_told_with_the_registrys_words(registry, status, advice):
    """Found, expected, what to do."""
    registry.refuse += [404, status]
    with pytest.raises(RegistryUnavailable, match=f"status {status} .as planned.*{advice}"):
        open_wire(registry.url)


def test_credentials_are_sent_and_never_shown(registry):
    """They stand before the host, as usual; errors leave them out."""
    registry.password = "us er:hunter2"
    right = registry.url.replace("//", "//us%20er:hunter2@")
    assert open_wire(right).outward(encode(TICK)).startswith(b"\x00")
    with pytest.raises(RegistryUnavailable, match="401") as fault:
        open_wire(right.replace("hunter2", "hunter3"))
    assert "hunter" not in str(fault.value)


@pytest.mark.parametrize("url", ["ftp://registry", "registry:8081", "http://", "file:///etc/passwd"])
def test_another_kind_of_address_is_refused(url):
    """No file is read, nothing is asked."""
    with pytest.raises(RegistryUnavailable, match="http"):
        open_wire(url)


def test_nobody_there_is_told(monkeypatch):
    """With the address, and what to do."""
    monkeypatch.setattr(module, "PAUSES_S", (0.0,))
    with pytest.raises(RegistryUnavailable, match=r"127\.0\.0\.1.*start it"):
        open_wire(f"http://127.0.0.1:{free_port()}")


def test_a_stage_speaks_it_on_every_topic_and_in_replay(registry):
    """Ingest reads foreign ticks, writes framed verdicts and snapshots, and restores from them."""
    wire, broker = open_wire(registry.url), MemoryBroker()
    stage = topology.stage("ingest")

    def fresh() -> Runner:
        bus = FramingBus(MemoryBus(broker, "ingest", stage.consumes), wire)
        world = World(
            bus, Snapshots(broker), no_effects, lambda: broker.now_ns, Meter("ingest"), "f", SnapshotCadence(1, 10**18)
        )
        return Runner(stage, packaged_defaults(), world)

    class Snapshots(MemorySnapshots):
        """The chunks as the snapshotter would see them."""

        def newest(self, *arguments):
            seen = MemoryBroker()
            for record in broker.log(Partition(topology.SNAPSHOTS.name, 0)):
                seen.append(Outgoing(topology.SNAPSHOTS.name, 0, record.key, wire.inward(record.value)))
            return MemorySnapshots(seen).newest(*arguments)

    sent = [encode(Tick(**TICK.__dict__ | {"sequence": n, "ts_event_ns": TICK.ts_event_ns + n})) for n in range(3)]
    for n, value in enumerate([wire.outward(v) for v in sent] + [as_others_write(registry, TICK), b"\x00garbage"]):
        broker.append(Outgoing(topology.MARKET_TICKS.name, 0, b"AAA", value))
        runner = fresh()
        while runner.turn():
            pass
        assert n + 1 == broker.offsets["ingest", Partition(topology.MARKET_TICKS.name, 0)]
    written = [r.value for topic in topology.TOPICS[1:] for n in range(topic.partitions)
               for r in broker.log(Partition(topic.name, n))]  # fmt: skip
    assert {0} == {value[0] for value in written}
    kinds = {type(decode(wire.inward(value))) for value in written}
    assert {ValidatedTick, SnapshotChunk} <= kinds
    validated = broker.log(Partition(topology.VALIDATED.name, 0))
    assert [0, 1, 2] == [as_others_read(registry, record.value)["sequence"] for record in validated]


@pytest.mark.kafka
@pytest.mark.system
def test_a_process_over_a_real_broker_speaks_it(kafka_broker: LocalBroker, registry, tmp_path: Path):
    """`usp run ingest` with a registry: what a reader finds on the broker begins with the magic byte."""
    servers = kafka_broker.bootstrap_servers
    ensure_topics(AdminClient({"bootstrap.servers": servers, "log_level": 0}), topology.specs())
    wire = open_wire(registry.url)
    environ = os.environ | {
        "USP_BUS__BOOTSTRAP_SERVERS": servers, "USP_SCHEMA_REGISTRY_URL": registry.url,
        "USP_BUS__GROUP_PREFIX": "registry", "USP_PATHS__DATA_DIR": str(tmp_path),
    }  # fmt: skip
    raw = TopicReader(servers, [topology.VALIDATED.name], from_start=False)
    with (tmp_path / "ingest.log").open("wb") as log:
        command = [sys.executable, "-m", "usp.stages.cli", "run", "ingest"]
        stage = subprocess.Popen(command, env=environ, cwd=tmp_path, stderr=log)
    try:
        producer = tick_producer(servers, {}, wire)
        now_ns = time.time_ns()
        tick = Tick(**TICK.__dict__ | {"symbol": "REGISTRY", "ts_event_ns": now_ns, "ts_publish_ns": now_ns})
        producer.produce(topology.MARKET_TICKS.name, key="REGISTRY", value=encode(tick))
        assert 0 == producer.flush(10)
        found, end = [], time.monotonic() + 60
        while not found and time.monotonic() < end:
            assert stage.poll() is None, (tmp_path / "ingest.log").read_text()
            found = [record for record in raw.read() if record.raw.key == b"REGISTRY"]
        assert "REGISTRY" == as_others_read(registry, found[0].raw.value)["symbol"]
        assert isinstance(decode(wire.inward(found[0].raw.value)), ValidatedTick)
    finally:
        raw.close()
        stage.terminate()
        stage.wait(30)
