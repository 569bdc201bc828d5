# SPDX-License-Identifier: MIT
"""Is the signal stationary, and how long is its memory: KPSS and the log-periodogram estimate of d. Off the tick path.

Windows are those of `windows.py`; nothing raises, a window without information gives a defined value. Spec: section 4.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .windows import TINY, centre_and_scale, filled_rows

MINIMUM_LENGTH = 16
# Kwiatkowski, Phillips, Schmidt, Shin (1992), table 1, level-stationary: critical values and their levels.
CRITICAL_VALUES = (0.347, 0.463, 0.574, 0.739)
LEVELS = (0.10, 0.05, 0.025, 0.01)
PERIODOGRAM_POWER = 0.5
LOG_PERIODOGRAM_VARIANCE = np.pi**2 / 6.0


class Kpss(NamedTuple):
    """Statistic [L] and p-value [L] of the hypothesis "stationary around a level"; p lies in [0.01, 0.10]."""

    statistic: Array
    p_value: Array


def kpss(window: Array, filled: Array) -> Kpss:
    """KPSS test of level stationarity of the filled part; a small p-value says that the level wanders.

    Long-run variance with Bartlett weights up to ceil(12 (n / 100)^(1/4)) lags (Schwert). Outside the table p is
    its end, as everywhere. A window of fewer than 16 values, or one that never moves, gives (0, 0.10).

    Kwiatkowski, Phillips, Schmidt, Shin (1992), J. Econometrics 54.
    """
    length = window.shape[0]
    inside = filled_rows(length, filled)
    scaled, _ = centre_and_scale(window, filled)
    number = jnp.maximum(jnp.asarray(filled, jnp.float64), 1.0)
    residual = jnp.where(inside, scaled - jnp.sum(scaled, axis=0) / number, 0.0)
    lags = jnp.ceil(12.0 * jnp.power(number / 100.0, 0.25))
    partial = jnp.cumsum(residual, axis=0)
    long_run = long_run_variance(residual, lags, int(np.ceil(12.0 * (length / 100.0) ** 0.25))) / number
    known = (number >= MINIMUM_LENGTH) & (long_run > TINY)
    ratio = jnp.sum(partial * partial, axis=0) / (number * number * jnp.where(known, long_run, 1.0))
    statistic = jnp.where(known, ratio, 0.0)
    return Kpss(statistic, jnp.interp(statistic, jnp.asarray(CRITICAL_VALUES), jnp.asarray(LEVELS)))


def long_run_variance(residual: Array, lags: Array, most: int) -> Array:
    """Sum [L] of the autocovariances of `residual` [N, L] under Bartlett weights up to `lags` [L], at most `most`."""
    total = jnp.sum(residual * residual, axis=0)
    for lag in range(1, min(most, residual.shape[0] - 1) + 1):
        weight = jnp.maximum(0.0, 1.0 - lag / (lags + 1.0))
        total = total + 2.0 * weight * jnp.sum(residual[lag:] * residual[:-lag], axis=0)
    return total


def fractional_order(window: Array, filled: Array) -> tuple[Array, Array]:
    """Fractional order of integration d [L] of the filled part, and its standard error [L].

    Slope of the log periodogram on -log(4 sin^2(w / 2)) over the lowest sqrt(n) frequencies: 0 for short memory,
    between 0 and 1/2 for long memory, 1 for a random walk. A window that says nothing gives (0, infinity).

    Geweke, Porter-Hudak (1983), J. Time Series Analysis 4.
    """
    length = window.shape[0]
    scaled, _ = centre_and_scale(window, filled)
    number = jnp.maximum(jnp.asarray(filled, jnp.float64), 1.0)
    inside = filled_rows(length, filled)
    deviation = jnp.where(inside, scaled - jnp.sum(scaled, axis=0) / number, 0.0)
    order = jnp.arange(1.0, int(np.floor(length**PERIODOGRAM_POWER)) + 1.0)

    def one_lane(lane: tuple[Array, Array]) -> tuple[Array, Array]:
        values, count = lane
        frequency = 2.0 * np.pi * order / count
        phase = frequency[:, None] * jnp.arange(1.0 * length)
        power = jnp.square(jnp.cos(phase) @ values) + jnp.square(jnp.sin(phase) @ values)
        used = (order <= jnp.floor(jnp.power(count, PERIODOGRAM_POWER))) & (power > TINY)
        x = -jnp.log(4.0 * jnp.square(jnp.sin(0.5 * frequency)))
        return regression(x, jnp.log(jnp.maximum(power, TINY)), used, (count >= MINIMUM_LENGTH) & jnp.any(values != 0))

    return lax.map(one_lane, (deviation.T, number))


def regression(x: Array, y: Array, used: Array, known: Array) -> tuple[Array, Array]:
    """Slope of y on x over the entries `used`, and its standard error for errors of a log periodogram."""
    number = jnp.sum(used)
    dx = jnp.where(used, x - jnp.sum(jnp.where(used, x, 0.0)) / jnp.maximum(number, 1), 0.0)
    leverage = jnp.sum(dx * dx)
    sound = known & (number >= 3) & (leverage > TINY)
    safe = jnp.where(sound, leverage, 1.0)
    slope = jnp.sum(dx * jnp.where(used, y, 0.0)) / safe
    return jnp.where(sound, slope, 0.0), jnp.where(sound, jnp.sqrt(LOG_PERIODOGRAM_VARIANCE / safe), jnp.inf)
