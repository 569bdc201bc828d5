# SPDX-License-Identifier: MIT
"""Child processes: kept running, ever more slowly where they keep dying; helpers beside them, for whom nobody waits."""

import time
from pathlib import Path

import pytest

from usp.io.local_process import LocalProcess, spawn
from usp.stages import topology
from usp.stages.supervisor import FIRST_BACKOFF_S, LONGEST_BACKOFF_S, STEADY_S, Child, Supervisor


class Own(Supervisor):
    """Runs a program of the system in the place of a stage."""

    program: tuple[str, ...] = ("false",)

    def spawn(self, name: str, port: int) -> LocalProcess:
        """See `Supervisor.spawn`."""
        return spawn(name, self.program, self.log_dir / f"{name}.log")


def supervised(folder: Path, told: list[str], *program: str) -> tuple[Own, Child]:
    """A supervisor with one child."""
    supervisor = Own({}, folder, told.append)
    supervisor.program = program
    child = Child("x", 0, supervisor.spawn("x", 0), time.monotonic())
    supervisor.children["x"] = child
    return supervisor, child


def test_a_crash_loop_backs_off(tmp_path: Path) -> None:
    """Each pause is twice the one before, is said, and is kept; there is a longest one."""
    told: list[str] = []
    supervisor, child = supervised(tmp_path, told, "false")
    starts: list[float] = []
    while child.restarts < 3:
        before = child.restarts
        supervisor.watch()
        starts += [time.monotonic()] * (child.restarts - before)
        time.sleep(0.01)
    assert [text.split("restarts in ")[1].split(" (")[0] for text in told[:3]] == ["0.5 s", "1.0 s", "2.0 s"]
    assert starts[1] - starts[0] >= 1.0
    assert starts[2] - starts[1] >= 2.0
    for _ in range(9):
        supervisor.restart(child, time.monotonic())
    assert child.backoff_s == LONGEST_BACKOFF_S
    supervisor.stop()


def test_who_has_run_steadily_is_restarted_quickly_again(tmp_path: Path) -> None:
    """A crash after a good hour is no crash loop."""
    supervisor, child = supervised(tmp_path, [], "sleep", "60")
    child.backoff_s = LONGEST_BACKOFF_S
    supervisor.watch()
    assert child.backoff_s == LONGEST_BACKOFF_S
    child.started_s -= STEADY_S + 1
    supervisor.watch()
    assert (child.backoff_s, child.restarts) == (FIRST_BACKOFF_S, 0)
    child.process.kill()


@pytest.mark.slow
def test_a_helper_runs_beside_the_stages_and_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readiness is that of the stages alone; a helper that dies is told and restarted; stop ends it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(topology, "STAGES", {})
    told: list[str] = []
    supervisor = Supervisor({"USP_PATHS__DATA_DIR": str(tmp_path)}, tmp_path / "logs", told.append)
    supervisor.add_helper("tuner", "tune", "--watch")
    try:
        assert supervisor.ready() == {}
        end = time.monotonic() + 120.0
        while not supervisor.children["tuner"].restarts and time.monotonic() < end:
            supervisor.watch()
            time.sleep(0.05)
    finally:
        supervisor.stop()
    assert supervisor.children["tuner"].restarts
    assert told[0].startswith("tuner died, restarts in 0.5 s")
    assert "found no broker" in (tmp_path / "logs/tuner.log").read_text()
    assert not supervisor.children["tuner"].process.is_running()
