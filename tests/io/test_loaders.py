# SPDX-License-Identifier: MIT
from datetime import UTC, datetime, timedelta, timezone
from math import inf, nan
from random import Random

import pytest

from usp.config.model import load, packaged_defaults
from usp.io.ingest_rules import ingest_rules
from usp.io.loaders import IngestionDecision, ProcessState, evaluate_ingestion, judge, timestamp_ns_of
from usp.io.signal_history import SignalHistory, history_of

CONFIG = packaged_defaults()
RULES = ingest_rules(CONFIG)
NOW_NS = 1_700_000_000_000_000_000


def walk(count: int, start: float = 61_837.63, step: float = 0.01, seed: int = 1) -> list[float]:
    """A random walk on a price grid."""
    random, steps = Random(seed), [0]
    while len(steps) < count:
        steps.append(steps[-1] + random.choice([-2, -1, 1, 2]))
    return [start + step * n for n in steps]


HISTORY = history_of(walk(300), RULES)


def verdict(value: float, history: SignalHistory = HISTORY, age_ns: int = 0) -> IngestionDecision:
    return evaluate_ingestion(history, ProcessState(magnitude=value, timestamp_ns=NOW_NS - age_ns), NOW_NS, CONFIG)


def names(decision: IngestionDecision) -> list[str]:
    return [type(event).__name__ for event in decision.events]


def flags(decision: IngestionDecision) -> tuple[bool, bool, bool, bool]:
    return decision[:4]


def fed(values: list[float], history: SignalHistory = HISTORY) -> tuple[list[IngestionDecision], SignalHistory]:
    decisions: list[IngestionDecision] = []
    for value in values:
        decision, history = judge(history, value, NOW_NS, NOW_NS, RULES)
        decisions.append(decision)
    return decisions, history


def test_a_level_of_61837_is_no_outlier() -> None:
    """What counts is the distance from the symbol's own history."""
    assert flags(verdict(HISTORY.last + 0.05)) == (True, False, False, False)
    assert names(verdict(HISTORY.last)) == []


@pytest.mark.parametrize("value", [HISTORY.last * 1.5, 0.0, -HISTORY.last, 1e308])
def test_an_outlier_holds_everything(value: float) -> None:
    """Rejected, weights suspended, degraded, kernel D not frozen."""
    assert flags(verdict(value)) == (False, True, True, False)
    assert names(verdict(value)) == ["OutlierRejectedEvent"]


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_what_is_not_finite_is_rejected_even_without_a_history(value: float) -> None:
    """NaN must not slip through a comparison."""
    for history in (HISTORY, SignalHistory()):
        assert flags(verdict(value, history)) == (False, True, True, False)
        assert names(verdict(value, history)) == ["NonFiniteObservationEvent"]


@pytest.mark.parametrize(
    ("age_ns", "expected", "events"),
    [
        (500_000_000, (True, False, False, False), []),
        (500_000_001, (True, True, True, False), ["StaleSignalEvent"]),
        (-1_000_000_000, (True, False, False, False), []),
        (-1_000_000_001, (False, True, True, False), ["FutureStampEvent"]),
    ],
)
def test_age_decides(age_ns: int, expected: tuple[bool, ...], events: list[str]) -> None:
    """Beyond the time to live the weights are suspended; a stamp too far in the future is rejected."""
    decision = verdict(HISTORY.last + 0.01, age_ns=age_ns)
    assert (flags(decision), names(decision), decision.staleness_ns) == (expected, events, age_ns)


def test_twenty_sigmas_of_noise_are_seen() -> None:
    """Around a constant level the limit lies between 15 and 40 standard deviations of the noise."""
    random = Random(7)
    history = history_of([random.gauss(50.0, 1.0) for _ in range(300)], RULES)
    assert [verdict(50.0 + d, history).accept_observation for d in (5, 15, 40, -40)] == [True, True, False, False]


def test_too_short_a_history_judges_nobody() -> None:
    """Before io.outlier_history_min values every finite value is accepted."""
    least = CONFIG.io.outlier_history_min
    assert verdict(1e9, history_of(walk(least - 1), RULES)).accept_observation
    assert not verdict(1e9, history_of(walk(least), RULES)).accept_observation


def test_a_signal_that_never_moved_has_no_outliers() -> None:
    """No scale, no verdict: the first move of a constant signal is accepted."""
    assert verdict(8.0, history_of([7.0] * 100, RULES)).accept_observation


