# SPDX-License-Identifier: MIT
"""A snapshot is the state of one offset, however long it takes to be encoded and sent, and whoever dies meanwhile."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from harness import MemoryBroker, assembled, drain, runner_on
from usp.io.bus import Partition, Polled
from usp.io.snapshots import decode_snapshot, document_hash
from usp.schemas.records import ValidatedTick
from usp.stages import orchestrator, topology
from usp.stages.runner import Runner, World
from usp.stages.snapshot_outbox import HAND_OVER_NS, PIECES_PER_TURN
from usp.stages.snapshot_parcel import AtOnce

NOW_NS = 1_700_000_000_000_000_000
INPUT = Partition(topology.VALIDATED.name, 3)


def tick(number: int, symbols: int = 3) -> tuple[str, ValidatedTick]:
    """The n-th tick as ingest would pass it on."""
    symbol, at_ns = f"S{number % symbols}", NOW_NS + number * 1_000_000
    return symbol, ValidatedTick(
        symbol=symbol, venue="t", kind="trade", price=100 + number * 37 % 11 / 8, size=None, bid=None, ask=None,
        sequence=None, ts_event_ns=at_ns, ts_publish_ns=at_ns, producer_id="t", origin_partition=3,
        origin_offset=number, origin_row=0, accept=True, suspend_jko_update=False, degraded_mode=False,
        freeze_kernel_d=False, staleness_ns=0, validated_ns=at_ns, events=[], ingest_config_hash="",
    )  # fmt: skip


@dataclass
class Later:
    """An encoder that works only when it is told to, like a thread that gets no processor."""

    waiting: list[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = field(default_factory=list)

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """See `Encoder`."""
        self.waiting.append((Future(), fn, args))
        return self.waiting[-1][0]

    def work(self) -> None:
        """Do all that waits."""
        for future, fn, args in self.waiting:
            future.set_result(fn(*args))
        self.waiting.clear()


def fed(count: int, symbols: int = 3) -> MemoryBroker:
    """A log with so many ticks in one partition."""
    broker = MemoryBroker()
    broker.publish(topology.VALIDATED, [tick(n, symbols) for n in range(count)], 3)
    return broker


def slow_runner(broker: MemoryBroker, encoder: Later, **own: Any) -> Runner:
    """An orchestrator that has its partitions, and whose snapshots are encoded later."""
    runner = runner_on(orchestrator.STAGE, broker, **own)
    in_world(runner, replace(runner.world, encoder=encoder))
    runner.turn()
    return runner


def in_world(runner: Runner, world: World) -> None:
    """The same process in another world."""
    runner.world = runner.recovery.world = runner.outbox.world = world


def test_a_snapshot_holds_the_state_of_its_offset_however_late_it_is_encoded() -> None:
    """Batches that are handled meanwhile change none of its bits."""
    broker, encoder = fed(60), Later()
    runner = slow_runner(broker, encoder, snapshot_every=10, most=10)
    runner.turn()
    now = document_hash(orchestrator.STAGE.snapshot(runner.state, 3))  # pyright: ignore[reportOptionalCall]
    assert len(encoder.waiting) == 1
    for _ in range(5):
        runner.turn()
    assert len(encoder.waiting) == 1, "one at a time"
    assert runner.positions[INPUT] == 60
    encoder.work()
    runner.turn()
    sent = [decode_snapshot(body) for body in assembled(broker.records(topology.SNAPSHOTS))]
    assert [(each.header.next_offset, each.header.step, each.body_hash) for each in sent] == [(10, 10, now)]
    assert broker.offsets[orchestrator.STAGE.name, INPUT] == 60, "the commit never goes back"


def test_a_restart_from_a_late_snapshot_gives_the_same_bits() -> None:
    """What was handled between its offset and its arrival is replayed."""
    calm = fed(90)
    drain(lambda: runner_on(orchestrator.STAGE, calm))
    broker, encoder = fed(60), Later()
    runner = slow_runner(broker, encoder, snapshot_every=10, most=10)
    for _ in range(6):
        runner.turn()
    encoder.work()
    runner.turn()
    broker.publish(topology.VALIDATED, [tick(n) for n in range(60, 90)], 3)
    after = drain(lambda: runner_on(orchestrator.STAGE, broker))
    assert after.restored_records == 50
    assert broker.values(topology.PREDICTIONS) == calm.values(topology.PREDICTIONS)


def test_a_large_snapshot_leaves_in_pieces_between_batches() -> None:
    """A few per turn, and a process that dies before the last one has sent nothing that anybody loads."""
    broker = fed(400, symbols=150)
    runner = runner_on(orchestrator.STAGE, broker, snapshot_every=200, most=100)
    turns: list[int] = []
    runner.turn()
    for _ in range(6):
        before = len(broker.log(Partition(topology.SNAPSHOTS.name, 3)))
        runner.turn()
        turns.append(len(broker.log(Partition(topology.SNAPSHOTS.name, 3))) - before)
    assert max(turns) == PIECES_PER_TURN < sum(turns)
    half = MemoryBroker(dict(broker.logs), {}, dict(broker.offsets))
    pieces = Partition(topology.SNAPSHOTS.name, 3)
    half.logs[pieces] = half.logs[pieces][: PIECES_PER_TURN + 1]
    restarted = drain(lambda: runner_on(orchestrator.STAGE, half))
    assert restarted.restored_records == 400


def test_a_partition_that_is_taken_away_leaves_its_state_to_its_next_owner() -> None:
    """Who gets it replays nothing; the offsets stay with the group."""
    broker = fed(50)
    runner = drain(lambda: runner_on(orchestrator.STAGE, broker))
    runner.rebalance(Polled([], revoked=[INPUT]))
    assert INPUT not in runner.positions
    next_owner = drain(lambda: runner_on(orchestrator.STAGE, broker))
    assert next_owner.restored_records == 0
    assert orchestrator.steps(next_owner.state, 3) == 50


@pytest.mark.parametrize("worked", [False, True])
def test_a_partition_may_go_while_its_snapshot_is_under_way(worked: bool) -> None:
    """The newer state goes instead; nothing of the older one is sent for a partition that is not ours."""
    broker, encoder = fed(50), Later()
    runner = slow_runner(broker, encoder, snapshot_every=10, most=10)
    for _ in range(5):
        runner.turn()
    if worked:
        encoder.work()
    in_world(runner, replace(runner.world, encoder=AtOnce()))
    runner.rebalance(Polled([], revoked=[INPUT]))
    runner.turn()
    offsets = [decode_snapshot(body).header.next_offset for body in assembled(broker.records(topology.SNAPSHOTS))]
    assert offsets == [50]


def test_a_clean_stop_sends_what_is_under_way() -> None:
    """And whatever moved since, as a clean stop's snapshot."""
    broker, encoder = fed(30), Later()
    runner = slow_runner(broker, encoder, snapshot_every=10, most=10)
    for _ in range(3):
        runner.turn()
    in_world(runner, replace(runner.world, encoder=AtOnce()))
    runner.run(lambda: True)
    headers = [decode_snapshot(body).header for body in assembled(broker.records(topology.SNAPSHOTS))]
    assert [(each.next_offset, each.clean_stop) for each in headers] == [(30, True)]


def test_a_rebalance_that_lasts_hands_nothing_over_and_forgets_the_partition() -> None:
    """Its next owner replays; later turns do not look for a snapshot of what is not ours."""
    broker = fed(50)
    runner = drain(lambda: runner_on(orchestrator.STAGE, broker, snapshot_every=60))
    runner.outbox.hand_over(runner.state, 3, runner.positions, broker.now_ns - HAND_OVER_NS - 1)
    runner.positions.pop(INPUT)
    assert runner.recovery.moved() == []
    runner.outbox.carry(runner.state, runner.positions)
    runner.outbox.finish(runner.state, runner.positions)
    assert not broker.records(topology.SNAPSHOTS)
