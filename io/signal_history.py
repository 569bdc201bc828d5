# SPDX-License-Identifier: MIT
"""What is remembered of one signal to judge its next value: robust window, run of equal values, latch, suspects.

`observe` is a pure function of history, value and stamp; no clock takes part, so a replay gives the same histories.
"""

from collections.abc import Iterable
from math import isfinite, nan
from typing import NamedTuple

import numpy as np

from .ingest_events import (
    FrozenSignalAlarmEvent,
    FrozenSignalRecoveredEvent,
    IngestionEvent,
    LevelShiftAcceptedEvent,
    OutlierRejectedEvent,
)
from .ingest_rules import IngestRules
from .robust_window import RobustWindow, newest, push, settle
from .validators import detect_catastrophic_outlier, detect_frozen_recovery, signal_variance

Events = tuple[IngestionEvent, ...]


class SignalHistory(NamedTuple):
    """`run` counts equal values including `last`; `variances` one per step since the frozen alarm (squared units);
    `suspects` are the consistent outliers in a row. Never changed in place."""

    window: RobustWindow = RobustWindow()
    last: float = nan
    run: int = 0
    frozen: bool = False
    variances: tuple[float, ...] = ()
    suspects: tuple[float, ...] = ()


def history_of(values: Iterable[float], rules: IngestRules) -> SignalHistory:
    """The history of a signal whose past values are given, oldest first; values that are not finite are left out."""
    history = SignalHistory()
    for value in values:
        if isfinite(value):
            _, _, history = observe(history, float(value), 0, rules)
    return history


def observe(
    history: SignalHistory, value: float, timestamp_ns: int, rules: IngestRules
) -> tuple[bool, Events, SignalHistory]:
    """Whether a finite value is accepted, what is to be said about it, and the history after it."""
    window = history.window
    sigma = level_sigma(window, rules)
    if detect_catastrophic_outlier(value, window.centre, sigma, rules.sigma_bound):
        return suspect(history, value, timestamp_ns, sigma, rules)
    window = push(window, value, rules.window)
    run = history.run + 1 if value == history.last else 1
    if run < rules.frozen_steps and not history.frozen:
        return True, (), SignalHistory(window, value, run)
    return watch_frozen(SignalHistory(window, value, run, history.frozen, history.variances), timestamp_ns, rules)


def level_sigma(window: RobustWindow, rules: IngestRules) -> float:
    """One robust standard deviation of the level, in units of the signal; 0 while too few values are known."""
    if len(window.settled) + len(window.recent) < rules.least:
        return 0.0
    floor = rules.increment_factor * window.burst_scale
    return window.level_scale if window.level_scale > floor else floor


def suspect(
    history: SignalHistory, value: float, timestamp_ns: int, sigma: float, rules: IngestRules
) -> tuple[bool, Events, SignalHistory]:
    """An outlier: rejected, unless enough consistent ones in a row show that the level has shifted."""
    suspects, centre = history.suspects, history.window.centre
    if suspects and detect_catastrophic_outlier(value, suspects[-1], sigma, rules.sigma_bound):
        suspects = ()
    suspects = (*suspects, value)
    if len(suspects) < rules.level_shift_confirmations:
        rejected = OutlierRejectedEvent(timestamp_ns, value, centre, sigma, rules.sigma_bound)
        return False, (rejected,), history._replace(suspects=suspects)
    shifted = settle(np.array(suspects), history.window.move_scale, history.window.burst_scale)
    event = LevelShiftAcceptedEvent(timestamp_ns, value, centre, len(suspects))
    return True, (event,), SignalHistory(shifted, value, 1)


def watch_frozen(history: SignalHistory, timestamp_ns: int, rules: IngestRules) -> tuple[bool, Events, SignalHistory]:
    """Raise the frozen alarm, hold it, or lift it after enough steps that move. `history` ends with the new value."""
    value = history.last
    if not history.frozen:
        history = history._replace(frozen=True, variances=())
    else:
        recent = signal_variance(newest(history.window, rules.variance_steps))
        variances = (*history.variances, recent)[-rules.recovery_steps :]
        usual = history.window.move_scale**2 or rules.variance_floor
        if detect_frozen_recovery(variances, usual, rules.recovery_ratio, rules.recovery_steps):
            recovered = FrozenSignalRecoveredEvent(timestamp_ns, value)
            return True, (recovered,), history._replace(frozen=False, variances=())
        history = history._replace(variances=variances)
    return True, (FrozenSignalAlarmEvent(timestamp_ns, value, history.run),), history
