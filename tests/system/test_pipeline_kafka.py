# SPDX-License-Identifier: MIT
"""The five real processes over a real Apache Kafka and Redis: what goes in comes out once, whoever dies.

What is checked is what a reader of the topics sees; the readers here are plain `read_committed` consumers.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from rich.console import Console

from usp.config.settings import load_settings
from usp.io.avro import decode, encode
from usp.io.bus import Partition
from usp.io.local_broker import LocalBroker
from usp.io.ports import free_port
from usp.schemas import schema_of
from usp.schemas.records import Alert, DeadLetter, Prediction, Tick
from usp.stages import topology
from usp.stages.commands.demo import local_pipeline
from usp.stages.contract import Record, Topic
from usp.stages.fingerprint import prepare_jax
from usp.stages.library import Predictor
from usp.stages.publisher import tick_producer
from usp.stages.supervisor import Supervisor

pytestmark = [pytest.mark.kafka, pytest.mark.system, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "var" / "cache" / "xla"
PATIENCE_S = 90.0


@dataclass
class Pipeline:
    """A running pipeline, and a market that publishes to it."""

    servers: str
    supervisor: Supervisor
    prices: dict[str, float] = field(default_factory=dict[str, float])
    numbers: Counter[str] = field(default_factory=Counter[str])

    def __post_init__(self) -> None:
        self.producer: Producer = tick_producer(self.servers, {})
        self.generator = np.random.default_rng(11)

    def tick(self, symbol: str, **changes: Any) -> Tick:
        """The next tick of a numbered random walk."""
        price = self.prices.get(symbol, 100.0) + 0.01 + 0.05 * float(self.generator.standard_normal())
        self.prices[symbol] = price
        self.numbers[symbol] += 1
        now_ns = time.time_ns()
        values: dict[str, Any] = {
            "symbol": symbol, "venue": "t", "kind": "trade", "price": price, "size": 1.0, "bid": None, "ask": None,
            "sequence": self.numbers[symbol], "ts_event_ns": now_ns, "ts_publish_ns": now_ns, "producer_id": "test",
        }  # fmt: skip
        return Tick(**(values | changes))

    def publish(self, symbols: Iterable[str], count: int, rate_per_s: float = 1000.0) -> None:
        """So many ticks of each symbol, in turn; dead stages are restarted meanwhile."""
        for _ in range(count):
            for symbol in symbols:
                self.send(symbol.encode(), encode(self.tick(symbol)))
                time.sleep(1.0 / rate_per_s)
            self.supervisor.watch()
        assert self.producer.flush(20) == 0

    def send(self, key: bytes | None, value: bytes | None) -> None:
        """Any bytes."""
        self.producer.produce(topology.MARKET_TICKS.name, key=key, value=value, on_delivery=delivered)
        self.producer.poll(0)

    def wait(self, done: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
        """Until it is so, restarting what has died, as its supervisor does."""
        end = time.monotonic() + patience_s
        while not done():
            assert time.monotonic() < end, f"not within {patience_s:.0f} s: {what}"
            self.supervisor.watch()
            time.sleep(0.2)

    def log(self, topic: Topic) -> list[Record]:
        """Every committed record of a topic, partition after partition."""
        return read_log(self.servers, topic)

    def values(self, topic: Topic, symbols: Iterable[str]) -> list[Any]:
        """The decoded records of some symbols."""
        wanted = set(symbols)
        return [r.value for r in self.log(topic) if getattr(r.value, "symbol", None) in wanted]


def delivered(fault: KafkaError | None, message: object) -> None:
    """Every record of these tests is one that the broker takes."""
    assert fault is None, f"{message}: {fault}"


def read_log(servers: str, topic: Topic) -> list[Record]:
    """What a read_committed reader finds from the first offset to the end."""
    reader = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "outside",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
            "auto.offset.reset": "error",
            "log_level": 0,
        }
    )
    reader.assign([TopicPartition(topic.name, n, 0) for n in range(topic.partitions)])
    found: dict[int, list[Record]] = {n: [] for n in range(topic.partitions)}
    ends = 0
    while ends < topic.partitions:
        for message in reader.consume(1000, 0.1):
            number = message.partition()
            if message.error() is not None:
                assert message.error().code() == KafkaError._PARTITION_EOF
                ends += 1
                continue
            where, raw = Partition(topic.name, number), message.value()
            stamp = message.timestamp()[1] * 1_000_000
            found[number].append(Record(where, message.offset(), message.key(), decode(raw), stamp, (), raw))
    reader.close()
    return [record for records in found.values() for record in records]


def origins(predictions: Iterable[Prediction]) -> list[tuple[int, int]]:
    """Where the ticks lay."""
    return [(p.origin_partition, p.origin_offset) for p in predictions]


@pytest.fixture(scope="module")
def pipeline(own_kafka_broker: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Generator[Pipeline]:
    """All stages, ready, supervised; stopped at the end within the deadline."""
    folder = tmp_path_factory.mktemp("pipeline")
    settings = load_settings(
        {
            "USP_BUS__BOOTSTRAP_SERVERS": own_kafka_broker.bootstrap_servers,
            "USP_PATHS__DATA_DIR": str(folder),
            "USP_PATHS__CACHE_DIR": str(CACHE),
        }
    )
    with local_pipeline(settings, folder, Console(quiet=True)) as (supervisor, servers, delivery):
        assert delivery == "exactly_once"
        yield Pipeline(servers, supervisor)


def test_numbered_ticks_come_out_exactly_once(pipeline: Pipeline) -> None:
    """One prediction per tick, each record id once, each symbol's in order, none lost or made up."""
    symbols = [f"CALM{n}" for n in range(6)]
    pipeline.publish(symbols, 60)
    pipeline.wait(lambda: len(pipeline.values(topology.PREDICTIONS, symbols)) >= 360, "360 predictions")
    once(pipeline, symbols)
    assert len(pipeline.values(topology.PREDICTIONS, symbols)) == 360


