# SPDX-License-Identifier: MIT
"""`usp config` and `usp audit`: what they say without a broker, and how a proposal is made and signed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from snapshot_examples import DOCUMENT, HEADER
from usp.config.model import packaged_defaults, packaged_text
from usp.io.audit_anchors import AUDIT_ANCHOR
from usp.io.audit_log import append_audit_log
from usp.io.proposal_signature import refusal
from usp.io.snapshot_format import snapshot_id
from usp.io.snapshots import SnapshotStore, encode_snapshot
from usp.stages.cli import app
from usp.stages.commands.config_client import proposal_of

CALLERS_FAULT, WORLDS_FAULT, STATE_IN_DOUBT = 2, 3, 5
LOG = Path("var/io/mutations.log")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder, in which no broker is configured and no environment is ours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("usp.stages.commands.console.environment", dict)
    return tmp_path


def usp(*words: str) -> Any:
    """The command, in this process."""
    return CliRunner().invoke(app, list(words))


def test_show_is_the_packaged_file_before_the_first_start_and_then_the_governors():
    """Whole, comments included; --json has the values and the hash."""
    assert packaged_text().rstrip() in usp("config", "show").stdout
    Path("var").mkdir()
    Path("var/config.toml").write_text(packaged_text().replace("cusum_k = 0.5", "cusum_k = 0.75"))
    found = json.loads(usp("config", "show", "--json").stdout)
    assert found["config"]["orchestration"]["cusum_k"] == 0.75
    assert found["config_hash"] != packaged_defaults().content_hash


def test_diff_names_each_key_that_differs():
    """Old and new value of the changed key alone; equal versions are said to be."""
    assert usp("config", "diff", "packaged", "file").stdout == "packaged and file are equal\n"
    Path("var").mkdir()
    Path("var/config.toml").write_text(packaged_text().replace("cusum_k = 0.5", "cusum_k = 0.75"))
    found = json.loads(usp("config", "diff", "packaged", "file", "--json").stdout)
    assert found["differences"] == {"orchestration.cusum_k": [0.5, 0.75]}


def test_explain_says_what_a_key_means_and_who_changed_it():
    """Meaning, unit, range, rule, value, and the last change that took place."""
    fresh = json.loads(usp("config", "explain", "orchestration.cusum_k", "--json").stdout)
    assert (fresh["meaning"], fresh["in the file"]) == ("slack of both CUSUM arms", 0.5)
    assert fresh["at run time"] == "mutable, 0.1 to 1"
    assert "never" in fresh["last changed"]
    LOG.parent.mkdir(parents=True)
    shared = {"proposal_id": "p", "proposer": "ada", "delta": {"orchestration.cusum_k": [0.5, 0.6]}}
    append_audit_log(LOG, {"event": "MUTATION_INTENT", "status": "PENDING", **shared, "proposer": "eve"})
    append_audit_log(LOG, {"event": "MUTATION_SUCCESS", "status": "SUCCESS", **shared})
    told = json.loads(usp("config", "explain", "orchestration.cusum_k", "--json").stdout)["last changed"]
    assert "by ada: 0.5 -> 0.6" in told


def test_a_misspelt_key_gets_a_suggestion():
    """Exit code of a caller's fault."""
    result = usp("config", "explain", "orchestration.cusum_q")
    assert result.exit_code == CALLERS_FAULT


def test_a_symbols_key_is_explained():
    """Tables of symbols have keys too."""
    assert json.loads(usp("config", "explain", "symbols.default.bank", "--json").stdout)["in the file"] == "core"


def test_the_lock_list_has_locks_and_ranges():
    """What never changes, and what may, within what."""
    found = json.loads(usp("config", "lock-list", "--json").stdout)
    assert "core.float_precision" in found["locked"]
    assert found["mutable"]["orchestration.cusum_k"] == {"type": "float", "range": [0.1, 1.0]}


@pytest.mark.parametrize(
    "words",
    [
        ("propose",),
        ("propose", "orchestration.cusum_k"),
        ("propose", "=1"),
        ("propose", "a.b=1", "a.b=2"),
        ("propose", "a.b=1", "--from", "wish.json"),
        ("propose", "--from", "missing.json"),
        ("freeze", " "),
    ],
)
def test_a_call_that_makes_no_sense_is_the_callers_fault(words):
    """Nothing is sent; exit code 2."""
    assert usp("config", *words).exit_code == CALLERS_FAULT


