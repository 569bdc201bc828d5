# SPDX-License-Identifier: MIT
"""What the loop commits and when it says that it is ready."""

from dataclasses import replace

from harness import MemoryBroker, assembled, drain, runner_on
from snapshot_examples import DOCUMENT, HEADER
from usp.io.bus import Partition
from usp.io.snapshots import decode_snapshot, encode_snapshot, split_into_chunks
from usp.schemas.records import SnapshotChunk, Tick
from usp.stages import ingest, snapshotter, topology
from usp.stages.contract import Effect, SnapshotTaken

NOW_NS = 1_700_000_000_000_000_000
INPUT = Partition(topology.SNAPSHOTS.name, 3)


def pieces(next_offset: int, stage: str) -> list[SnapshotChunk]:
    """A snapshot in several pieces."""
    header = replace(HEADER, next_offset=next_offset, step=next_offset, stage=stage)
    return split_into_chunks(header, encode_snapshot(header, DOCUMENT), 400)


def tick(number: int) -> Tick:
    """The n-th tick."""
    return Tick(
        symbol="A", venue="t", kind="trade", price=100 + number % 7 / 8, size=None, bid=None, ask=None, sequence=number,
        ts_event_ns=NOW_NS + number, ts_publish_ns=NOW_NS + number, producer_id="t",
    )  # fmt: skip


def test_a_hold_that_is_gone_is_committed_without_a_new_record() -> None:
    """Time alone shows that nothing is open any more; a hold that stays costs no commit."""
    broker = MemoryBroker()
    first, *rest = pieces(7, "orchestrator")
    broker.publish(topology.SNAPSHOTS, [("x", first), ("x", pieces(5, "ingest")[-1])], 3)
    runner = drain(lambda: runner_on(snapshotter.STAGE, broker))
    group = (snapshotter.STAGE.name, INPUT)
    assert (broker.offsets[group], runner.held) == (0, {INPUT: 0})
    runner.state.assemblers.clear()  # as when patience with the set has ended in a batch of another partition
    broker.now_ns += 10**9
    runner.turn()
    assert (broker.offsets[group], runner.held) == (2, {})
    assert rest


def test_a_revoked_partition_is_held_no_longer() -> None:
    """Its new owner decides."""
    broker = MemoryBroker()
    broker.publish(topology.SNAPSHOTS, [("x", pieces(7, "orchestrator")[0])], 3)
    runner = drain(lambda: runner_on(snapshotter.STAGE, broker))
    polled = runner.world.bus.poll(1, 0.0)
    runner.rebalance(polled._replace(revoked=[INPUT]))
    broker.now_ns += 10**9
    runner.turn()
    assert broker.offsets[snapshotter.STAGE.name, INPUT] == 0
    assert INPUT not in runner.held


def test_it_is_ready_only_when_every_partition_is_restored() -> None:
    """Before and while it restores it says what for, with the records that are left."""
    broker = MemoryBroker()
    broker.publish(topology.MARKET_TICKS, [("A", tick(n)) for n in range(50)], 5)
    drain(lambda: runner_on(ingest.STAGE, broker, most=10))
    runner = runner_on(ingest.STAGE, broker, most=10)
    assert runner.waiting_for() == "waiting for partitions"
    said: list[str] = []
    replayed = runner.replayed

    def watched(raw, state):
        said.append(runner.waiting_for())
        return replayed(raw, state)

    runner.replayed = watched
    runner.turn()
    assert runner.waiting_for() == ""
    assert [text.split(", about")[0] for text in said] == [
        f"restoring market.ticks.v1/5: {left} of 50 records left" for left in (50, 40, 30, 20, 10)
    ]


def test_every_snapshot_is_told_with_the_hash_of_its_state() -> None:
    """Telemetry can name the state behind a step, and a reader finds the same hash in the file."""
    broker, told = MemoryBroker(), list[SnapshotTaken]()

    def execute(effect: Effect) -> tuple[()]:
        told.extend([effect] if isinstance(effect, SnapshotTaken) else [])
        return ()

    broker.publish(topology.MARKET_TICKS, [("A", tick(n)) for n in range(50)], 5)
    drain(lambda: runner_on(ingest.STAGE, broker, snapshot_every=20, most=10, execute=execute))
    sent = [decode_snapshot(body).body_hash for body in assembled(broker.records(topology.SNAPSHOTS))]
    assert len(sent) == 2
    assert [(each.partition, each.body_hash) for each in told] == [(5, each) for each in sent]
