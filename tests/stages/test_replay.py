# SPDX-License-Identifier: MIT
"""A replay from any snapshot gives the recorded bits, and says where something else was recorded."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness import MemoryBroker, MemoryBus, assembled, drain, runner_on
from usp.config.model import packaged_defaults
from usp.io.avro import decode, encode
from usp.io.bus import Partition
from usp.io.snapshots import Snapshot, decode_snapshot
from usp.schemas.records import Prediction, ValidatedTick
from usp.stages import ingest, orchestrator, topology
from usp.stages.replay import Recorded, Report, distance, recorded_predictions, replay

START_NS = 1_700_000_000_000_000_000
INPUT = Partition(topology.VALIDATED.name, 3)
TICKS = 60


def validated(number: int) -> tuple[str, ValidatedTick]:
    """The n-th tick behind ingest; one is an outlier."""
    symbol, at_ns = "AB"[number % 2], START_NS + number * 1_000_000
    price = 900.0 if number == 41 else 100.0 + number * 37 % 11 / 8
    return symbol, ValidatedTick(
        origin_partition=3, origin_offset=number, origin_row=0, symbol=symbol, venue="t", kind="trade", price=price,
        size=None, bid=None, ask=None, sequence=None, ts_event_ns=at_ns, ts_publish_ns=at_ns, producer_id="t",
        accept=number != 41, suspend_jko_update=False, degraded_mode=False, freeze_kernel_d=False, staleness_ns=0,
        validated_ns=at_ns, events=[], ingest_config_hash="",
    )  # fmt: skip


@pytest.fixture(scope="module")
def ran() -> tuple[MemoryBroker, list[Snapshot]]:
    """A partition that was worked through in small batches, with the snapshots taken on the way."""
    broker = MemoryBroker()
    broker.publish(topology.VALIDATED, [validated(n) for n in range(TICKS)], 3)
    drain(lambda: runner_on(orchestrator.STAGE, broker, snapshot_every=10, most=4), {20})
    found = [decode_snapshot(body) for body in assembled(broker.records(topology.SNAPSHOTS))]
    assert len(found) >= 3
    return broker, found


def replayed(
    ran: tuple[MemoryBroker, list[Snapshot]], recorded: Recorded | None = None, tolerance: float = 0.0
) -> Report:
    """From the first snapshot to the end, in larger batches."""
    broker, (first, *later) = ran
    bus = MemoryBus(broker, "replay", [topology.VALIDATED])
    known = recorded or Recorded(recorded_predictions(bus, 3), {each.header.next_offset: each for each in later})
    assert orchestrator.STAGE.restore is not None
    state = orchestrator.STAGE.restore(orchestrator.STAGE.init(packaged_defaults()), 3, first.document)
    return replay(bus, orchestrator.STAGE, state, (INPUT, first.header.next_offset, TICKS), known, tolerance)


def test_the_same_log_gives_the_same_bits(ran: tuple[MemoryBroker, list[Snapshot]]) -> None:
    """Every prediction and every later state, however it was batched and whoever died."""
    report = replayed(ran)
    assert report.difference is None
    assert report.predictions == TICKS - ran[1][0].header.next_offset
    assert report.states_checked == sorted({each.header.next_offset for each in ran[1][1:]})
    assert replayed(ran) == report


def damaged(ran: tuple[MemoryBroker, list[Snapshot]], by: float) -> tuple[Recorded, Prediction]:
    """What was recorded, but for one mean."""
    predictions = recorded_predictions(MemoryBus(ran[0], "replay", [topology.VALIDATED]), 3)
    chosen: Any = next(p for p in map(decode, predictions.values()) if p.origin_offset == 50)
    changed = replace(chosen, mean=chosen.mean * (1 + by))
    return Recorded(predictions | {chosen.record_id: encode(changed)}, {}), changed


def test_another_recorded_value_is_found_and_named(ran: tuple[MemoryBroker, list[Snapshot]]) -> None:
    """The first difference: which tick, which field, both values."""
    recorded, changed = damaged(ran, 1e-12)
    found = replayed(ran, recorded).difference
    assert found is not None
    assert (found.offset, changed.record_id in found.what, list(found.values)) == (50, True, ["mean"])
    assert found.values["mean"][0] == changed.mean


def test_another_build_is_compared_within_a_tolerance(ran: tuple[MemoryBroker, list[Snapshot]]) -> None:
    """Small differences are measured, large ones are told."""
    report = replayed(ran, damaged(ran, 1e-12)[0], 1e-9)
    assert report.difference is None
    assert 0 < report.largest_relative_difference < 1e-11
    assert replayed(ran, damaged(ran, 1e-6)[0], 1e-9).difference is not None


def test_a_prediction_that_was_never_recorded_is_a_difference(ran: tuple[MemoryBroker, list[Snapshot]]) -> None:
    """A lost record cannot hide."""
    recorded, changed = damaged(ran, 0.0)
    predictions = {name: value for name, value in recorded.predictions.items() if name != changed.record_id}
    report = replayed(ran, Recorded(predictions, {}))
    assert report.unrecorded == 1
    assert report.difference is not None
    assert report.difference.offset == 50


def test_a_state_that_is_another_is_a_difference(ran: tuple[MemoryBroker, list[Snapshot]]) -> None:
    """The snapshot of one offset is not that of another; the arrays that differ are named."""
    first, later = ran[1][0], ran[1][-1]
    found = replayed(ran, Recorded(damaged(ran, 0.0)[0].predictions, {later.header.next_offset - 3: later})).difference
    assert first.header.next_offset < later.header.next_offset
    assert found is not None
    assert found.what.startswith("state at offset")
    assert "steps" in found.values or any("." in name for name in found.values)


def test_ingest_is_replayed_by_its_state(ran: tuple[MemoryBroker, list[Snapshot]]) -> None:
    """Its verdicts carry clock stamps, its state does not: the state must come out bit for bit."""
    from usp.schemas.records import Tick

    del ran
    broker = MemoryBroker()
    ticks = [
        ("A", Tick(symbol="A", venue="t", kind="trade", price=100 + n % 7 / 8, size=None, bid=None, ask=None,
                   sequence=n, ts_event_ns=START_NS + n, ts_publish_ns=START_NS + n, producer_id="t"))
        for n in range(40)
    ]  # fmt: skip
    broker.publish(topology.MARKET_TICKS, ticks, 3)
    drain(lambda: runner_on(ingest.STAGE, broker, snapshot_every=10, most=6))
    first, *later = [decode_snapshot(body) for body in assembled(broker.records(topology.SNAPSHOTS))]
    bus = MemoryBus(broker, "replay", [topology.MARKET_TICKS])
    assert ingest.STAGE.restore is not None
    state = ingest.STAGE.restore(ingest.STAGE.init(packaged_defaults()), 3, first.document)
    where = (Partition(topology.MARKET_TICKS.name, 3), first.header.next_offset, 40)
    report = replay(bus, ingest.STAGE, state, where, Recorded({}, {each.header.next_offset: each for each in later}))
    assert later
    assert (report.difference, len(report.states_checked)) == (None, len(later))


@pytest.mark.parametrize(
    ("before", "after", "gap"),
    [
        (1.0, 1.0, 0.0), (math.nan, math.nan, 0.0), (1.0, math.nan, math.inf), (2.0, 1.0, 0.5), (0.0, 0.25, 0.25),
        (True, 1, math.inf), ("a", "a", 0.0), ("a", "b", math.inf), (None, 0.0, math.inf), (b"x", b"x", 0.0),
        (np.zeros(3), np.zeros(4), math.inf), (np.zeros(2), [0.0, 0.5], 0.5), (math.inf, math.inf, 0.0),
        (math.inf, 1.0, math.inf), (["a"], ["a"], 0.0), (["a"], ["b"], math.inf),
    ],
)  # fmt: skip
def test_how_far_two_values_are_apart(before: Any, after: Any, gap: float) -> None:
    """Equal bits are 0; numbers relative to their size, at least 1; what cannot be compared is infinitely far."""
    assert distance(before, after) == gap
