# SPDX-License-Identifier: MIT
"""What holds for every stream: batching, clocks, snapshots, redelivery and crashes change nothing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usp.config.model import load, packaged_defaults
from usp.io.bus import Partition
from usp.io.tick_block import pack_rows
from usp.schemas.records import Tick, TickBlock
from usp.stages.contract import Batch, Output, Record, Send
from usp.stages.ingest import STAGE
from usp.stages.ingest_state import IngestState
from usp.stages.topology import MARKET_TICKS

NOW_NS = 1_700_000_000_000_000_000
MS = 1_000_000
PARTITIONS = (0, 1)
QUICK = settings(max_examples=40, deadline=None)


def quick_config() -> Any:
    """Short windows, so that short streams reach every branch."""
    mapping = packaged_defaults().to_mapping()
    mapping["io"] |= {"outlier_history_window": 16, "outlier_history_min": 4, "level_shift_confirmations": 3}
    return load(mapping)


CONFIG = quick_config()
TICK = Tick(
    symbol="A",
    venue="X",
    kind="trade",
    price=1.0,
    size=None,
    bid=None,
    ask=None,
    sequence=None,
    ts_event_ns=NOW_NS,
    ts_publish_ns=NOW_NS,
    producer_id="p",
)


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """The usual value nearly always: checks at the end of the gate need ticks that pass the ones before."""
    return st.sampled_from([usual] * 10 * len(others) + [*others])


PRICES = st.one_of(
    st.sampled_from([100.0, 100.01, 100.02, 100.03, 100.0, 100.01]), st.sampled_from([7_000.0, 7_000.01, 0.0, nan, inf])
)
ENTRY = st.tuples(
    mostly(0, 1),  # partition
    mostly("A", "B"),
    mostly("trade", "heartbeat"),
    PRICES,
    mostly(None, 0, 1, 2, 5),  # how far the sequence goes on
    mostly(1, 0, -1, 600, 5_000),  # how far the event time goes on, ms
    mostly(0, 450, 700),  # how late the broker has it, ms
    mostly(None, b"", b"A"),  # a key of its own
    st.integers(1, 3),  # offsets skipped
    st.sampled_from([0, 0, 0, 2]),  # rows, if a block
)


@st.composite
def streams(draw: st.DrawFn) -> list[Record]:
    """Records of two partitions, faults of all sorts among them; offsets rise with gaps."""
    offsets, sequence, stamp_ns, records = dict.fromkeys(PARTITIONS, -1), 0, NOW_NS, []
    for entry in draw(st.lists(ENTRY, min_size=1, max_size=40)):
        number, symbol, kind, price, step, wait_ms, late_ms, key, skip, rows = entry
        offsets[number] += skip
        stamp_ns += wait_ms * MS
        sequence += step or 0
        count = None if step is None else sequence
        tick = replace(TICK, symbol=symbol, kind=kind, price=price, sequence=count, ts_event_ns=stamp_ns)
        value = tick if not rows else blocked(tick, rows)
        at = Partition(MARKET_TICKS.name, number)
        sent_key, arrived_ns = symbol.encode() if key is None else key, stamp_ns + late_ms * MS
        records.append(Record(at, offsets[number], sent_key, value, arrived_ns))
    return records


def blocked(tick: Tick, rows: int) -> TickBlock:
    head = {name: getattr(tick, name) for name in ("symbol", "venue", "kind", "ts_publish_ns", "producer_id")}
    return TickBlock(rows=pack_rows([tick] * rows), **head)


def run(
    parts: Sequence[Sequence[Record]], state: IngestState | None = None, now: Callable[[int], int] | None = None
) -> tuple[list[Output], IngestState]:
    state = state or STAGE.init(CONFIG)
    outputs: list[Output] = []
    for i, part in enumerate(parts):
        more, state = STAGE.handle(Batch(now(i) if now else NOW_NS, part), state)
        outputs += more
    return outputs, state


def facts(state: IngestState) -> str:
    """The whole state as text that distinguishes every bit but the payload of a NaN."""
    assert STAGE.snapshot
    columns = [column for number in PARTITIONS for column in STAGE.snapshot(state, number).items()]
    return repr([(name, value.tolist() if isinstance(value, np.ndarray) else value) for name, value in columns])


def split(records: Sequence[Record], sizes: Sequence[int]) -> list[Sequence[Record]]:
    """The records in batches of these sizes, the rest in one."""
    parts, begin = [], 0
    for size in sizes:
        parts.append(records[begin : begin + size])
        begin += size
    return [*parts, records[begin:]]


@QUICK
@given(streams(), st.lists(st.integers(0, 7), max_size=12))
def test_batching_changes_nothing(records: list[Record], sizes: list[int]) -> None:
    """However a stream is cut into batches, outputs and state are the same."""
    whole, parts = run([records]), run(split(records, sizes))
    assert repr(whole[0]) == repr(parts[0])
    assert facts(whole[1]) == facts(parts[1])


@QUICK
@given(streams(), st.lists(st.integers(-(10**13), 10**13), min_size=41, max_size=41))
def test_the_clock_changes_no_state(records: list[Record], clocks: list[int]) -> None:
    """Replayed under any other clock, the state is the same."""
    one = [[record] for record in records]
    _, calm = run([records])
    _, wild = run(one, now=lambda i: NOW_NS + clocks[i])
    assert facts(calm) == facts(wild)


@QUICK
@given(streams(), st.integers(0, 40))
def test_a_snapshot_gives_the_same_continuation(records: list[Record], cut: int) -> None:
    """Restored in another process in mid-stream, partition by partition, everything after it is the same."""
    assert STAGE.snapshot
    assert STAGE.restore
    _, before = run([records[:cut]])
    restored = STAGE.init(CONFIG)
    for number in PARTITIONS:
        restored = STAGE.restore(restored, number, STAGE.snapshot(before, number))
    assert facts(restored) == facts(before)
    calm, rough = run([records[cut:]], before), run([records[cut:]], restored)
    assert repr(calm[0]) == repr(rough[0])
    assert facts(calm[1]) == facts(rough[1])


EVENTFUL = [
    *[100.0, 100.01, 100.03, 100.0, 100.02] * 4,
    *[7_000.0, 100.01, 7_000.0, 7_000.01, 7_000.02, 7_000.03],  # an outlier, then a level shift
    *[7_000.02, 7_000.05, 7_000.03, 7_000.01],
    *[7_000.01] * 25,  # frozen for longer than the window
    *[7_000.04, 7_000.04, 7_000.0, nan, 7_000.02, 0.0, 7_000.01, 7_000.03],
]


@pytest.mark.parametrize("cut", range(len(EVENTFUL)))
def test_every_cut_of_an_eventful_stream_continues_alike(cut: int) -> None:
    """Between two suspects, within a frozen run or its recovery: a restored state goes on as the old one would."""
    assert STAGE.snapshot
    assert STAGE.restore
    at = Partition(MARKET_TICKS.name, 0)
    ticks = [replace(TICK, price=price, ts_event_ns=NOW_NS + i * MS) for i, price in enumerate(EVENTFUL)]
    records = [Record(at, i, b"A", tick, tick.ts_event_ns) for i, tick in enumerate(ticks)]
    _, before = run([records[:cut]])
    restored = STAGE.restore(STAGE.init(CONFIG), 0, STAGE.snapshot(before, 0))
    assert facts(restored) == facts(before)
    calm, rough = run([records[cut:]], before), run([records[cut:]], restored)
    assert repr(calm[0]) == repr(rough[0])
    assert facts(calm[1]) == facts(rough[1])


@QUICK
@given(streams(), st.integers(0, 40))
def test_redelivery_changes_nothing(records: list[Record], again: int) -> None:
    """What comes a second time is dropped without a word."""
    _, state = run([records])
    before = facts(state)
    outputs, state = run([records[:again]], state)
    assert ([], before) == (outputs, facts(state))


@QUICK
@given(streams(), st.integers(0, 40))
def test_a_handler_that_raises_leaves_its_state(records: list[Record], place: int) -> None:
    """A record that breaks the handler in the middle of a batch has changed nothing."""
    _, state = run([records[:place]])
    before = facts(state)
    broken = records[-1]._replace(offset=10**6, value=blocked(replace(TICK, symbol=None), 1))  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        STAGE.handle(Batch(NOW_NS, [*records[place:], broken]), state)
    assert before == facts(state)


@QUICK
@given(streams())
def test_partitions_are_independent(records: list[Record]) -> None:
    """A partition's share of the state is the same when another process owns the other one."""
    _, together = run([records])
    for number in PARTITIONS:
        _, alone = run([[record for record in records if record.partition.number == number]])
        assert STAGE.snapshot
        assert repr(STAGE.snapshot(together, number)) == repr(STAGE.snapshot(alone, number))


