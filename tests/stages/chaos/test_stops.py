# SPDX-License-Identifier: MIT
"""The judge of stops finds who hangs, who ends uncleanly and who had ended before."""

import time
from pathlib import Path

import numpy as np
import pytest

from usp.io.local_process import LocalProcess, spawn
from usp.stages.chaos import stops
from usp.stages.chaos.scene import ChaosSupervisor
from usp.stages.chaos.stops import LONGEST_LOOK_S, Clock, StopOutcome, stop_round
from usp.stages.supervisor import Child

PROGRAMS = {
    "clean": "trap 'exit 0' TERM; while :; do sleep 0.02; done",
    "unclean": "trap 'exit 7' TERM; while :; do sleep 0.02; done",
    "deaf": "trap '' TERM; while :; do sleep 0.02; done",
    "gone": "exit 3",
}


class Shell(ChaosSupervisor):
    """Runs shell programs in the place of stages, which are ready at once."""

    def spawn(self, name: str, port: int) -> LocalProcess:
        """See `Supervisor.spawn`."""
        return spawn(name, ["sh", "-c", PROGRAMS[name]], self.log_dir / f"{name}.log")

    def ready(self) -> dict[str, bool]:
        """See `Supervisor.ready`."""
        return dict.fromkeys(self.children, True)


def judged(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, second_share: float = 0.0) -> StopOutcome:
    """One round with one child."""
    for constant, value in (("SPREAD_S", 0.3), ("DEADLINE_S", 1.0), ("GIVE_UP_S", 2.0), ("SECOND_SHARE", second_share)):
        monkeypatch.setattr(stops, constant, value)
    supervisor = Shell({}, folder, lambda text: None)
    supervisor.children[name] = Child(name, 0, supervisor.spawn(name, 0), time.monotonic())
    time.sleep(0.3)
    outcome = StopOutcome(1)
    stop_round(supervisor, np.random.default_rng(1), outcome)
    assert not supervisor.children[name].process.is_running()
    return outcome


def test_a_clean_stop_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts, with its time."""
    outcome = judged(tmp_path, monkeypatch, "clean")
    assert (outcome.stops, outcome.hangs, outcome.unclean) == (1, [], [])
    assert 0.0 <= outcome.stop_s[0] < 1.0


def test_another_exit_status_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quick, but not clean."""
    assert judged(tmp_path, monkeypatch, "unclean").unclean == ["unclean: exit status 7"]


@pytest.mark.parametrize("second_share", [0.0, 1.0])
def test_who_does_not_end_hangs_and_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second_share: float
) -> None:
    """After one signal and after two."""
    outcome = judged(tmp_path, monkeypatch, "deaf", second_share)
    assert outcome.stops == 1
    assert len(outcome.hangs) == 1
    assert not outcome.good


def test_who_had_ended_before_is_no_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to measure; a supervisor's child that is down is started by its watch."""
    assert judged(tmp_path, monkeypatch, "gone").stops == 0


def test_a_machine_that_stood_still_is_no_hang() -> None:
    """Where nobody looked, nobody can say who hung."""
    clock = Clock()
    clock.seen_s -= 1000.0
    assert clock.look() == LONGEST_LOOK_S
    time.sleep(0.05)
    assert LONGEST_LOOK_S + 0.05 <= clock.look() <= 2 * LONGEST_LOOK_S