def once(pipeline: Pipeline, symbols: list[str]) -> None:
    """Predictions and published ticks are one to one."""
    ticks = [(r.partition.number, r.offset, r.value.symbol) for r in pipeline.log(topology.MARKET_TICKS)
             if getattr(r.value, "symbol", None) in symbols]  # fmt: skip
    found: list[Prediction] = pipeline.values(topology.PREDICTIONS, symbols)
    assert Counter((p.origin_partition, p.origin_offset, p.symbol) for p in found) == Counter(ticks)
    assert len({p.record_id for p in found}) == len(found)
    for symbol in symbols:
        own = [p for p in found if p.symbol == symbol]
        assert origins(own) == sorted(origins(own))
        assert [p.state_step for p in own] == list(range(1, len(own) + 1))


def test_no_kill_loses_doubles_or_changes_a_prediction(pipeline: Pipeline) -> None:
    """Each stage is killed while ticks flow; readers see every prediction once, bit for bit as an undisturbed run."""
    symbols = [f"KILL{n}" for n in range(4)]
    generator = np.random.default_rng(5)
    for name in generator.permutation(list(topology.STAGES)):
        pipeline.publish(symbols, int(generator.integers(20, 60)), rate_per_s=200.0)
        os.kill(pipeline.supervisor.children[name].process.pid, signal.SIGKILL)
    pipeline.publish(symbols, 30, rate_per_s=200.0)
    total = sum(pipeline.numbers[symbol] for symbol in symbols)
    pipeline.wait(lambda: len(pipeline.values(topology.PREDICTIONS, symbols)) >= total, f"{total} predictions")
    pipeline.wait(lambda: all(pipeline.supervisor.ready().values()), "all stages ready")
    assert all(child.restarts >= 1 for child in pipeline.supervisor.children.values())
    once(pipeline, symbols)
    assert_same_bits(pipeline)


def assert_same_bits(pipeline: Pipeline, least: int = 40) -> None:
    """What one process computes from the recorded verdicts equals what was published, byte for byte."""
    prepare_jax(CACHE)
    records = pipeline.log(topology.VALIDATED)
    expected = {p.record_id: encode(p) for p in Predictor().predict(records)}
    published = {r.value.record_id: r.raw for r in pipeline.log(topology.PREDICTIONS)}
    assert len(expected) >= least
    assert expected == published


def bad_records(pipeline: Pipeline) -> list[tuple[str, bytes | None, bytes | None]]:
    """(reason, key, value) of input that no market-data team should send."""
    generator = np.random.default_rng(3)
    good = encode(pipeline.tick("BAD"))
    alert = Alert(event="x", severity="info", stage="x", symbol="BAD", origin_partition=None, origin_offset=None,
                  timestamp_ns=0, detail={})  # fmt: skip

    def tick(**changes: Any) -> bytes:
        return encode(pipeline.tick("BAD", **changes))

    def named(symbol: str) -> tuple[bytes, bytes]:
        return symbol.encode(), encode(pipeline.tick(symbol))

    return [
        ("tombstone", b"BAD", None),
        ("not_single_object", b"BAD", b""),
        ("not_single_object", None, b"\xff garbage \x00"),
        ("not_single_object", b"BAD", generator.bytes(1_048_450)),
        ("not_single_object", b"BAD", b"z" * 3_900_000),
        ("unknown_schema", b"BAD", good[:2] + b"\x01" * 8 + good[10:]),
        ("truncated_avro", b"BAD", good[:-9]),
        ("truncated_avro", b"BAD", good[:10]),
        ("truncated_avro", b"BAD", unknown_kind(good)),
        ("trailing_bytes", b"BAD", good + b"\x00"),
        ("unexpected_record", b"BAD", encode(alert)),
        ("non_finite_price", b"BAD", tick(price=float("nan"))),
        ("non_finite_price", b"BAD", tick(price=float("inf"))),
        ("non_finite_price", b"BAD", tick(price=float("-inf"))),
        ("non_positive_price", b"BAD", tick(price=-1.0)),
        ("non_positive_price", b"BAD", tick(price=0.0)),
        ("future_stamp", b"BAD", tick(ts_event_ns=2**63 - 1)),
        ("past_drift", b"BAD", tick(ts_event_ns=-(2**63))),
        ("past_drift", b"BAD", tick(ts_event_ns=0)),
        ("key_mismatch", b"OTHER", tick()),
        ("key_mismatch", None, tick()),
        ("empty_symbol", *named("")),
        ("oversized_symbol", *named("X" * 1_000_000)),
        ("oversized_symbol", *named("".join(chr(97 + int(n)) for n in generator.integers(0, 26, 500_000)))),
    ]