def test_without_a_broker_a_proposal_says_what_to_do():
    """Nobody could answer."""
    assert usp("config", "propose", "orchestration.cusum_k=0.6").exit_code != 0
    assert usp("config", "rollback").exit_code != 0


def test_freeze_leaves_a_note_and_thaw_takes_it_away():
    """Twice is once; the reason is in the note."""
    assert usp("config", "freeze", "exchange outage").exit_code == 0
    assert "exchange outage" in Path("var/config.toml.frozen").read_text()
    assert usp("config", "thaw").stdout == "changes are allowed again\n"
    assert usp("config", "thaw").stdout == "nothing was frozen\n"


@pytest.mark.parametrize("action", ["change", "rollback", "adopt"])
def test_a_proposal_is_signed_where_there_is_a_key(action):
    """The governor trusts it with the same key, not with another, and not after ten minutes."""
    proposal = proposal_of(action, {}, "ada", "Test", 10**18, b"key", target="beef")
    assert refusal(proposal, b"key", 10**18) is None
    assert "does not match" in (refusal(proposal, b"other", 10**18) or "")
    assert "expired" in (refusal(proposal, b"key", 10**18 + 601 * 10**9) or "")
    assert proposal_of(action, {}, "ada", "Test", 10**18, None).signature is None


def written(lines: int = 4) -> list[bytes]:
    """An audit log of some lines."""
    LOG.parent.mkdir(parents=True)
    for number in range(lines):
        append_audit_log(LOG, {"event": "TEST", "number": number})
    return LOG.read_bytes().splitlines(keepends=True)


def test_a_whole_log_is_verified():
    """Exit code 0, and what cannot be seen is said."""
    written()
    result = usp("audit", "verify", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["lines"], found["problems"]) == (0, 4, [])
    assert "cannot show" in found["limits"]


@pytest.mark.parametrize("line", range(4))
@pytest.mark.parametrize("kind", ["edit", "remove", "swap", "repeat", "cut"])
def test_every_kind_of_damage_of_every_line_is_found(kind, line):
    """Exit code 5 names the line; a log cut at its end is shorter than its head."""
    lines = written()
    damaged = {
        "edit": [*lines[:line], lines[line].replace(b'"TEST"', b'"BEST"'), *lines[line + 1 :]],
        "remove": [*lines[:line], *lines[line + 1 :]],
        "swap": [*lines[:line], *reversed(lines[line : line + 2]), *lines[line + 2 :]],
        "repeat": [*lines[: line + 1], *lines[line:]],
        "cut": [*lines[:line], lines[line][:-9]],
    }[kind]
    LOG.write_bytes(b"".join(damaged))
    expected = 0 if damaged == lines else STATE_IN_DOUBT
    assert usp("audit", "verify").exit_code == expected


def test_a_log_rewritten_with_its_head_is_found_by_a_head_noted_elsewhere():
    """The chain alone cannot see it."""
    written()
    noted = json.loads(LOG.read_bytes().splitlines()[-1])["hash"]
    for path in LOG.parent.iterdir():
        path.unlink()
    append_audit_log(LOG, {"event": "FORGED"})
    assert usp("audit", "verify").exit_code == 0
    assert usp("audit", "verify", "--head", noted).exit_code == STATE_IN_DOUBT


def test_a_log_rewritten_with_its_head_is_found_by_a_snapshot():
    """Each snapshot names the line that was the newest when its epoch came; a whole log has it."""
    written()
    noted = json.loads(LOG.read_bytes().splitlines()[1])["hash"]
    for number, head in ((3, noted), (4, "")):
        data = encode_snapshot(
            replace(HEADER, partition=number, anchors={AUDIT_ANCHOR: head} if head else {}), DOCUMENT
        )
        SnapshotStore(Path("var/io/snapshots")).persist(data, snapshot_id(data), 0)
    found = json.loads(usp("audit", "verify", "--json").stdout)
    assert (found["problems"], list(found["heads"])) == ([], [noted])
    for path in LOG.parent.glob("mutations.log*"):
        path.unlink()
    append_audit_log(LOG, {"event": "FORGED"})
    assert usp("audit", "verify").exit_code == STATE_IN_DOUBT


def test_a_broken_snapshot_is_no_witness():
    """Whoever loads it says that it is broken; the log is judged by the others."""
    written()
    data = encode_snapshot(HEADER, DOCUMENT)
    stored = SnapshotStore(Path("var/io/snapshots")).persist(data, snapshot_id(data), 0)
    stored.path.write_bytes(data[:-40])
    assert usp("audit", "verify").exit_code == 0
