# SPDX-License-Identifier: MIT
"""Single models beside us, small enough to be read: each sees the past alone and never changes its mind about it.

`forecast(values, burn_in)` gives [n]: entry i is the forecast of `values[i]` from `values[:i]`; entry 0 is NaN. What a
model has to choose (a gain, a ridge) it chooses once, by its own squared errors within the burn-in.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from math import log
from typing import NamedTuple, Protocol

import numpy as np

from .series import Numbers

GAINS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
HOLT_LEVEL_GAINS = (0.1, 0.3, 0.5, 0.7, 0.9)
HOLT_TREND_GAINS = (0.02, 0.1, 0.3, 0.5)
NOISE_RATIOS = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 1e3)
SCALE_STEPS = 30
PRIOR_PRECISION = 1e-3
RIDGES = (1e-4, 1e-2, 1.0)
KERNEL_LAGS, KERNEL_WINDOW = 4, 120


class Forecaster(Protocol):
    """What every peer is."""

    def __call__(self, values: Numbers, burn_in: int) -> Numbers: ...


class Peer(NamedTuple):
    """A model with its name; `setting` names what its results depend on besides the code of its module."""

    name: str
    forecast: Forecaster
    setting: str = ""


def last_value(values: Numbers, burn_in: int = 0) -> Numbers:
    """The forecast of a random walk."""
    del burn_in
    return np.concatenate([[np.nan], values[:-1]])


def running_mean(values: Numbers, burn_in: int) -> Numbers:
    """The mean of all before."""
    del burn_in
    return np.concatenate([[np.nan], np.cumsum(values)[:-1] / np.arange(1, len(values))])


def best_within(burn_in: int, values: Numbers, candidates: Iterable[Callable[[Numbers], Numbers]]) -> Numbers:
    """The candidate with the smallest squared error on `values[1:burn_in]`, run over everything."""
    head = values[:burn_in]
    chosen = min(candidates, key=lambda run: float(np.sum(np.square(run(head) - head)[1:])))
    return chosen(values)


def smoothed(values: Numbers, gain: float) -> Numbers:
    """Exponentially weighted mean of all before."""
    found, level = np.full(len(values), np.nan), float(values[0])
    for t in range(1, len(values)):
        found[t] = level
        level += gain * (values[t] - level)
    return found


def ewma(values: Numbers, burn_in: int) -> Numbers:
    """Exponential smoothing."""
    return best_within(burn_in, values, [lambda v, g=gain: smoothed(v, g) for gain in GAINS])


def trended(values: Numbers, level_gain: float, trend_gain: float) -> Numbers:
    """Level plus trend, each smoothed (Holt 1957)."""
    found, level, trend = np.full(len(values), np.nan), float(values[0]), 0.0
    for t in range(1, len(values)):
        found[t] = level + trend
        error = values[t] - found[t]
        level = found[t] + level_gain * error
        trend += level_gain * trend_gain * error
    return found


def holt(values: Numbers, burn_in: int) -> Numbers:
    """Holt's linear trend."""
    gains = product(HOLT_LEVEL_GAINS, HOLT_TREND_GAINS)
    return best_within(burn_in, values, [lambda v, g=pair: trended(v, *g) for pair in gains])


def local_level(values: Numbers, ratio: float) -> tuple[Numbers, float]:
    """Kalman filter of a walk under noise; `ratio` is the walk's variance over the noise's.

    Also gives the log likelihood, the noise variance at its maximum (Harvey 1989, 4.2).
    """
    found, level, variance = np.full(len(values), np.nan), float(values[0]), 1.0
    squares, logs = 0.0, 0.0
    for t in range(1, len(values)):
        found[t] = level
        variance += ratio
        total = variance + 1.0
        error = values[t] - level
        squares += error * error / total
        logs += log(total)
        level += variance / total * error
        variance /= total
    steps = max(len(values) - 1, 1)
    return found, -0.5 * (steps * log(max(squares / steps, 1e-300)) + logs)


def kalman(values: Numbers, burn_in: int) -> Numbers:
    """Local level whose signal-to-noise ratio is the likeliest of a grid within the burn-in."""
    ratio = max(NOISE_RATIOS, key=lambda each: local_level(values[:burn_in], each)[1])
    return local_level(values, ratio)[0]


def scale_of(values: Numbers) -> float:
    """RMS of the first increments, at least tiny."""
    return max(float(np.sqrt(np.mean(np.square(np.diff(values[: SCALE_STEPS + 1]))))), 1e-12)


def autoregressive(order: int) -> Forecaster:
    """AR(p) with an intercept by recursive least squares without forgetting, on levels centred at the first value."""

    def forecast(values: Numbers, burn_in: int) -> Numbers:
        del burn_in
        scaled = (values - values[0]) / scale_of(values)
        found = np.concatenate([[np.nan], scaled[:-1]])
        weights = np.zeros(order + 1)
        weights[1] = 1.0
        inverse = np.eye(order + 1) / PRIOR_PRECISION
        for t in range(order, len(values)):
            regressors = np.concatenate([[1.0], scaled[t - order : t][::-1]])
            if t > SCALE_STEPS:
                found[t] = weights @ regressors
            pushed = inverse @ regressors
            gain = pushed / (1.0 + regressors @ pushed)
            weights += gain * (scaled[t] - weights @ regressors)
            inverse -= np.outer(gain, pushed)
        return values[0] + scale_of(values) * found

    return forecast


def kernel_ridge_with(values: Numbers, ridge: float) -> Numbers:
    """Gaussian kernel ridge regression of the next increment on the last levels, over a sliding window.

    The bandwidth is the median distance within the window.
    """
    found = last_value(values)
    lags = np.lib.stride_tricks.sliding_window_view(values, KERNEL_LAGS)
    for t in range(KERNEL_WINDOW + KERNEL_LAGS, len(values)):
        inputs = lags[t - KERNEL_WINDOW - KERNEL_LAGS : t - KERNEL_LAGS]
        targets = values[t - KERNEL_WINDOW : t] - values[t - KERNEL_WINDOW - 1 : t - 1]
        squares = np.sum(np.square(inputs), axis=1)
        distances = np.maximum(squares[:, None] + squares - 2.0 * inputs @ inputs.T, 0.0)
        width = max(float(np.median(distances)), 1e-24)
        gram = np.exp(-distances / width)
        gram.flat[:: KERNEL_WINDOW + 1] += ridge
        newest = np.exp(-np.sum(np.square(inputs - lags[t - KERNEL_LAGS]), axis=1) / width)
        found[t] += newest @ np.linalg.solve(gram, targets)
    return found


def kernel_ridge(values: Numbers, burn_in: int) -> Numbers:
    """Kernel ridge whose ridge is chosen within the burn-in."""
    return best_within(burn_in, values, [lambda v, r=ridge: kernel_ridge_with(v, r) for ridge in RIDGES])


OWN_PEERS: Sequence[Peer] = (
    Peer("last_value", last_value),
    Peer("mean", running_mean),
    Peer("ewma", ewma),
    Peer("holt", holt),
    Peer("kalman", kalman),
    Peer("ar1_rls", autoregressive(1)),
    Peer("ar5_rls", autoregressive(5)),
    Peer("ar20_rls", autoregressive(20)),
    Peer("kernel_ridge", kernel_ridge),
)