def unknown_kind(value: bytes) -> bytes:
    """The tick with a kind that the schema does not know: the byte behind the venue."""
    names = [f["name"] for f in schema_of(Tick).parsed["fields"]]
    assert names[:3] == ["symbol", "venue", "kind"]
    at = 10 + len(b"\x06BAD") + len(b"\x02t")
    return value[:at] + b"\x7e" + value[at + 1 :]


def test_bad_input_becomes_dead_letters_and_the_pipeline_goes_on(pipeline: Pipeline) -> None:
    """Each bad record lies in the rejected topic with its reason and its bytes; good ticks around it are predicted."""
    pipeline.publish(["BAD"], 5)
    restarts = {name: child.restarts for name, child in pipeline.supervisor.children.items()}
    before = len(pipeline.log(topology.REJECTED))
    sent = bad_records(pipeline)
    for _, key, value in sent:
        pipeline.send(key, value)
    pipeline.publish(["BAD", "GOOD"], 20)
    pipeline.wait(lambda: len(pipeline.log(topology.REJECTED)) >= before + len(sent), "dead letters")
    letters: list[DeadLetter] = [r.value for r in pipeline.log(topology.REJECTED)]
    refused = Counter((letter.reason, letter.key, letter.value) for letter in letters)
    assert all(refused[entry] == count for entry, count in Counter(sent).items()), short(refused, sent)
    assert len(letters) == before + len(sent)
    pipeline.wait(lambda: len(pipeline.values(topology.PREDICTIONS, ["GOOD"])) >= 20, "predictions of GOOD")
    pipeline.wait(lambda: len(pipeline.values(topology.PREDICTIONS, ["BAD"])) >= 25, "predictions of BAD")
    once(pipeline, ["GOOD"])
    assert {name: child.restarts for name, child in pipeline.supervisor.children.items()} == restarts
    assert [] == [r.value.detail for r in pipeline.log(topology.DEAD_LETTERS)]


def short(refused: Counter[Any], sent: list[Any]) -> str:
    """The difference, without megabytes."""
    keep = [(reason, str(value)[:40]) for reason, _, value in refused]
    return f"found {keep}; expected {[(reason, str(value)[:40]) for reason, _, value in sent]}"


def test_the_stages_stop_in_time(pipeline: Pipeline) -> None:
    """SIGTERM ends all five cleanly within 25 s, and a start behind it goes on without a gap."""
    guards = [child.process.guard for child in pipeline.supervisor.children.values()]
    ports = [child.port for child in pipeline.supervisor.children.values()]
    pids = [child.process.pid for child in pipeline.supervisor.children.values()]
    pipeline.publish(["STOP"], 20)
    asked = time.monotonic()
    for guard in guards:
        guard.terminate()
    codes = [guard.wait(30.0) for guard in guards]
    assert time.monotonic() - asked < 25.0
    assert codes == [0] * 5
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not [port for port in ports if is_listening(port)]
    pipeline.publish(["STOP"], 20)
    pipeline.wait(lambda: len(pipeline.values(topology.PREDICTIONS, ["STOP"])) >= 40, "predictions after the start")
    once(pipeline, ["STOP"])
    assert_same_bits(pipeline)


