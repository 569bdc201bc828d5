# SPDX-License-Identifier: MIT
"""The command line: every command helps, errors say found, expected and what to do, exit codes are as documented."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ("demo", "up", "run", "topics", "publish", "tail", "backtest", "doctor", "dlq", "bench")
CALLERS_FAULT, WORLDS_FAULT = 2, 3


def usp(*arguments: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a clean environment."""
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "COLUMNS": "200", "NO_COLOR": "1"} | environ
    command = [sys.executable, "-m", "usp.stages.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, timeout=120, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_with_an_example(command: str) -> None:
    """`--help` works without a broker and shows how to use it."""
    result = usp(command, "--help")
    assert 0 == result.returncode
    assert "Example: " in result.stdout


def test_topics_draws_the_pipeline() -> None:
    """Without a broker too."""
    from usp.stages import topology

    assert topology.draw() in usp("topics").stdout


def test_an_unknown_stage_is_named(tmp_path: Path) -> None:
    """Found, expected."""
    result = usp("run", "oracle", cwd=tmp_path)
    assert CALLERS_FAULT == result.returncode
    assert "found stage 'oracle'; expected one of ingest, orchestrator" in result.stderr


def test_a_stage_without_a_broker_says_what_to_set(tmp_path: Path) -> None:
    """What to do is part of the message."""
    result = usp("run", "ingest", cwd=tmp_path)
    assert CALLERS_FAULT == result.returncode
    assert "USP_BUS__BOOTSTRAP_SERVERS" in result.stderr


def test_a_schema_registry_that_is_away_is_told(tmp_path: Path) -> None:
    """Before a record is written, with the address and without its password."""
    where = {"USP_BUS__BOOTSTRAP_SERVERS": "127.0.0.1:9", "USP_SCHEMA_REGISTRY_URL": "http://me:hunter2@127.0.0.1:9"}
    result = usp("run", "ingest", cwd=tmp_path, **where)
    assert WORLDS_FAULT == result.returncode
    assert "schema registry at http://127.0.0.1:9" in result.stderr.replace("\n", " ")
    assert "hunter2" not in result.stderr


def test_an_unknown_setting_names_the_nearest(tmp_path: Path) -> None:
    """A typing error in the environment is not ignored."""
    result = usp("doctor", cwd=tmp_path, USP_BUS__BOOTSTRAP_SERVER="127.0.0.1:9")
    assert CALLERS_FAULT == result.returncode
    assert "bootstrap_servers" in result.stderr.replace("\n", "")


def test_a_broker_that_is_away_is_the_worlds_fault(tmp_path: Path) -> None:
    """The doctor says so within seconds, and what to do."""
    result = usp("doctor", "--json", cwd=tmp_path, USP_BUS__BOOTSTRAP_SERVERS="127.0.0.1:9")
    assert WORLDS_FAULT == result.returncode
    finding = json.loads(result.stdout)["broker"]
    assert finding["ok"] is False
    assert finding["advice"]


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    """The doctor names what is set, not its value."""
    result = usp("doctor", "--json", cwd=tmp_path, USP_REDIS__PASSWORD="hunter2", USP_PROPOSAL_KEY="hunter2")
    assert "USP_PROPOSAL_KEY" in result.stdout
    assert "hunter2" not in result.stdout + result.stderr


def test_backtest_writes_one_row_per_row_from_the_second_on(tmp_path: Path) -> None:
    """The columns are those that the documentation names; the summary is JSON."""
    ticks = tmp_path / "ticks.csv"
    lines = [f"{1_700_000_000_000_000_000 + n * 10**9},AAA,{100 + n % 7 / 10}" for n in range(60)]
    ticks.write_text("timestamp_ns,symbol,price\n" + "\n".join(lines) + "\n1,AAA,not-a-number\n")
    out = tmp_path / "pred.csv"
    cache = {"USP_PATHS__CACHE_DIR": os.environ["JAX_COMPILATION_CACHE_DIR"]}
    result = usp("backtest", str(ticks), "--out", str(out), "--json", "--burn-in", "10", cwd=tmp_path, **cache)
    assert 0 == result.returncode, result.stderr
    summary = json.loads(result.stdout)
    assert 1 == summary["malformed_rows"]
    assert "ticks.csv:62" in result.stderr
    with out.open() as handle:
        rows = list(csv.DictReader(handle))
    assert ["index", "timestamp_ns", "symbol", "pred", "median", "lo", "hi", "y"] == list(rows[0])
    assert list(range(1, 60)) == [int(row["index"]) for row in rows]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A sentence, no traceback."""
    result = usp("backtest", "nowhere.csv", cwd=tmp_path)
    assert CALLERS_FAULT == result.returncode
    assert "nowhere.csv" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_data_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The doctor finds it and says which setting moves it."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    result = usp("doctor", "--json", cwd=tmp_path, USP_PATHS__DATA_DIR=str(blocked))
    finding = json.loads(result.stdout)["data folder"]
    assert finding["ok"] is False
    assert "USP_PATHS__DATA_DIR" in finding["advice"]


def test_the_version() -> None:
    """For bug reports."""
    assert usp("--version").stdout.startswith("usp ")


def test_help_ends_with_the_exit_codes() -> None:
    """They are part of the interface."""
    text = " ".join(usp("--help").stdout.split())
    assert "Exit codes: 0 done;" in text
    assert "130 interrupted." in text


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("usp do", "doctor"), ("usp run orc", "orchestrator"), ("usp tail pred", "predictions"), ("usp dlq re", "replay")],
)
def test_the_shell_completes(typed: str, offered: str) -> None:
    """Commands, stages, topics."""
    words = {"_USP_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    command = [str(Path(sys.executable).with_name("usp"))]
    found = subprocess.run(command, capture_output=True, text=True, env=words, timeout=60, check=False)
    assert offered in found.stdout.split()


def test_no_colour_and_no_control_codes_in_a_pipe(tmp_path: Path) -> None:
    """Without NO_COLOR too: what is not a terminal gets text."""
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "COLUMNS": "100"}
    for arguments in (["doctor"], ["run", "oracle"], ["topics"]):
        command = [sys.executable, "-m", "usp.stages.cli", *arguments]
        found = subprocess.run(command, capture_output=True, env=env, cwd=tmp_path, timeout=60, check=False)
        assert b"\x1b" not in found.stdout + found.stderr


TALKATIVE = """
import typer
from usp.stages.commands.console import faults_told
app = typer.Typer()
@app.command()
def talk() -> None:
    with faults_told():
        for n in range(100_000):
            typer.echo("x" * 100)
app()
"""


def test_a_reader_that_has_read_enough_is_no_fault() -> None:
    """`usp ... | head -n 1` ends quietly."""
    with subprocess.Popen([sys.executable, "-c", TALKATIVE], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as talker:
        assert talker.stdout is not None
        assert talker.stderr is not None
        talker.stdout.readline()
        talker.stdout.close()
        assert (0, b"") == (talker.wait(60), talker.stderr.read())


def test_a_demo_too_short_for_its_faults_is_refused(tmp_path: Path) -> None:
    """Nothing is started for a plan that has no room for the planted faults."""
    result = usp("demo", "--seconds", "8", cwd=tmp_path)
    assert CALLERS_FAULT == result.returncode
    assert "15" in result.stderr
