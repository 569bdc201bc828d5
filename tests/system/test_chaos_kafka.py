# SPDX-License-Identifier: MIT
"""The short form of `usp chaos` on Apache Kafka: two witnesses find every tick answered once, with the same bits."""

from pathlib import Path

import pytest
from rich.console import Console

from usp.config.settings import load_settings
from usp.stages.chaos.faults import FAULTS
from usp.stages.chaos.run import ChaosPlan, Outcome, run_chaos

pytestmark = [pytest.mark.kafka, pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(600)]

CACHE = Path(__file__).parents[2] / "var" / "cache" / "xla"


def hurt(folder: Path, plan: ChaosPlan) -> Outcome:
    """What the witnesses say."""
    settings = load_settings({"USP_PATHS__DATA_DIR": str(folder), "USP_PATHS__CACHE_DIR": str(CACHE)})
    outcome = run_chaos(settings, plan, Console(quiet=True))
    assert outcome.good, outcome.document()
    assert outcome.predictions_replayed == outcome.verdict.predictions > 0
    return outcome


def test_nothing_is_lost_doubled_or_changed_whatever_dies(tmp_path: Path) -> None:
    """A minute of kills, failpoints, frozen processes and damaged files."""
    outcome = hurt(tmp_path, ChaosPlan(minutes=1.0, seed=1, rate_per_s=40.0))
    assert sum(outcome.faults.values()) >= 1
    assert set(outcome.faults) <= set(FAULTS)


def test_orchestrators_come_and_go_under_load(tmp_path: Path) -> None:
    """One, three, one: partitions move with their state while ticks flow."""
    plan = ChaosPlan(minutes=3.0, seed=2, rate_per_s=60.0, faults=("scaled to three and back",), most_faults=1)
    outcome = hurt(tmp_path, plan)
    assert outcome.told[0].endswith("3 and back")
