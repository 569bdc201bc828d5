# SPDX-License-Identifier: MIT
"""Processes beside the stages: kept running and stopped like them, and nobody waits for them."""

import time
from pathlib import Path

import pytest

from usp.stages import topology
from usp.stages.supervisor import Supervisor


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
