# SPDX-License-Identifier: MIT
"""`usp bench`: every benchmark is a subcommand, and what is typed wrong is told before anything runs."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from usp.stages.bench.figures import BENCHES
from usp.stages.cli import app
from usp.stages.commands.bench import MEASURES

CALLERS_FAULT = 2
WIDE = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


def usp(*arguments: str):
    """The command in this process."""
    return CliRunner(env=WIDE).invoke(app, list(arguments))


def test_every_benchmark_is_a_subcommand() -> None:
    """Nothing is registered that cannot be called, and nothing is offered that is not there."""
    assert BENCHES.keys() == MEASURES.keys()


@pytest.mark.parametrize("name", [*MEASURES, "accuracy"])
def test_every_subcommand_helps_with_an_example(name: str) -> None:
    """`--help` says how to use it."""
    result = usp("bench", name, "--help")
    assert 0 == result.exit_code
    assert f"Example: usp bench {name}" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--series", "seasonl"), "Did you mean 'seasonal'?"),
        (("--bank", "coer"), "Did you mean 'core'?"),
        (("--peers", "prophet"), "one of last_value"),
        (("--seeds", "one"), "whole numbers from 0 on"),
        (("nowhere.csv",), "nowhere.csv"),
    ],
)
def test_what_is_typed_wrong_is_told(
    arguments: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 and a sentence, without a traceback."""
    monkeypatch.chdir(tmp_path)
    result = usp("bench", "accuracy", *arguments)
    assert CALLERS_FAULT == result.exit_code
    assert told in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_a_file_is_measured_and_answered_in_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick file in, the verdict out; the page lies in the reports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("USP_PATHS__CACHE_DIR", os.environ["JAX_COMPILATION_CACHE_DIR"])
    lines = [f"{n * 10**9},AAA,{100 + (n * n) % 17 / 10}" for n in range(640)]
    (tmp_path / "ticks.csv").write_text("timestamp_ns,symbol,price\n" + "\n".join(lines) + "\n")
    result = usp("bench", "accuracy", "ticks.csv", "--peers", "last_value", "--json")
    assert 0 == result.exit_code, result.output
    found = json.loads(result.stdout)
    assert (1, ["usp_core"]) == (found["series"], [*found["verdict"]])
    assert Path(found["files"]["html"]).exists()
    assert Path("var/io/reports/accuracy/accuracy.html") == Path(found["files"]["html"])
