# SPDX-License-Identifier: MIT
"""`usp tune` as a user meets it: arguments, files, resuming, what is written; and that others do not pay for it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from usp.config.model import packaged_defaults
from usp.io.proposal_signature import refusal, sign
from usp.stages.cli import app
from usp.stages.commands.proposal_file import ProposalFileError, Wish, read_wish, write_wish
from usp.stages.tuning.proposal import tuned_proposal, wish_of
from usp.stages.tuning.run import Found, Tuning
from usp.stages.tuning.space import space_of
from usp.stages.tuning.study import Plan, Search, Trial
from usp.stages.tuning.ticks import Walk

CONFIG = packaged_defaults()
NOW_NS = 1_700_000_000_000_000_000


def tick_file(path: Path, rows: int) -> Path:
    """A random walk, one tick per second."""
    prices = 100 + np.cumsum(np.random.default_rng(5).standard_normal(rows)) * 0.1
    lines = [f"{NOW_NS + row * 1_000_000_000},A,{price:.4f}" for row, price in enumerate(prices)]
    path.write_text("timestamp_ns,symbol,price\n" + "\n".join(lines) + "\n")
    return path


def found(held_out: float = 0.98) -> Found:
    """A tuning that found 0.95 instead of 1."""
    plan = Plan(CONFIG, space_of(CONFIG, "fast"), "rmse", 10)
    changes = {"orchestration.cusum_k": 0.3, "kernels.wtmm_buffer_size": 256}
    best = Trial(0, changes, changes, 0.95)
    tuning = Tuning(plan, "fast", Walk(), (), 1, Path("study.jsonl"), Path("cache"), False)
    return Found(tuning, Search(plan, 1.0, [best]), changes, 0.95, 1.0, held_out)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "expected either a FILE, --from-log or --watch"),
        (["a.csv", "--from-log"], "expected either a FILE, --from-log or --watch"),
        (["a.csv", "--tier", "slow"], "--tier fast or deep"),
        (["a.csv", "--objective", "sharpe"], "--objective rmse, mape or mase"),
        (["nowhere.csv"], "nowhere.csv"),
        (["short.csv"], "found 43 rows; expected at least 334"),
        (["bad.csv"], "expected a header"),
    ],
)
def test_the_callers_faults_are_told(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 and a sentence that says what was expected."""
    monkeypatch.chdir(tmp_path)
    tick_file(tmp_path / "short.csv", 50)
    (tmp_path / "bad.csv").write_text("")
    result = CliRunner().invoke(app, ["tune", *arguments], env={"COLUMNS": "1000"})
    assert result.exit_code == 2
    assert told in " ".join(result.output.split())


def test_a_result_that_does_not_hold_on_the_newest_ticks_is_not_proposed() -> None:
    """Better in the search is not enough."""
    assert found().is_better
    assert not found(held_out=1.0).is_better
    assert not found(held_out=float("nan")).is_better


def test_the_proposal_is_what_the_governor_takes() -> None:
    """TOML literals, an expiry, and with a key a signature that the governor accepts once and not later."""
    key = b"k" * 32
    proposal = tuned_proposal(found(), NOW_NS, key)
    assert proposal.changes == {"orchestration.cusum_k": "0.3", "kernels.wtmm_buffer_size": "256"}
    assert (proposal.proposer, proposal.trigger, proposal.best_objective) == ("tuner", "FastTuning", 0.95)
    assert refusal(proposal, key, NOW_NS) is None
    assert proposal.signature == sign(proposal, key)
    assert "expired" in str(refusal(proposal, key, NOW_NS + 3600 * 10**9))
    assert tuned_proposal(found(), NOW_NS, None).signature is None


def test_the_proposal_file_comes_back_as_it_was_found(tmp_path: Path) -> None:
    """Plain JSON that a person can read before proposing it, with what it rests on."""
    path = tmp_path / "proposal.json"
    write_wish(path, wish_of(found()), found().document())
    assert read_wish(path) == Wish(
        {"orchestration.cusum_k": "0.3", "kernels.wtmm_buffer_size": "256"}, "FastTuning", 0.95
    )
    assert json.loads(path.read_text())["tuning"]["held_out_best"] == 0.98


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"changes": {}, "trigger": "x", "best_objective": 1}',
        '{"changes": {"a": 1}, "trigger": "x", "best_objective": 1}',
        '{"changes": {"a": "1"}, "trigger": 5, "best_objective": 1}',
        '{"changes": {"a": "1"}, "trigger": "x", "best_objective": NaN}',
    ],
)
def test_what_is_no_proposal_file_is_refused(text: str, tmp_path: Path) -> None:
    """A sentence with what was expected, whatever the file holds."""
    path = tmp_path / "proposal.json"
    path.write_text(text)
    with pytest.raises(ProposalFileError, match="expected JSON with changes"):
        read_wish(path)


def test_other_commands_start_without_optuna_and_jax() -> None:
    """Whoever does not tune does not load what tuning needs."""
    code = "import sys, usp.stages.cli; print(sorted({'optuna', 'jax', 'sqlalchemy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_tuning_from_file_to_answer_and_its_resumption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search is kept under data_dir; the same command refuses to run over it, and resumes it without measuring."""
    monkeypatch.chdir(tmp_path)
    tick_file(tmp_path / "a.csv", 420)
    cache = Path(__file__).parents[3] / ".local/jax"
    env = {"USP_PATHS__CACHE_DIR": str(cache), "COLUMNS": "1000"}
    command = ["tune", "a.csv", "--trials", "10", "--no-structural", "--json"]
    first = CliRunner().invoke(app, command, env=env)
    assert first.exit_code == 0, first.output
    answer = json.loads(first.stdout)
    assert answer["trials"] == 10
    assert Path(answer["study"]).exists()
    again = CliRunner().invoke(app, command, env=env)
    assert again.exit_code == 2
    assert "--resume" in again.output
    resumed = CliRunner().invoke(app, [*command, "--resume"], env=env)
    assert json.loads(resumed.stdout) == answer
