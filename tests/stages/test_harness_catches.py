# SPDX-License-Identifier: MIT
"""The crash property is able to fail: each planted fault of the recovery is caught by some schedule."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness import MemoryBroker, drain, runner_on
from usp.schemas.records import Tick
from usp.stages import topology
from usp.stages.contract import Batch, Output, Send, Stage
from usp.stages.runner import Runner

Sums = dict[int, float]


def init(config: Any) -> Sums:
    """Nothing summed."""
    del config
    return {}


def handle(batch: Batch, state: Sums) -> tuple[list[Output], Sums]:
    """Every tick goes on with the running sum of its partition as its price."""
    outputs: list[Output] = []
    sums = dict(state)
    for record in batch.records:
        number = record.partition.number
        sums[number] = sums.get(number, 0.0) + record.value.price
        outputs.append(Send(topology.VALIDATED, Tick(**{**vars(record.value), "price": sums[number]}), "k", number))
    return outputs, sums


def handle_with_clock(batch: Batch, state: Sums) -> tuple[list[Output], Sums]:
    """Planted: the state depends on now."""
    outputs, sums = handle(batch, state)
    return outputs, {number: value + batch.now_ns % 7 for number, value in sums.items()}


def stage_of(handler: Callable[[Batch, Sums], tuple[list[Output], Sums]]) -> Stage[Sums]:
    """A running sum as a stage with snapshots."""
    return Stage(
        "sums", (topology.MARKET_TICKS,), (topology.VALIDATED, topology.SNAPSHOTS), topology.DEAD_LETTERS,
        init, handler,
        lambda state, p: {"sum": state.get(p, 0.0)},
        lambda state, p, document: {**state, p: document["sum"]},
        lambda state, p: {k: v for k, v in state.items() if k != p},
        lambda state, p: int(state.get(p, 0.0)),
    )  # fmt: skip


class SnapshotBeforeCommit(Runner):
    """Planted: the snapshot of a batch is sent before the batch is committed."""

    def publish(self, outputs: Sequence[Output], touched: Any) -> None:
        self.recovery.advanced(touched)
        self.outbox.finish(self.state, self.positions)
        super().publish(outputs, touched)


class NoReplay(Runner):
    """Planted: what lies between snapshot and commit is not replayed."""

    def replayed(self, raw: Any, state: Any) -> Any:
        return state


def outcome(make: Callable[[MemoryBroker], Runner], crashes: frozenset[int]) -> Any:
    """What a reader sees of forty ticks."""
    broker = MemoryBroker()
    tick = Tick(
        symbol="k", venue="", kind="trade", price=1.0, size=None, bid=None, ask=None, sequence=None,
        ts_event_ns=1, ts_publish_ns=1, producer_id="",
    )  # fmt: skip
    broker.publish(topology.MARKET_TICKS, [("k", tick)] * 40, partition=2)
    drain(lambda: make(broker), crashes)
    return broker.values(topology.VALIDATED)


def caught(kind: type[Runner], handler: Any = handle) -> list[int]:
    """Crash points at which a runner of this kind gives other outputs than a calm run."""

    def make(broker: MemoryBroker) -> Runner:
        runner = runner_on(stage_of(handler), broker, snapshot_every=9, most=4)
        return kind(runner.stage, runner.recovery.policy and packaged(), runner.world)

    calm = outcome(make, frozenset())
    return [n for n in range(1, 25) if outcome(make, frozenset({n})) != calm]


def packaged() -> Any:
    """The packaged configuration."""
    from usp.config.model import packaged_defaults

    return packaged_defaults()


def test_the_right_runner_passes_everywhere() -> None:
    """No crash point changes a bit."""
    assert [] == caught(Runner)


@pytest.mark.parametrize("kind", [SnapshotBeforeCommit, NoReplay])
def test_a_wrong_recovery_is_caught(kind: type[Runner]) -> None:
    """Snapshot before commit, and no replay behind the snapshot, show up at some crash point."""
    assert caught(kind)


def test_state_that_depends_on_now_is_caught() -> None:
    """A replay has another clock, so its state differs."""
    assert caught(Runner, handle_with_clock)