def test_the_fallback_broker_and_a_redis_that_is_away_suffice(tmp_path: Path) -> None:
    """Without transactions and without hints: every stage gets ready, and predictions come once per record id."""
    settings = load_settings(
        {
            "USP_BUS__BROKER": "embedded",
            "USP_REDIS__URL": f"redis://127.0.0.1:{free_port()}",
            "USP_PATHS__DATA_DIR": str(tmp_path),
            "USP_PATHS__CACHE_DIR": str(CACHE),
        }
    )
    symbols = ["ONE", "TWO"]
    with local_pipeline(settings, tmp_path, Console(quiet=True)) as (supervisor, servers, delivery):
        assert delivery == "at_least_once"
        pipeline = Pipeline(servers, supervisor)
        pipeline.publish(symbols, 40)
        os.kill(supervisor.children["orchestrator"].process.pid, signal.SIGKILL)
        pipeline.publish(symbols, 40)
        pipeline.wait(lambda: len({p.record_id for p in predicted(pipeline, symbols)}) >= 160, "160 predictions")
        pipeline.wait(lambda: all(supervisor.ready().values()), "all stages ready")
        found = {p.record_id: p for p in predicted(pipeline, symbols)}
        ticks = [(r.partition.number, r.offset) for r in pipeline.log(topology.MARKET_TICKS)]
        assert sorted(origins(found.values())) == sorted(ticks)
        assert all(child.restarts == (name == "orchestrator") for name, child in supervisor.children.items())
        assert_same_bits(pipeline, 160)


def predicted(pipeline: Pipeline, symbols: list[str]) -> list[Prediction]:
    """The predictions of these symbols, repeats included."""
    return pipeline.values(topology.PREDICTIONS, symbols)


def is_listening(port: int) -> bool:
    """Does anybody answer there?"""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def descendants(pid: int) -> set[int]:
    """Every process below this one."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found: set[int] = set()
    grown = {pid}
    while grown:
        grown = {child for child, parent in parents.items() if parent in grown} - found
        found |= grown
    return found


@pytest.mark.parametrize(
    ("seen", "numbers", "deadline_s"),
    [
        pytest.param("", [signal.SIGINT], 25.0, id="while a service starts"),
        pytest.param("starting the stages", [signal.SIGINT], 25.0, id="while the stages start"),
        pytest.param("all stages are ready", [signal.SIGINT], 25.0, id="while it runs"),
        pytest.param("all stages are ready", [signal.SIGINT] * 3, 35.0, id="while it runs, by somebody in a hurry"),
        pytest.param("all stages are ready", [signal.SIGTERM], 25.0, id="while it runs, by a service manager"),
    ],
)
def test_an_interrupted_demo_leaves_nothing_behind(
    seen: str, numbers: list[int], deadline_s: float, tmp_path: Path
) -> None:
    """Ctrl-C or SIGTERM at any moment: no process and no listening port is left, within 25 s.

    Pressing Ctrl-C again and again interrupts the orderly stop: the children's guards end them after their own 25 s.
    Who runs the tests in the background may have made them deaf to SIGINT, which children inherit.
    """
    environ = os.environ | {
        "USP_PATHS__DATA_DIR": str(tmp_path), "USP_PATHS__CACHE_DIR": str(CACHE), "OPENBLAS_NUM_THREADS": "1"
    }  # fmt: skip
    log = tmp_path / "demo.log"
    with log.open("wb") as output:
        demo = subprocess.Popen(
            ["env", "--default-signal=INT", sys.executable, "-m", "usp.stages.cli", "demo", "--seconds", "60"],
            cwd=ROOT, env=environ, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(lambda: has_come(seen, log, demo.pid, tmp_path), f"{seen}: {log}", demo)
        time.sleep(1.0)
        below = descendants(demo.pid)
        ports = [port for pid in below for port in listening(pid)]
        assert below
        asked = time.monotonic()
        for number in numbers:
            demo.send_signal(number)
            time.sleep(0.3)
        demo.wait(40.0)
        wait_for(lambda: not [pid for pid in below if is_alive(pid)], "no process left")
        assert time.monotonic() - asked < deadline_s
        assert not [port for port in ports if is_listening(port)]
        assert demo.returncode in (130, 143, -numbers[0])
        assert "Traceback" not in log.read_text()
    finally:
        for pid in {demo.pid, *descendants(demo.pid)}:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


def has_come(seen: str, log: Path, pid: int, folder: Path) -> bool:
    """Is the demo where it is to be interrupted? Stages are known by their logs, services by their process."""
    if seen == "starting the stages":
        return (folder / "demo" / "logs" / "ingest.log").exists()
    return seen in log.read_text() if seen else bool(descendants(pid))


def wait_for(done: Callable[[], bool], what: str, process: "subprocess.Popen[bytes] | None" = None) -> None:
    """Until it is so; fails when the process ends before."""
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, what
        assert process is None or process.poll() is None, what
        time.sleep(0.1)


def is_alive(pid: int) -> bool:
    """Does it run, and not only wait to be reaped?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def listening(pid: int) -> list[int]:
    """The TCP ports on which a process listens."""
    held = set()
    for handle in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            held.add(str(handle.readlink()))
        except OSError:
            continue
    rows = [
        line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return [int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in held]
