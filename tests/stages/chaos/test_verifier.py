# SPDX-License-Identifier: MIT
"""The independent witness finds every kind of damage, and nothing in a sound log."""

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import MemoryBroker, drain, runner_on
from usp.io.avro import decode, encode
from usp.io.bus import Outgoing, Partition, RawRecord
from usp.io.simulation_spec import SimulationSpec, every_fault, market
from usp.io.simulator import simulate
from usp.io.tick_block import pack_rows
from usp.schemas import schema_of
from usp.schemas.records import Tick, TickBlock
from usp.stages import ingest, orchestrator, topology
from usp.stages.chaos import verifier
from usp.stages.publisher import from_simulation

NOW_NS = 1_700_000_000_000_000_000
Log = dict[str, list[RawRecord]]


def tick(number: int, **changes: Any) -> Tick:
    """The n-th tick of a symbol of two."""
    at_ns = NOW_NS + number * 1_000_000
    price = 100 + number * 37 % 11 / 8
    plain = Tick(
        symbol="AB"[number % 2], venue="t", kind="trade", price=price, size=None, bid=None, ask=None,
        sequence=None, ts_event_ns=at_ns, ts_publish_ns=at_ns, producer_id="t",
    )  # fmt: skip
    return replace(plain, **changes)


@pytest.fixture(scope="module")
def ran() -> Log:
    """Both stages over sound ticks, a refused one, an outlier, a heartbeat, garbage and a block of rows."""
    broker = MemoryBroker()
    values: list[Any] = [tick(n) for n in range(60)]
    values += [tick(60, price=float("nan")), tick(62, price=90_000.0), tick(64, kind="heartbeat")]
    rows = pack_rows([tick(n) for n in (66, 68, 70)])
    values.append(TickBlock(symbol="A", venue="t", kind="trade", rows=rows, ts_publish_ns=NOW_NS, producer_id="t"))
    broker.publish(topology.MARKET_TICKS, [(value.symbol, value) for value in values], 3)
    broker.log(Partition(topology.MARKET_TICKS.name, 3)).append(
        RawRecord(Partition(topology.MARKET_TICKS.name, 3), len(values), b"A", b"garbage", NOW_NS)
    )
    drain(lambda: runner_on(ingest.STAGE, broker))
    drain(lambda: runner_on(orchestrator.STAGE, broker))
    names = (verifier.TICKS, verifier.VALIDATED, verifier.REJECTED, verifier.PREDICTIONS)
    return {name: [r for place, log in broker.logs.items() if place.topic == name for r in log] for name in names}


def judged(log: Log) -> verifier.Verdict:
    """What the witness says about these bytes."""
    known = verifier.schemas()
    seen = {
        name: [verifier.Seen(r.partition.number, r.offset, verifier.opened(r.value, known)) for r in records]
        for name, records in log.items()
    }
    return verifier.judged(seen)


def test_a_sound_log_is_good(ran: Log) -> None:
    """Every tick is answered: 63 with a prediction, one of them an outlier; two dead letters beside."""
    verdict = judged(ran)
    assert verdict.good, verdict
    assert (verdict.ticks, verdict.validated, verdict.predictions, verdict.rejected) == (66, 64, 64, 3)


def changed(raw: RawRecord, **changes: Any) -> RawRecord:
    """A record with another value."""
    value: Any = decode(raw.value)
    return raw._replace(value=encode(replace(value, **changes)))


P, V, R = verifier.PREDICTIONS, verifier.VALIDATED, verifier.REJECTED
DAMAGES: dict[str, tuple[str, str, Callable[[list[RawRecord]], list[RawRecord]]]] = {
    "lost prediction": (P, "missing", lambda log: [*log[:20], *log[21:]]),
    "lost last prediction": (P, "missing", lambda log: log[:-1]),
    "doubled prediction": (P, "prediction twice", lambda log: [*log, log[9]]),
    "swapped predictions": (P, "prediction out of order", lambda log: [*log[:9], log[10], log[9], *log[11:]]),
    "other id": (P, "wrong id", lambda log: [changed(log[0], record_id="0" * 32), *log[1:]]),
    "id of another": (P, "id twice", lambda log: [changed(log[0], record_id=decode(log[1].value).record_id), *log[1:]]),
    "other value": (P, "prediction of another value", lambda log: [*log[:5], changed(log[5], value=1.0), *log[6:]]),
    "other step": (P, "jump of state_step", lambda log: [*log[:5], changed(log[5], state_step=99), *log[6:]]),
    "torn prediction": (P, "unreadable prediction", lambda log: [log[0]._replace(value=log[0].value[:-1]), *log[1:]]),
    "made up prediction": (P, "prediction of no verdict", lambda log: [*log, changed(log[-1], origin_offset=999)]),
    "lost verdict": (V, "missing", lambda log: [*log[:20], *log[21:]]),
    "doubled verdict": (V, "verdict twice", lambda log: [*log, log[3]]),
    "lost dead letter": (R, "missing", lambda log: log[1:]),
    "doubled dead letter": (R, "dead letter twice", lambda log: [*log, log[0]]),
    "made up dead letter": (R, "dead letter of no tick", lambda log: [*log, changed(log[0], source_offset=999)]),
    "outlier without a letter": (
        R, "outlier without a dead letter", lambda log: [r for r in log if decode(r.value).reason != "outlier"]),
    "accepted and refused": (R, "accepted and refused", lambda log: [*log, changed(log[0], source_offset=5)]),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_every_kind_of_damage_is_found(ran: Log, name: str) -> None:
    """Each with its own name, and an example of where."""
    topic, kind, damage = DAMAGES[name]
    verdict = judged(ran | {topic: damage(ran[topic])})
    assert not verdict.good
    assert verdict.examples
    assert verdict.missing if kind == "missing" else kind in verdict.faults, verdict


def test_the_witness_shares_no_code_with_the_pipeline() -> None:
    """No import of the package: only the published schemas are read."""
    tree = ast.parse(Path(verifier.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom | ast.Import)]
    names = [(node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name) for node in imports]
    assert not [node for node in imports if isinstance(node, ast.ImportFrom) and node.level]
    assert not [name for name in names if name.startswith("usp")]


def test_a_market_with_every_kind_of_fault_is_good() -> None:
    """Garbage, tombstones, heartbeats, blocks, duplicates: each is answered, and the witness knows how."""
    broker = MemoryBroker()
    spec = SimulationSpec(symbols=market(4), ticks=3000, rate_per_s=400.0, faults=every_fault(1), warm_up_ticks=50)
    for due in from_simulation(simulate(spec, 5), "t"):
        broker.append(Outgoing(verifier.TICKS, None, due.key, due.value(broker.now_ns)))
    drain(lambda: runner_on(ingest.STAGE, broker))
    drain(lambda: runner_on(orchestrator.STAGE, broker))
    names = (verifier.TICKS, verifier.VALIDATED, verifier.REJECTED, verifier.PREDICTIONS)
    verdict = judged({n: [r for place, log in broker.logs.items() if place.topic == n for r in log] for n in names})
    assert verdict.good, verdict
    assert verdict.rejected > 5
    assert verdict.predictions > 300


def test_the_witness_can_read_whatever_the_pipeline_may_write() -> None:
    """A record of a kind it does not know would look like damage."""
    topics = (topology.MARKET_TICKS, topology.VALIDATED, topology.REJECTED, topology.PREDICTIONS)
    kinds = {record for topic in topics for record in topic.records}
    assert {schema_of(kind).fingerprint for kind in kinds} <= set(verifier.schemas())
