# SPDX-License-Identifier: MIT
"""The worked examples of the guide for developers run as they are printed, in order, in one program."""

import subprocess
import sys
from pathlib import Path

import pytest

from markdown_blocks import blocks

TESTS = Path(__file__).parents[1]
GUIDE = TESTS.parent / "runbooks/guide-extend.md"
EXAMPLES = [block for block in blocks(GUIDE) if block.language == "python"]


def test_there_is_one_for_each_promise():
    """A stage and its test, a field, a kernel."""
    assert 4 == len(EXAMPLES)


@pytest.mark.slow
def test_the_examples_run_as_printed():
    """Their assertions hold: the crash-tested stage, the compatible field, the learning kernel."""
    program = "\n".join(block.text for block in EXAMPLES)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=TESTS, env={"PYTHONPATH": str(TESTS), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
