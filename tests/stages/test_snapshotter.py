# SPDX-License-Identifier: MIT
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import MemoryBroker, MemorySnapshots, drain, runner_on
from snapshot_examples import DOCUMENT, HEADER
from usp.config.model import packaged_defaults
from usp.io.bus import Partition
from usp.io.cache import CacheUnavailable, SnapshotHint
from usp.io.snapshots import SnapshotStore, encode_snapshot, split_into_chunks
from usp.schemas.records import Alert, DeadLetter, Silence, SnapshotChunk
from usp.stages import topology
from usp.stages.contract import Batch, Effect, Hold, Output, Record, Reply, Send, Timer
from usp.stages.snapshot_effects import persist_snapshot, scrub_snapshots, update_hint
from usp.stages.snapshotter import (
    STAGE,
    HintSkipped,
    PersistSnapshot,
    ScrubSnapshots,
    SnapshotPersisted,
    SnapshotRefused,
    SnapshotSetAside,
    SnapshotterState,
    UpdateHint,
)

NOW_NS = 1_700_000_000_000_000_000
INPUT = Partition(topology.SNAPSHOTS.name, 3)


def fresh() -> SnapshotterState:
    """A stage that has just started."""
    return STAGE.init(packaged_defaults())


def chunks(next_offset: int = 7, size: int = 400, **other: Any) -> list[SnapshotChunk]:
    """The pieces of a snapshot at this position."""
    header = replace(HEADER, next_offset=next_offset, step=next_offset, **other)
    return split_into_chunks(header, encode_snapshot(header, DOCUMENT), size)


def record(value: Any, offset: int = -1, partition: Partition = INPUT) -> Record:
    """A record as the runner hands it over."""
    return Record(partition, offset, None, value, NOW_NS + offset, (), b"raw")


def handled(state: SnapshotterState, *values: Any, start: int = 100) -> list[Output]:
    """What the stage asks for after these records."""
    outputs, _ = STAGE.handle(Batch(NOW_NS, [record(value, start + n) for n, value in enumerate(values)]), state)
    return outputs


def alerts(outputs: Sequence[Output]) -> list[Alert]:
    """The alerts among the outputs."""
    return [each.value for each in outputs if isinstance(each, Send) and isinstance(each.value, Alert)]


def test_a_complete_set_is_written_and_holds_nothing():
    """All pieces in one batch: one write, with the bytes as they were split."""
    sent = chunks()
    outputs = handled(fresh(), *sent)
    data = b"".join(chunk.payload for chunk in sent)
    assert outputs == [PersistSnapshot(sent[0].snapshot_id, "orchestrator", 3, 7, 7, data, NOW_NS)]


def test_an_incomplete_set_holds_the_commit_at_its_first_piece():
    """A restart must see the first piece again; the hold is repeated until the set is whole."""
    state, sent = fresh(), chunks()
    assert handled(state, *sent[:-1], start=50) == [Hold(INPUT, 50)]
    assert handled(state, chunks(stage="ingest")[0], start=70) == [Hold(INPUT, 50)]
    outputs = handled(state, sent[-1], start=80)
    assert [type(each) for each in outputs] == [PersistSnapshot, Hold]
    assert outputs[1] == Hold(INPUT, 70)


def test_every_input_partition_has_its_own_hold():
    """Partitions move independently."""
    state, sent = fresh(), chunks()
    other = Partition(topology.SNAPSHOTS.name, 5)
    batch = Batch(NOW_NS, [record(sent[0], 10), record(chunks(partition=5)[0], 20, other)])
    assert STAGE.handle(batch, state)[0] == [Hold(INPUT, 10), Hold(other, 20)]
    assert STAGE.release is not None
    assert STAGE.handle(Batch(NOW_NS, []), STAGE.release(state, 3))[0] == [Hold(other, 20)]


def test_a_newer_set_discards_the_unfinished_older_one():
    """The hold moves on to the newer set."""
    state = fresh()
    handled(state, chunks(5)[0], start=10)
    assert handled(state, chunks(6)[0], start=20) == [Hold(INPUT, 20)]


def test_an_abandoned_set_is_given_up_with_an_alert():
    """Ten minutes of log time without the rest: people are told and the hold is lifted."""
    state = fresh()
    handled(state, chunks(5, stage="ingest")[0], start=10)
    late = record(chunks(6)[0], 11)._replace(timestamp_ns=NOW_NS + 700 * 10**9)
    outputs, _ = STAGE.handle(Batch(NOW_NS, [late]), state)
    assert [alert.event for alert in alerts(outputs)] == ["SnapshotIncompleteEvent"]
    assert alerts(outputs)[0].detail["pieces"].startswith("1 of ")
    assert outputs[-1] == Hold(INPUT, 11)


def test_impossible_pieces_and_other_records_become_dead_letters():
    """Bad input is refused with its bytes and reason, and the stream goes on."""
    state, sent = fresh(), chunks()
    strange = Silence(symbol="X", origin_partition=0, after_offset=0, quiet_limit_ns=1)
    outputs = handled(state, sent[0], replace(sent[1], index=-1), strange, *sent[1:], start=30)
    letters = [each.value for each in outputs if isinstance(each, Send) and isinstance(each.value, DeadLetter)]
    assert [(each.reason, each.source_offset, each.value) for each in letters] == [
        ("bad_snapshot_chunk", 31, b"raw"),
        ("unexpected_record", 32, b"raw"),
    ]
    assert [type(each) for each in outputs if isinstance(each, Effect)] == [PersistSnapshot]


