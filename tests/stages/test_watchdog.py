# SPDX-License-Identifier: MIT
"""A process that does not get on is ended, one that merely has nothing to do is not."""

import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from threading import Event

import pytest
import structlog

from usp.io.bus import Partition
from usp.io.log_ends import Ends
from usp.io.metrics import Meter
from usp.stages.commands.console import NO_PROGRESS
from usp.stages.watchdog import COMMIT_LOOKS, Progress, Watchdog, nothing_known

A, B = Partition("t", 0), Partition("t", 1)


def test_a_loop_that_comes_round_is_never_stuck() -> None:
    """Nor is one whose replay gets on."""
    progress = Progress(patience=3)
    assert [progress.look(turns, 0) for turns in range(20)] == [""] * 20
    assert [progress.look(20, records) for records in range(1, 20)] == [""] * 19


def test_a_loop_that_stands_still_is_found_after_its_patience() -> None:
    """And not one look earlier; a single round starts the count anew."""
    progress = Progress(patience=3)
    assert [bool(progress.look(7, 0)) for _ in range(5)] == [False, False, False, True, True]
    assert not progress.look(8, 0)
    assert [bool(progress.look(8, 0)) for _ in range(3)] == [False, False, True]


def test_a_commit_has_less_patience_than_a_loop() -> None:
    """Counted from the commit on: a long batch before it is no reason."""
    progress = Progress()
    assert not any(progress.look(7, 0) for _ in range(COMMIT_LOOKS + 5))
    assert [bool(progress.look(7, 0, committing=True)) for _ in range(COMMIT_LOOKS)] == [False] * (COMMIT_LOOKS - 1) + [
        True
    ]
    assert not progress.look(8, 0, committing=True)


@pytest.mark.parametrize(
    ("steps", "stuck"),
    [
        pytest.param([(5, 5), (5, 5), (5, 5), (5, 5)], False, id="idle"),
        pytest.param([(5, 9), (6, 12), (7, 20), (8, 30)], False, id="slow, but it moves"),
        pytest.param([(5, 6), (5, 6), (5, 6), (5, 6)], False, id="behind the end marker of a transaction for ever"),
        pytest.param([(5, 9), (5, 10), (5, 11), (5, 12)], True, id="lag grows and nothing is taken"),
        pytest.param([(5, 9), (5, 10), (5, 11), (9, 12)], False, id="it moved at last"),
    ],
)
def test_lag_that_grows_while_nothing_moves(steps: list[tuple[int, int]], stuck: bool) -> None:
    """(position, last stable offset) at each probe; another partition that moves changes nothing."""
    progress = Progress(patience=3)
    found: list[Partition] = []
    for number, (position, stable) in enumerate(steps):
        ends = {A: Ends(stable, stable), B: Ends(number, number)}
        found = progress.probe({A: position, B: number}, ends, 1)
    assert found == ([A] if stuck else [])


def test_an_open_transaction_is_counted_only_while_it_stands() -> None:
    """Its time grows while the stable offset stays below the end; it is nobody's lack of progress."""
    progress = Progress(patience=2)
    for _ in range(4):
        assert progress.probe({A: 5}, {A: Ends(5, 9)}, 5) == []
    assert progress.blocked[A] == 15
    progress.probe({A: 5}, {A: Ends(9, 9)}, 5)
    assert progress.blocked[A] == 0


def test_a_partition_that_was_given_up_is_forgotten() -> None:
    """Its new owner is another process's watchdog's concern."""
    progress = Progress(patience=1)
    progress.probe({A: 1}, {A: Ends(5, 5)}, 1)
    assert progress.probe({B: 1}, {B: Ends(1, 1)}, 1) == []
    assert set(progress.waiting) == {B}


@dataclass
class Loop:
    """A loop that stands still."""

    turns: int = 3
    committing: bool = False
    restored_records: int = 0
    positions: dict[Partition, int] = field(default_factory=lambda: {A: 4})


def test_the_thread_ends_a_process_that_stands_still(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It says why, shows where every thread stands, and asks for the end."""
    monkeypatch.setattr("usp.stages.watchdog.LOOK_S", 0.01)
    ended = Event()
    dog = Watchdog(Loop(), nothing_known, lambda *_: True, Meter("x"), structlog.get_logger(), ended.set, Progress(3))
    dog.start()
    assert ended.wait(5.0)
    dog.stop.set()
    assert "most recent call first" in capfd.readouterr().err


@pytest.mark.parametrize("readable", [True, False])
def test_only_records_that_a_reader_finds_count_as_waiting(readable: bool) -> None:
    """Aborted records move the end and are nobody's work; lag is measured in either case."""
    grown = iter(range(10, 99))
    meter = Meter("x")

    def ends(partitions: list[Partition]) -> dict[Partition, Ends]:
        now = next(grown)
        return {p: Ends(now, now) for p in partitions}

    dog = Watchdog(Loop(), ends, lambda *_: readable, meter, structlog.get_logger(), lambda: None, Progress(10))
    said = [dog.probe() for _ in range(4)]
    assert bool(said[-1]) == readable
    lag = meter.registry.get_sample_value("usp_lag_offsets", {"stage": "x", "topic": "t", "partition": "0"})
    assert lag == 13 - 4


PROCESS = """
import os, signal, sys, time
import structlog
from usp.io.metrics import Meter
from usp.stages import watchdog
from usp.stages.commands.console import NO_PROGRESS

class Loop:
    turns, committing, restored_records, positions = 0, False, 0, {}

watchdog.LOOK_S = 0.05
loop, blocked = Loop(), []
signal.signal(signal.SIGUSR1, lambda *_: blocked.append(1))
dog = watchdog.Watchdog(loop, watchdog.nothing_known, lambda *_: True, Meter("x"), structlog.get_logger(),
                        lambda: os._exit(NO_PROGRESS), watchdog.Progress(10))
dog.start()
print("up", flush=True)
while not blocked:
    loop.turns += 1
    time.sleep(0.01)
time.sleep(60)
"""


@pytest.mark.slow
def test_a_process_that_was_stopped_goes_on_and_one_that_is_blocked_ends() -> None:
    """After SIGSTOP and SIGCONT nobody is thought stuck; a loop that waits for ever ends with its exit code."""
    process = subprocess.Popen([sys.executable, "-c", PROCESS], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)  # three times its patience
        process.send_signal(signal.SIGCONT)
        time.sleep(1.5)
        assert process.poll() is None
        process.send_signal(signal.SIGUSR1)
        assert process.wait(20.0) == NO_PROGRESS
    finally:
        process.kill()