@QUICK
@given(streams())
def test_release_forgets_one_partition(records: list[Record]) -> None:
    """The other keeps its state; steps count what each has taken."""
    assert STAGE.release
    assert STAGE.snapshot
    assert STAGE.steps
    _, state = run([records])
    kept = repr(STAGE.snapshot(state, 1))
    state = STAGE.release(state, 0)
    assert (0, kept) == (STAGE.steps(state, 0), repr(STAGE.snapshot(state, 1)))


@QUICK
@given(streams())
def test_each_tick_has_exactly_one_fate(records: list[Record]) -> None:
    """Accepted, or refused, or (an outlier) both, or a heartbeat; never lost and never twice."""
    outputs, _ = run([records])
    fates: dict[tuple[int, int, int], set[str]] = {}
    for output in outputs:
        assert isinstance(output, Send)
        value = output.value
        if hasattr(value, "accept"):
            origin = (value.origin_partition, value.origin_offset, value.origin_row)
            assert "accept" not in fates.setdefault(origin, set())
            assert "hold" not in fates[origin]
            fates[origin].add("accept" if value.accept else "hold")
        elif hasattr(value, "reason"):
            origin = (value.source_partition, value.source_offset, value.source_row)
            fates.setdefault(origin, set()).add(value.reason)
    for fate in fates.values():
        assert fate == {"hold", "outlier"} or (len(fate) == 1 and fate.isdisjoint({"hold", "outlier"}))
    for record in records:
        beats = getattr(record.value, "kind", "") == "heartbeat"
        assert beats or (record.partition.number, record.offset, 0) in fates
