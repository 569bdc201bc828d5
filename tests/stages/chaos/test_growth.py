# SPDX-License-Identifier: MIT
"""Growth is found through kills and noise, and a flat pipeline is not blamed."""

import os
import subprocess

import pytest

from usp.stages.chaos.growth import Growth, Look, look_at, peaks_of

MIB = 2**20


def looks(resident_mib: list[float], files: list[int]) -> list[Look]:
    """One a second."""
    return [Look(float(n), int(m * MIB), f) for n, (m, f) in enumerate(zip(resident_mib, files, strict=True))]


def sawtooth(peak: float, leak: float = 0.0) -> list[float]:
    """Memory of a stage that is killed every ten seconds, and what a leak that outlives the kills adds."""
    return [peak * (0.5 + n % 10 / 20) + leak * n for n in range(200)]


@pytest.mark.parametrize(
    ("resident", "files", "flat"),
    [
        pytest.param(sawtooth(400.0), [30] * 200, True, id="killed again and again"),
        pytest.param(sawtooth(400.0, 1.0), [30] * 200, False, id="memory grows"),
        pytest.param(sawtooth(400.0), [30 + n // 10 for n in range(200)], False, id="open files grow"),
        pytest.param([300.0] * 40 + [400.0] * 160, [30] * 200, True, id="a start that needs its time"),
    ],
)
def test_what_grows_is_found(resident: list[float], files: list[int], flat: bool) -> None:
    """The last quarter of the run beside the second."""
    assert peaks_of(looks(resident, files)).flat == flat


def test_a_process_is_looked_at_and_a_dead_one_passed_over() -> None:
    """Memory and files of this very process; nothing of one that is gone."""
    own = look_at(os.getpid(), 1.0)
    assert own is not None
    assert own.resident_bytes > MIB
    assert own.open_files >= 3
    gone = subprocess.Popen(["true"])
    gone.wait()
    growth = Growth()
    growth.look({"own": os.getpid(), "gone": gone.pid})
    assert set(growth.looks) == {"own"}
    assert growth.peaks() == {}
