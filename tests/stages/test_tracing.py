# SPDX-License-Identifier: MIT
"""A trace that a producer begins can be followed to the prediction; who does not trace pays nothing."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import MemoryBroker, drain, runner_on
from usp.io.avro import encode
from usp.io.bus import Outgoing, Partition, RawRecord
from usp.schemas.records import Tick
from usp.stages import topology
from usp.stages.tracing import span, traced

TRACE = b"0af7651916cd43dd8448eb211c80319c"
PARENT = b"00-" + TRACE + b"-b7ad6b7169203331-01"
START_NS = 1_700_000_000_000_000_000


def tick(n: int, price: float = 100.0) -> bytes:
    """One tick of AAA."""
    at_ns = START_NS + n * 1_000_000
    return encode(
        Tick(symbol="AAA", venue="X", kind="trade", price=price, size=None, bid=None, ask=None, sequence=n,
             ts_event_ns=at_ns, ts_publish_ns=at_ns, producer_id="t")
    )  # fmt: skip


def send(broker: MemoryBroker, value: bytes, *headers: tuple[str, bytes]) -> None:
    """Publish one record."""
    broker.append(Outgoing(topology.MARKET_TICKS.name, 0, b"AAA", value, headers))


def headers_of(broker: MemoryBroker, topic, partition: int = 0) -> list[dict[str, bytes]]:
    """The headers of a partition's records."""
    return [dict(record.headers) for record in broker.log(Partition(topic.name, partition))]


def run(broker: MemoryBroker, *stages: str) -> None:
    """These stages until nothing is left to do."""
    for name in stages:
        drain(lambda name=name: runner_on(topology.stage(name), broker))


@pytest.mark.slow
def test_a_trace_goes_from_the_tick_to_its_prediction():
    """The trace id stays, every stage has a span of its own, the state is passed on; other ticks have none."""
    broker = MemoryBroker()
    send(broker, tick(0), ("traceparent", PARENT), ("tracestate", b"vendor=1"), ("other", b"x"))
    send(broker, tick(1))
    run(broker, "ingest", "orchestrator")
    verdict, plain = headers_of(broker, topology.VALIDATED)
    prediction, plain_prediction = headers_of(broker, topology.PREDICTIONS)
    assert [{}, {}] == [plain, plain_prediction]
    parents = [PARENT, verdict["traceparent"], prediction["traceparent"]]
    assert {TRACE} == {parent.split(b"-")[1] for parent in parents}
    assert 3 == len({parent.split(b"-")[2] for parent in parents})
    assert b"vendor=1" == prediction["tracestate"]


def test_a_refused_tick_is_traced_too():
    """Dead letters lead back to the trace, of ticks and of bytes that are none; so do alerts about a tick."""
    broker = MemoryBroker()
    send(broker, tick(0, price=float("nan")), ("traceparent", PARENT))
    send(broker, b"garbage", ("traceparent", PARENT))
    run(broker, "ingest")
    letters, alerts = headers_of(broker, topology.REJECTED), headers_of(broker, topology.ALERTS)
    assert [TRACE, TRACE] == [letter["traceparent"].split(b"-")[1] for letter in letters]
    assert TRACE == alerts[-1]["traceparent"].split(b"-")[1]


def test_values_do_not_know_of_traces():
    """Same bits with and without: headers are no part of the value."""
    with_trace, without = MemoryBroker(), MemoryBroker()
    for n in range(5):
        send(with_trace, tick(n), ("traceparent", PARENT))
        send(without, tick(n))
    run(with_trace, "ingest")
    run(without, "ingest")
    assert without.values(topology.VALIDATED) == with_trace.values(topology.VALIDATED)


@pytest.mark.parametrize(
    "bad", [b"", b"x", PARENT[:-3], PARENT.upper(), b"00-" + b"0" * 32 + PARENT[35:], PARENT + b"\n", PARENT * 100]
)
def test_a_malformed_parent_is_ignored(bad):
    """As the recommendation asks: no trace rather than a broken one."""
    assert () == span("ingest", (("traceparent", bad),))


@given(st.lists(st.tuples(st.text(max_size=12), st.binary(max_size=80))))
def test_whatever_headers_come_nothing_breaks(headers):
    """Producers put anything there."""
    raw = [RawRecord(Partition("market.ticks.v1", 0), 0, b"k", b"v", 0, tuple(headers))]
    assert [] == list(traced("ingest", raw, [], []))


def test_the_span_of_a_stage_is_repeatable():
    """A replay gives the same headers."""
    assert span("ingest", (("traceparent", PARENT),)) == span("ingest", (("traceparent", PARENT),))
    assert span("ingest", (("traceparent", PARENT),)) != span("orchestrator", (("traceparent", PARENT),))


def test_without_headers_it_costs_next_to_nothing():
    """Less than half a microsecond per record, where ingest takes thirty."""
    raw = [RawRecord(Partition("market.ticks.v1", 0), n, b"k", b"v", 0) for n in range(2000)]
    outputs: list = []
    best_s = min(timed(raw, outputs) for _ in range(20))
    assert best_s / len(raw) < 0.5e-6


def timed(raw, outputs) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    assert outputs is traced("ingest", raw, [], outputs)
    return time.perf_counter() - start