def test_consistent_outliers_are_a_new_level() -> None:
    """The k-th consistent outlier is accepted with an event, and its level is normal from then on."""
    decisions, history = fed([70_000.0 + 0.01 * i for i in range(8)])
    assert [decision.accept_observation for decision in decisions] == [False] * 4 + [True] * 4
    assert names(decisions[4]) == ["LevelShiftAcceptedEvent"]
    assert [names(decision) for decision in decisions[5:]] == [[], [], []]
    assert verdict(70_000.05, history).accept_observation


def test_scattered_outliers_are_no_level() -> None:
    """Outliers that do not agree with each other never become a level."""
    decisions, _ = fed([70_000.0, 10.0, 90_000.0, 1.0, 80_000.0, 5.0, 100_000.0, 7.0])
    assert not any(decision.accept_observation for decision in decisions)


def test_an_accepted_value_ends_a_run_of_outliers() -> None:
    """Only outliers in a row confirm each other."""
    decisions, _ = fed([70_000.0, 70_000.0, 70_000.0, 70_000.0, HISTORY.last, 70_000.0])
    assert [decision.accept_observation for decision in decisions] == [False] * 4 + [True, False]


def test_a_frozen_signal_is_latched_from_the_fifth_equal_value() -> None:
    """Flags on every tick of the run: suspended, degraded, kernel D frozen."""
    decisions, _ = fed([61_838.0] * 7)
    assert [decision.freeze_kernel_d for decision in decisions] == [False] * 4 + [True] * 3
    assert flags(decisions[4]) == (True, True, True, True)
    assert names(decisions[4]) == names(decisions[6]) == ["FrozenSignalAlarmEvent"]


def test_recovery_needs_two_steps_that_move() -> None:
    """Never in the step that raised the alarm, nor at the first move; announced once."""
    decisions, history = fed([61_838.0] * 6 + [61_838.03, 61_838.01, 61_838.05])
    assert [decision.freeze_kernel_d for decision in decisions[4:]] == [True, True, True, False, False]
    assert names(decisions[7]) == ["FrozenSignalRecoveredEvent"]
    assert names(decisions[8]) == []
    assert not history.frozen


def test_a_move_right_after_the_alarm_is_the_first_of_two() -> None:
    """Steps before the alarm do not count towards the recovery."""
    decisions, _ = fed([61_838.0] * 5 + [61_838.03, 61_838.01])
    assert [decision.freeze_kernel_d for decision in decisions[4:]] == [True, True, False]


def test_a_flicker_does_not_lift_the_alarm() -> None:
    """A variance far below the historical one is no recovery."""
    decisions, _ = fed([61_838.0] * 6 + [61_838.0 + 1e-5 * (i % 2) for i in range(10)])
    assert all(decision.freeze_kernel_d for decision in decisions[4:])


def test_a_symbol_may_have_its_own_limits() -> None:
    """`state_tag` names the symbol whose table in the configuration holds."""
    mapping = CONFIG.to_mapping()
    mapping["symbols"]["BTCUSDT"] = {"frozen_signal_min_steps": 200}
    config = load(mapping)
    history = history_of([*walk(300), *[61_838.0] * 10], ingest_rules(config, "BTCUSDT"))
    observation = ProcessState(magnitude=61_838.0, timestamp_ns=NOW_NS, state_tag="BTCUSDT")
    assert not evaluate_ingestion(history, observation, NOW_NS, config).freeze_kernel_d


def test_evaluation_changes_nothing() -> None:
    """The decision is a function of its arguments: asked twice, answered twice alike."""
    assert verdict(70_000.0) == verdict(70_000.0)


def test_time_stamps_are_whole_numbers() -> None:
    """Conversion from a date loses nothing, whatever its time zone; a date without one is refused."""
    moment = datetime(2024, 8, 9, 1, 34, 14, 87_897, tzinfo=timezone(timedelta(hours=2)))
    assert timestamp_ns_of(moment) == 1_723_160_054_087_897_000
    assert ProcessState(magnitude=1.0, timestamp_ns=timestamp_ns_of(moment)).timestamp_utc == moment
    with pytest.raises(ValueError, match="without a time zone"):
        timestamp_ns_of(moment.replace(tzinfo=None))
    assert timestamp_ns_of(datetime(1970, 1, 1, tzinfo=UTC)) == 0
