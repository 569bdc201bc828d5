# SPDX-License-Identifier: MIT
"""What automatic tuning makes of the records that it reads; it computes and proposes only when it is due."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prediction_examples import prediction
from usp.config.model import packaged_defaults
from usp.io.bus import Partition, RawRecord
from usp.io.reader import ReadRecord
from usp.io.tick_files import TickRow
from usp.schemas.records import ConfigEpoch
from usp.stages.tuning.run import Found, Tuning
from usp.stages.tuning.space import space_of
from usp.stages.tuning.study import Plan, Search, Trial
from usp.stages.tuning.ticks import Gate, Walk
from usp.stages.tuning.trigger import LEAST_STEPS_BETWEEN
from usp.stages.tuning.watch import HISTORY, Seen, is_worth_it

CONFIG = packaged_defaults()


def record(value: Any, partition: int = 0) -> ReadRecord:
    """A record as a reader gives it."""
    return ReadRecord(RawRecord(Partition("t", partition), 0, b"S", b"", 0), value)


def epoch(number: int, cusum_k: float) -> ConfigEpoch:
    """An epoch with this slack."""
    config = replace(CONFIG, orchestration=replace(CONFIG.orchestration, cusum_k=cusum_k))
    return ConfigEpoch(
        epoch=number,
        config=config.canonical_bytes,
        config_hash=config.content_hash,
        previous_hash="",
        proposal_id=f"p{number}",
        rollback=False,
        baseline_rmse=None,
        created_ns=0,
    )


def predictions(seen: Seen, errors: list[float], changes: frozenset[int] = frozenset(), first: int = 1) -> None:
    """Predictions of one symbol with these errors, and a regime change at these steps."""
    for step, error in enumerate(errors, start=first):
        made = prediction(symbol="S", state_step=step, error=error, regime_change_detected=step in changes)
        seen.take(record(made, 3))


def with_ticks(seen: Seen, count: int = 10) -> Seen:
    """Some validated ticks of the symbol."""
    gate = Gate(CONFIG)
    for row in range(count):
        gate.take(TickRow(row, 10**18 + row * 10**9, "S", 100.0 + row % 7))
    for tick in gate.passed:
        seen.take(record(tick, 3))
    return seen


def test_the_newest_epoch_is_what_is_tuned() -> None:
    """Epochs count by their number, in whatever order and however often they are read."""
    seen = Seen()
    assert seen.config == CONFIG
    for value in (epoch(2, 0.3), epoch(1, 0.7), epoch(2, 0.3)):
        seen.take(record(value))
    assert (seen.epoch, seen.config.orchestration.cusum_k) == (2, 0.3)


def test_a_regime_change_that_costs_is_due_once() -> None:
    """Due with ticks to tune on; begun, it rests for every symbol."""
    seen = with_ticks(Seen())
    predictions(seen, [1.0, -1.0] * 200)
    assert seen.due() is None
    predictions(seen, [3.0, -3.0] * 20, frozenset({405}), first=401)
    assert seen.due() == (3, "S")
    seen.begun()
    assert seen.due() is None
    predictions(seen, [9.0] * 20, frozenset({445}), first=441)
    assert seen.due() is None
    assert seen.watches[3, "S"].tuned_step is not None
    assert LEAST_STEPS_BETWEEN > 100


def test_without_ticks_nothing_is_due() -> None:
    """Predictions alone are nothing to search on."""
    seen = Seen()
    predictions(seen, [1.0, -1.0] * 200 + [3.0, -3.0] * 20, frozenset({405}))
    assert seen.due() is None


def test_the_memory_is_bounded() -> None:
    """Only the newest ticks of a symbol are kept."""
    seen = with_ticks(Seen(), HISTORY + 50)
    kept = seen.ticks[3, "S"]
    assert len(kept) == HISTORY
    assert kept[-1].ts_event_ns == 10**18 + (HISTORY + 49) * 10**9


@pytest.mark.parametrize(
    ("value", "held_out", "expected"), [(0.98, 0.9, True), (0.98, 1.1, False), (0.995, 0.9, False)]
)
def test_only_what_promises_enough_is_proposed_unasked(value: float, held_out: float, expected: bool) -> None:
    """At least 1 % in the search, and better on the newest ticks too: less is not worth the risk of being wrong."""
    changes = {"orchestration.cusum_k": 0.3}
    plan = Plan(CONFIG, space_of(CONFIG, "fast"), "rmse", 10)
    tuning = Tuning(plan, "fast", Walk(), (), 1, Path("study.jsonl"), Path("cache"), False)
    state = Search(plan, 1.0, [Trial(0, changes, changes, value)])
    assert is_worth_it(Found(tuning, state, changes, value, 1.0, held_out)) is expected
