# SPDX-License-Identifier: MIT
"""The short forms of `usp chaos` on Apache Kafka: each tick is answered once, with the same bits, and nothing hangs."""

from pathlib import Path

import pytest
from rich.console import Console

from usp.config.deployment import DeploymentSettings
from usp.config.settings import load_settings
from usp.stages.chaos.faults import FAULTS
from usp.stages.chaos.restarts import RestartPlan, run_restarts
from usp.stages.chaos.run import ChaosPlan, Outcome, run_chaos, soak_plan
from usp.stages.chaos.stops import StopPlan, run_stops

pytestmark = [pytest.mark.kafka, pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(600)]

CACHE = Path(__file__).parents[2] / "var" / "cache" / "xla"


def settings_in(folder: Path) -> DeploymentSettings:
    """A pipeline of its own in this folder."""
    return load_settings({"USP_PATHS__DATA_DIR": str(folder), "USP_PATHS__CACHE_DIR": str(CACHE)})


def hurt(folder: Path, plan: ChaosPlan) -> Outcome:
    """What the witnesses say."""
    outcome = run_chaos(settings_in(folder), plan, Console(quiet=True))
    assert outcome.good, outcome.document()
    assert outcome.predictions_replayed == outcome.verdict.predictions > 0
    return outcome


def test_nothing_is_lost_doubled_or_changed_whatever_dies(tmp_path: Path) -> None:
    """Half a minute of kills, failpoints, frozen processes and damaged files, as this seed has it."""
    outcome = hurt(tmp_path, ChaosPlan(minutes=0.5, seed=1, rate_per_s=40.0))
    assert sum(outcome.faults.values()) >= 1
    assert set(outcome.faults) <= set(FAULTS)
    assert outcome.parity_lines > 0


def test_orchestrators_come_and_go_under_load(tmp_path: Path) -> None:
    """One, three, one: partitions move with their state while ticks flow."""
    plan = ChaosPlan(minutes=3.0, seed=2, rate_per_s=60.0, faults=("scaled to three and back",), most_faults=1)
    outcome = hurt(tmp_path, plan)
    assert outcome.told[0].endswith("3 and back")


def test_a_bad_network_loses_nothing(tmp_path: Path) -> None:
    """Bytes between stages and broker are swallowed, then late, then their connections are reset."""
    names = ("network slow", "network silent", "network cut")
    outcome = hurt(tmp_path, ChaosPlan(minutes=3.0, seed=35, rate_per_s=60.0, faults=names, most_faults=3))
    assert set(outcome.faults) == set(names)
    assert not any("skipped" in told or " 0 lines" in told for told in outcome.told), outcome.told


def test_stages_that_are_asked_to_end_do_so_in_time(tmp_path: Path) -> None:
    """Ten of them, under load, some while they start, some asked twice."""
    outcome = run_stops(settings_in(tmp_path), StopPlan(stops=10, seed=1, rate_per_s=40.0), Console(quiet=True))
    assert outcome.good, outcome.document()
    assert outcome.stops >= 10


def test_a_restart_is_timed_to_its_first_new_prediction(tmp_path: Path) -> None:
    """The time from its start lies within the time from the kill, and nothing is lost."""
    outcome = run_restarts(settings_in(tmp_path), RestartPlan(1, symbols=8, replayed_ticks=100), Console(quiet=True))
    assert outcome.good, outcome.document()
    assert 0.0 < outcome.from_start_s[0] < outcome.from_kill_s[0]


def test_a_soak_ends_when_everything_is_fed_and_tells_what_grew(tmp_path: Path) -> None:
    """Shorter than its first kill: nothing dies, and every stage was looked at."""
    plan = soak_plan(4000, seed=1, rate_per_s=500.0)
    outcome = hurt(tmp_path, plan)
    assert (outcome.published, outcome.restarts) == (4000, 0)
    assert {"ingest", "orchestrator"} <= set(outcome.growth)
