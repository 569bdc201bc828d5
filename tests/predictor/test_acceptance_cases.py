# SPDX-License-Identifier: MIT
"""The page of acceptance cases names each case, and only tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "runbooks/decisions/test-cases.md").read_text()
CASES = {*range(1, 21), 25, 26, 27, 30, 31, *range(36, 41)}


def test_every_case_of_the_predictor_has_its_row() -> None:
    """Cases 1 to 20, 25 to 27, 30, 31 and 36 to 40, each once."""
    assert sorted(CASES) == [int(number) for number in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)]


def test_every_test_that_is_named_exists() -> None:
    """Functions by their whole name, files by their path."""
    defined = {
        name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    files = set(re.findall(r"`(tests/[\w/]+\.py)`", PAGE))
    assert named and files
    assert (set(), set()) == (named - defined, {file for file in files if not (ROOT / file).is_file()})
