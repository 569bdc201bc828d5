# SPDX-License-Identifier: MIT
"""Promises of the audit log: durable lines, a chain that shows every tampering, repair of a torn end."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from usp.io.audit_log import append_audit_log, entries, head_path, verify
from usp.io.failpoints import Crash, crash, ignore, install

LINES = 5


@pytest.fixture
def log(tmp_path):
    """A log of five events."""
    path = tmp_path / "io" / "mutations.log"
    for number in range(LINES):
        append_audit_log(path, {"event": "MUTATION_SUCCESS", "delta": {"a.b": (number, number + 1)}})
    return path


def test_a_sound_log_verifies(log):
    """Nothing is reported about a log that nobody touched; every line is JSON with the event's fields."""
    assert verify(log) == []
    assert [e["sequence"] for e in entries(log)] == [1, 2, 3, 4, 5]
    assert entries(log)[2]["delta"] == {"a.b": [2, 3]}


@pytest.mark.parametrize("number", range(LINES))
def test_an_edited_line_is_found(log, number):
    """Changing one character of any line, the last one too, is reported with the line's number."""
    lines = log.read_text().splitlines(keepends=True)
    lines[number] = lines[number].replace("MUTATION_SUCCESS", "MUTATION_SUCCESs")
    log.write_text("".join(lines))
    assert any(problem.startswith(f"line {number + 1}: was edited") for problem in verify(log))


@pytest.mark.parametrize("number", range(LINES))
def test_a_removed_line_is_found(log, number):
    """Any line that is missing is noticed, the first and the last too."""
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:number] + lines[number + 1 :]))
    assert verify(log)


@pytest.mark.parametrize("number", range(LINES - 1))
def test_reordered_lines_are_found(log, number):
    """Any two neighbours that changed places are noticed."""
    lines = log.read_text().splitlines(keepends=True)
    lines[number], lines[number + 1] = lines[number + 1], lines[number]
    log.write_text("".join(lines))
    assert verify(log)


@pytest.mark.parametrize("number", range(LINES + 1))
def test_an_inserted_line_is_found(log, number):
    """A copy of a sound line in another place is noticed."""
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join([*lines[:number], lines[1], *lines[number:]]))
    assert verify(log)


@pytest.mark.parametrize("kept", range(LINES))
def test_a_truncated_log_is_found(log, kept):
    """A lost end is noticed by the head beside the log, and by a head noted elsewhere."""
    head = entries(log)[-1]["hash"]
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:kept]))
    assert verify(log)
    head_path(log).unlink()
    assert verify(log, head)


def test_a_log_that_is_gone_is_found(log):
    """Deleting the log is noticed as long as its head is there."""
    log.unlink()
    assert verify(log)


def test_a_log_that_never_was_is_sound(tmp_path):
    """Before the first change there is nothing to complain about."""
    assert verify(tmp_path / "mutations.log") == []


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_torn_end_is_cut_and_said(log, cut):
    """After a crash in the middle of a line the next append repairs the log and writes down what it cut."""
    whole = log.read_bytes()
    log.write_bytes(whole[:-cut])
    head_path(log).unlink()
    append_audit_log(log, {"event": "MUTATION_ABORTED"})
    assert [e["event"] for e in entries(log)[-2:]] == ["AUDIT_REPAIRED", "MUTATION_ABORTED"]
    assert entries(log)[-2]["cut"]
    assert verify(log) == []


@pytest.mark.parametrize("name", ["audit.after_write", "audit.before_head"])
def test_a_crash_while_appending_leaves_a_sound_log(log, name):
    """Wherever the process dies, the chain holds and the next append goes on."""
    install(lambda passed: crash(passed) if passed == name else None)
    try:
        with pytest.raises(Crash):
            append_audit_log(log, {"event": "MUTATION_INTENT"})
    finally:
        install(ignore)
    assert verify(log) == []
    append_audit_log(log, {"event": "MUTATION_ABORTED"})
    assert verify(log) == []


def test_any_value_becomes_json(tmp_path):
    """NaN, infinity and paths are written as text, so that every JSON reader can read every line."""
    log = tmp_path / "mutations.log"
    append_audit_log(log, {"event": "X", "best_objective": math.nan, "r": [math.inf], "backup": Path("a/b")})
    entry = json.loads(log.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert (entry["best_objective"], entry["r"], entry["backup"]) == ("nan", ["inf"], "a/b")
    assert verify(log) == []


def test_many_writers_make_one_chain(tmp_path):
    """Appends from several threads never fork the chain."""
    log = tmp_path / "mutations.log"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: append_audit_log(log, {"event": "X", "n": n}), range(40)))
    assert verify(log) == []
    assert sorted(e["n"] for e in entries(log)) == list(range(40))


def test_an_unreadable_last_line_does_not_stop_the_log(log):
    """Garbage in the log is reported for ever, but new events still get a line."""
    log.write_bytes(log.read_bytes() + b"\xff\xfe garbage\n")
    append_audit_log(log, {"event": "AFTER"})
    assert entries(log)[-1]["event"] == "AFTER"
    assert any("line 6" in problem for problem in verify(log))
