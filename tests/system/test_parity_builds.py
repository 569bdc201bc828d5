# SPDX-License-Identifier: MIT
"""The predictor on two builds: what a parity audit between machines would see."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CACHE = TESTS.parent / ".local/jax"


def run(log: Path, cache: Path, flags: str) -> Path:
    """The same ticks in a process of its own, under these flags of XLA."""
    command = [sys.executable, str(TESTS / "parity_run.py"), str(log), str(cache)]
    environ = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    subprocess.run(command, env=environ | {"XLA_FLAGS": flags}, check=True, timeout=280)
    return log


def compared(a: Path, b: Path) -> tuple[int, dict[str, object]]:
    """Exit code and document of `usp parity compare`."""
    command = [sys.executable, "-m", "usp.stages.cli", "parity", "compare", str(a), str(b), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the flag names instruction sets of x86")
def test_two_runs_of_a_build_are_equal_and_two_builds_are_close(tmp_path: Path):
    """One build: every bit. Another instruction set: another fingerprint, and 1e-6 at most between the numbers."""
    usual = run(tmp_path / "a.jsonl", CACHE, "")
    again = run(tmp_path / "b.jsonl", CACHE, "")
    code, found = compared(usual, again)
    assert (code, found["equal"], found["compared_within_tolerance"], found["different"]) == (0, True, 0, 0)
    older = run(tmp_path / "c.jsonl", CACHE, "--xla_cpu_max_isa=SSE4_2")
    code, found = compared(usual, older)
    assert found["compared_bit_for_bit"] == 0
    assert found["builds_a"] != found["builds_b"]
    assert (code, found["equal"]) == (0, True), found
