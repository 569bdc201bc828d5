# SPDX-License-Identifier: MIT
"""Whatever is killed and whenever, a reader sees the same bits."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import MemoryBroker, drain, runner_on
from usp.io.avro import decode
from usp.io.bus import Delivery
from usp.schemas.records import Silence, Tick, ValidatedTick
from usp.stages import ingest, orchestrator, topology
from usp.stages.contract import Stage

SYMBOLS = ("EURUSD", "BTC", "WTI")
START_NS = 1_700_000_000_000_000_000


def price(number: int) -> float:
    """A deterministic, uneven path with a frozen run and an outlier in it."""
    if 60 <= number < 70:
        return 103.25
    return 100.0 + (number * 37 % 11) / 8 + (900.0 if number == 90 else 0.0)


def tick(number: int) -> tuple[str, Tick]:
    """The n-th tick of the log."""
    symbol = SYMBOLS[number % 3]
    at_ns = START_NS + number * 1_000_000
    return symbol, Tick(
        symbol=symbol, venue="t", kind="trade", price=price(number), size=None, bid=None, ask=None, sequence=None,
        ts_event_ns=at_ns, ts_publish_ns=at_ns, producer_id="t",
    )  # fmt: skip


def validated(number: int) -> tuple[str, ValidatedTick]:
    """The n-th tick as ingest would pass it on."""
    symbol, raw = tick(number)
    return symbol, ValidatedTick(
        **vars(raw), origin_partition=0, origin_offset=number, origin_row=0, accept=price(number) < 500.0,
        suspend_jko_update=number % 17 == 0, degraded_mode=number % 17 == 0, freeze_kernel_d=60 <= number < 70,
        staleness_ns=0, validated_ns=raw.ts_event_ns, events=[], ingest_config_hash="",
    )  # fmt: skip


FEEDS = {
    "ingest": (ingest.STAGE, topology.MARKET_TICKS, tick, topology.VALIDATED),
    "orchestrator": (orchestrator.STAGE, topology.VALIDATED, validated, topology.PREDICTIONS),
}


def outputs(
    name: str,
    ticks: int,
    crashes: frozenset[int],
    every: int,
    most: int,
    delivery: Delivery,
    stage: Stage[Any] | None = None,
) -> dict[int, list[bytes]]:
    """Value bytes of what a stage published from a log of ticks, dying on a schedule; repeats dropped."""
    own, source, make, target = FEEDS[name]
    broker = MemoryBroker()
    broker.publish(source, [make(n) for n in range(ticks)], partition=3)
    drain(lambda: runner_on(stage or own, broker, snapshot_every=every, most=most, delivery=delivery), crashes)
    found = broker.values(target)
    return {n: list(dict.fromkeys(values)) if delivery == "at_least_once" else values for n, values in found.items()}


def without_clock(values: dict[int, list[bytes]], name: str) -> Any:
    """Ingest stamps its verdicts with its clock, which a restart changes; all else must be equal."""
    if name != "ingest":
        return values
    from usp.io.avro import decode

    return {
        n: [{k: v for k, v in vars(decode(b)).items() if k not in ("validated_ns", "staleness_ns")} for b in v]
        for n, v in values.items()
    }


SCHEDULES = st.frozensets(st.integers(1, 120), max_size=12)


@pytest.mark.parametrize("name", FEEDS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(crashes=SCHEDULES, every=st.integers(5, 60), most=st.integers(3, 50))
def test_any_crash_schedule_gives_the_same_outputs(name: str, crashes: frozenset[int], every: int, most: int) -> None:
    """With transactions: each output exactly once, bit for bit as in a calm run, however records are batched."""
    calm = outputs(name, 150, frozenset(), 1_000_000, 2000, "exactly_once")
    rough = outputs(name, 150, crashes, every, most, "exactly_once")
    assert without_clock(calm, name) == without_clock(rough, name)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(crashes=SCHEDULES, every=st.integers(5, 60), most=st.integers(3, 50))
def test_without_transactions_repeats_are_equal(crashes: frozenset[int], every: int, most: int) -> None:
    """At least once: after dropping repeats a reader has the same bits in the same order."""
    calm = outputs("orchestrator", 150, frozenset(), 1_000_000, 2000, "exactly_once")
    rough = outputs("orchestrator", 150, crashes, every, most, "at_least_once")
    assert calm == rough


@pytest.mark.slow
def test_a_crash_at_every_single_point() -> None:
    """No passage of a failpoint is special."""
    calm = outputs("orchestrator", 60, frozenset(), 1_000_000, 2000, "exactly_once")
    for passage in range(1, 30):
        assert calm == outputs("orchestrator", 60, frozenset({passage}), 20, 15, "exactly_once"), passage


def silence(symbol: str, after: int) -> tuple[str, Silence]:
    """The symbol has gone quiet."""
    return symbol, Silence(symbol=symbol, origin_partition=0, after_offset=after, quiet_limit_ns=1)


@pytest.mark.parametrize("most", [1, 2, 3, 5, 13])
def test_silence_takes_effect_at_its_offset_however_records_are_batched(most: int) -> None:
    """The next step of the symbol is degraded and no other, whether or not they come in the same batch."""

    def published(most: int, crashes: frozenset[int] = frozenset()) -> list[bytes]:
        broker = MemoryBroker()
        for n in range(60):
            broker.publish(topology.VALIDATED, [validated(n)], 0)
            if n in (2, 20, 21, 40, 47):
                broker.publish(topology.VALIDATED, [silence(SYMBOLS[n % 3], n), silence("NEVER", n)], 0)
        drain(lambda: runner_on(orchestrator.STAGE, broker, snapshot_every=9, most=most), crashes)
        return broker.values(topology.PREDICTIONS)[0]

    whole = published(2000)
    degraded = [p.origin_offset for p in map(decode, whole) if p.degraded_inference_mode and p.origin_offset % 17]
    assert {5, 23, 24, 43, 50} <= set(degraded)
    assert published(most) == whole
    assert published(most, frozenset({4, 9, 15})) == whole