def test_a_written_file_is_hinted_and_a_refusal_is_an_alert():
    """Redis hears of a file only when it is safe on disk; people hear of one that is not."""
    done = SnapshotPersisted("log", "orchestrator", 3, "ab", 7, 8, "/x")
    assert handled(fresh(), done) == [UpdateHint("log", "orchestrator", 3, "ab", 7, 8, "/x")]
    for reply, event, severity in (
        (SnapshotRefused("InsufficientStorageEvent", "s", 1, "ab", "full"), "InsufficientStorageEvent", "critical"),
        (HintSkipped("s", 1, "ab", "away"), "SnapshotHintSkippedEvent", "info"),
        (SnapshotSetAside("/x.broken", "found"), "CorruptedSnapshotEvent", "critical"),
    ):
        found = alerts(handled(fresh(), reply))
        assert [(each.event, each.severity, each.timestamp_ns) for each in found] == [(event, severity, NOW_NS)]


@pytest.mark.parametrize(
    ("previous_ns", "now_ns", "due"),
    [(5, 5, True), (5, 6, False), (3_600_000_000_000 - 1, 3_600_000_000_000, True), (0, 10**15, True)],
)
def test_files_are_looked_through_at_start_and_once_an_hour(previous_ns: int, now_ns: int, due: bool):
    """The timer alone decides; nothing of it is state."""
    outputs, _ = STAGE.handle(Batch(now_ns, [], Timer(previous_ns, {})), fresh())
    assert outputs == ([ScrubSnapshots(now_ns)] if due else [])


def effect_of(sent: Sequence[SnapshotChunk]) -> PersistSnapshot:
    """The write that these pieces lead to."""
    (effect,) = handled(fresh(), *sent)
    assert isinstance(effect, PersistSnapshot)
    return effect


def test_the_write_answers_with_what_is_on_disk(tmp_path: Path):
    """The header in the file, not the pieces' word, is what Redis is told."""
    store = SnapshotStore(tmp_path)
    effect = effect_of(chunks())
    (reply,) = persist_snapshot(store, effect)
    path = str(store.files()[0].path)
    assert reply == SnapshotPersisted(HEADER.log_id, "orchestrator", 3, effect.snapshot_id, 7, 7, path)


@pytest.mark.parametrize(
    ("event", "break_it"),
    [
        ("CorruptedSnapshotEvent", lambda effect, path: (replace(effect, data=effect.data[:-1]), {})),
        ("CorruptedSnapshotEvent", lambda effect, path: (replace(effect, snapshot_id="00"), {})),
        ("InsufficientStorageEvent", lambda effect, path: (effect, {"free_bytes": lambda folder: 10})),
        ("SnapshotWriteFailedEvent", lambda effect, path: ((path.write_text("") and effect) or effect, {})),
    ],
    ids=["cut", "other id", "disk full", "no folder"],
)
def test_a_refused_write_never_raises(tmp_path: Path, event: str, break_it: Any):
    """Corrupt bytes, a full disk, a folder that cannot be: an alert each, and the stage goes on."""
    folder = tmp_path / "store"
    effect, options = break_it(effect_of(chunks()), folder)
    (reply,) = persist_snapshot(SnapshotStore(folder, **options), effect)
    assert isinstance(reply, SnapshotRefused)
    assert reply.event == event
    assert "found" in reply.reason or "refused" in reply.reason


def test_scrubbing_answers_for_each_broken_file(tmp_path: Path):
    """People hear of every file that was set aside."""
    store = SnapshotStore(tmp_path)
    persist_snapshot(store, effect_of(chunks()))
    path = store.files()[0].path
    path.write_bytes(path.read_bytes()[:-1])
    (reply,) = scrub_snapshots(store, ScrubSnapshots(NOW_NS))
    assert isinstance(reply, SnapshotSetAside)
    assert reply.path == f"{path}.broken"
    assert scrub_snapshots(store, ScrubSnapshots(NOW_NS)) == []


class AwayHints:
    """Hints of a Redis that does not answer."""

    def advance(self, log_id: str, stage: str, partition: int, hint: SnapshotHint) -> str:
        raise CacheUnavailable("away")


def test_a_redis_that_is_away_costs_a_hint_and_nothing_else():
    """The file wins anyway."""
    effect = UpdateHint("log", "s", 1, "ab", 7, 8, "/x")
    hints: Any = AwayHints()
    assert update_hint(hints, effect) == (HintSkipped("s", 1, "ab", "away"),)
    assert update_hint(None, effect) == ()


def executor(store: SnapshotStore) -> Any:
    """The world of the snapshotter without a Redis."""

    def execute(effect: Effect) -> Sequence[Reply]:
        match effect:
            case PersistSnapshot():
                return persist_snapshot(store, effect)
            case ScrubSnapshots():
                return scrub_snapshots(store, effect)
            case _:
                return ()

    return execute


@settings(max_examples=25, deadline=None)
@given(crashes=st.sets(st.integers(1, 40), max_size=4), most=st.integers(1, 7))
def test_whatever_crash_every_snapshot_reaches_the_disk(
    crashes: set[int], most: int, tmp_path_factory: pytest.TempPathFactory
):
    """Dying at any failpoint, also inside a write, loses no snapshot that was sent whole, and leaves no broken file."""
    store = SnapshotStore(tmp_path_factory.mktemp("store"), fsync=False)
    broker = MemoryBroker()
    positions = (3, 9, 12)
    for next_offset in positions:
        broker.publish(topology.SNAPSHOTS, [("orchestrator/3", chunk) for chunk in chunks(next_offset)], 3)
    drain(
        lambda: runner_on(STAGE, broker, most=most, execute=executor(store), snapshots=MemorySnapshots(MemoryBroker())),
        crashes,
    )
    assert [each.next_offset for each in store.files()] == list(positions)
    assert store.scrub(2**62) == []
    assert broker.offsets[STAGE.name, INPUT] == len(broker.log(INPUT))
