# SPDX-License-Identifier: MIT
"""The checks of an observation, each a pure function of numbers. Who rejects, and with which reason, is decided above.

A check that a NaN could slip through is written so that NaN counts as the fault.
"""

from collections.abc import Sequence
from itertools import islice
from math import isfinite

NS_PER_S = 1_000_000_000


def is_finite_observation(price: float, size: float | None, bid: float | None, ask: float | None) -> bool:
    """Whether every number that is there is neither NaN nor infinite."""
    return (
        isfinite(price)
        and (size is None or isfinite(size))
        and (bid is None or isfinite(bid))
        and (ask is None or isfinite(ask))
    )


def is_impossible_price(price: float, must_be_positive: bool) -> bool:
    """Whether the price cannot be: zero or below, for an instrument whose kind forbids it."""
    return must_be_positive and not price > 0.0


def is_crossed_quote(bid: float | None, ask: float | None) -> bool:
    """Whether the best bid lies above the best ask; a locked quote (equal) is none, nor is a one-sided one."""
    return bid is not None and ask is not None and not bid <= ask


def detect_catastrophic_outlier(value: float, centre: float, sigma: float, sigma_bound: float) -> bool:
    """Whether the value lies more than `sigma_bound` sigmas from the centre of its own history.

    `sigma` in units of the value; 0 says that no scale is known yet, and then no finite value is an outlier.
    A value that is not finite is one always.  Requirement 2.2, with the historical normalisation of PREDICTOR 5.5.
    """
    if not isfinite(value):
        return True
    return sigma > 0.0 and not abs(value - centre) <= sigma_bound * sigma


def detect_frozen_signal(values: Sequence[float], min_steps: int) -> bool:
    """Whether the newest `min_steps` values are exactly the same. Requirement 2.3."""
    if min_steps < 1 or len(values) < min_steps:
        return False
    newest = values[-1]
    return all(value == newest for value in islice(reversed(values), min_steps))


def detect_frozen_recovery(
    variance_history: Sequence[float], historical_variance: float, ratio_threshold: float, consecutive_steps: int
) -> bool:
    """Whether each of the newest `consecutive_steps` variances lies above `ratio_threshold * historical_variance`.

    `variance_history` holds one variance per step since the alarm, oldest first, in squared units of the signal; too
    short a history never recovers, so the step that raised the alarm cannot lift it. Requirement 2.3.1, eq. (2.2).
    """
    if consecutive_steps < 1 or len(variance_history) < consecutive_steps:
        return False
    threshold = ratio_threshold * historical_variance
    return all(variance > threshold for variance in variance_history[-consecutive_steps:])


def signal_variance(values: Sequence[float]) -> float:
    """The variance of a few values (squared units); exactly 0 when all are the same, and for fewer than two."""
    if len(values) < 2:
        return 0.0
    anchor = values[0]
    shifted = [value - anchor for value in values]
    mean = sum(shifted) / len(shifted)
    return sum((value - mean) ** 2 for value in shifted) / len(shifted)


def compute_staleness_ns(now_ns: int, timestamp_ns: int) -> int:
    """Age of an observation; negative for a stamp ahead of the clock. Requirement 2.4."""
    return now_ns - timestamp_ns


def is_stale(staleness_ns: int, max_ttl_ns: int) -> bool:
    """Whether an observation is older than its time to live. Requirement 2.4."""
    return staleness_ns > max_ttl_ns


def is_future_stamp(timestamp_ns: int, reference_ns: int, max_future_drift_ns: int) -> bool:
    """Whether a stamp lies further ahead of the reference clock than clocks may differ."""
    return timestamp_ns - reference_ns > max_future_drift_ns


def is_past_drift(timestamp_ns: int, reference_ns: int, max_past_drift_ns: int) -> bool:
    """Whether a stamp is too old to be of any use."""
    return reference_ns - timestamp_ns > max_past_drift_ns


def validate_besov_nyquist_interval(sampling_frequency_hz: float, besov_nyquist_interval_ns: int) -> bool:
    """Whether the feed is dense enough for the wavelet estimate: at least one sample per Nyquist interval."""
    return sampling_frequency_hz * besov_nyquist_interval_ns >= NS_PER_S
