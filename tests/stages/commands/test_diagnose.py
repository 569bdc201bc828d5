# SPDX-License-Identifier: MIT
"""`usp diagnose`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from usp.stages.cli import app
from usp.stages.commands.diagnose import shown


def test_long_lists_are_cut_and_flags_are_words() -> None:
    """Six numbers of a list, four digits of a number, yes and no."""
    assert shown([1.0] * 8) == "1, 1, 1, 1, 1, 1 ..."
    assert (shown(True), shown(0.123456), shown("more"), shown([1, 2])) == ("yes", "0.1235", "more", "1, 2")


def test_a_missing_file_is_the_callers_fault() -> None:
    """No traceback: exit code 2 and the name of the file."""
    result = CliRunner().invoke(app, ["diagnose", "no-such-file.csv"])
    assert result.exit_code == 2


@pytest.mark.slow
def test_a_file_is_diagnosed_per_symbol(tmp_path: Path) -> None:
    """JSON with every symbol of the file and the sensitivities that were asked for."""
    rows = [f"{n * 10**9},{symbol},{100 + (n * 7 % 13) / 10}" for n in range(1, 80) for symbol in ("X", "Y")]
    file = tmp_path / "prices.csv"
    file.write_text("\n".join(["timestamp_ns,symbol,price", *rows]) + "\n")
    result = CliRunner().invoke(app, ["diagnose", str(file), "--sensitivities", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.strip().splitlines()[-1])
    assert set(found) == {"X", "Y"} and found["X"]["state_step"] == 79 and found["X"]["gradient_norm"] > 0.0
