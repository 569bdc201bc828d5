# SPDX-License-Identifier: MIT
"""Sixteen families of series, each a pure function of a random generator, with the Bayes forecast where it is known.

The Bayes forecast is the conditional mean given the true law and the past, evaluated on the same path: no forecast has
a smaller expected squared error. `limit` is its error: RMSE, for `stable_ar1` the mean absolute error.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import cos, exp, gamma, pi, sqrt
from typing import NamedTuple
from zlib import crc32

import numpy as np

from .chaos import logistic_map, lorenz_x, mackey_glass
from .series import Metric, Numbers, Series, evenly_spaced

COUNT = 2000
STABLE_INDEX = 1.5

Generator = np.random.Generator


class Path(NamedTuple):
    """Values [n] and their one-step Bayes forecasts [n]."""

    values: Numbers
    bayes: Numbers


@dataclass(frozen=True)
class Family:
    """A law of series. `limit_is_exact` is false where only a lower bound of the error is known."""

    draw: Callable[[Generator, int], Path]
    note: str
    limit: float
    metric: Metric = "rmse"
    limit_is_exact: bool = True


def series_of(name: str, seed: int, count: int = COUNT) -> Series:
    """The family's path of this seed; the same for every count up to what the law itself depends on."""
    family = FAMILIES[name]
    path = family.draw(np.random.default_rng([seed, crc32(name.encode())]), count)
    return Series(name, seed, path.values, evenly_spaced(count), family.note, path.bayes, family.metric)


def autoregression(shocks: Numbers, ar: Sequence[float], ma: Sequence[float] = (), start: int = 0) -> Path:
    """y_t = sum ar_i y_{t-i} + e_t + sum ma_j e_{t-j} from rest; the forecast is all but e_t. Zero before `start`."""
    values, bayes = np.zeros_like(shocks), np.zeros_like(shocks)
    for t in range(start, len(shocks)):
        past = sum(a * values[t - i] for i, a in enumerate(ar, 1) if t - i >= start)
        bayes[t] = past + sum(b * shocks[t - j] for j, b in enumerate(ma, 1) if t - j >= start)
        values[t] = bayes[t] + shocks[t]
    return Path(values, bayes)


def shifted(path: Path, centre: float) -> Path:
    """The path around another level."""
    return Path(path.values + centre, path.bayes + centre)


def summed(increments: Path, start: float) -> Path:
    """Levels that begin after `start`, from increments and their forecasts."""
    values = start + np.cumsum(increments.values)
    return Path(values, np.concatenate([[start], values[:-1]]) + increments.bayes)


def white(random: Generator, count: int) -> Path:
    return Path(10.0 + random.standard_normal(count), np.full(count, 10.0))


def random_walk(random: Generator, count: int) -> Path:
    return summed(Path(random.standard_normal(count), np.zeros(count)), 100.0)


def linear(ar: Sequence[float], ma: Sequence[float] = ()) -> Callable[[Generator, int], Path]:
    """ARMA with standard normal shocks."""
    return lambda random, count: autoregression(random.standard_normal(count), ar, ma)


def ornstein_uhlenbeck(random: Generator, count: int) -> Path:
    """dX = .5 (20 - X) dt + 2 dW, seen every .1, by its exact transition."""
    return shifted(autoregression(OU_SIGMA * random.standard_normal(count), [OU_DECAY]), 20.0)


def levinson(hurst: float, count: int) -> Iterator[tuple[Numbers, float]]:
    """Durbin-Levinson for fractional Gaussian noise: per step, weights of the past (newest first) and variance left."""
    lags = np.arange(count + 1.0)
    power = 2.0 * hurst
    covariance = 0.5 * ((lags + 1.0) ** power - 2.0 * lags**power + np.abs(lags - 1.0) ** power)
    weights, variance = np.zeros(0), 1.0
    for t in range(count):
        yield weights, variance
        reflection = float(covariance[t + 1] - weights @ covariance[1 : t + 1][::-1]) / variance
        weights = np.append(weights - reflection * weights[::-1], reflection)
        variance *= 1.0 - reflection**2


def fractional_noise(hurst: float, random: Generator, count: int) -> Path:
    """Exact fractional Gaussian noise with its conditional means."""
    values, bayes = np.zeros(count), np.zeros(count)
    for t, (weights, variance) in enumerate(levinson(hurst, count)):
        bayes[t] = weights @ values[:t][::-1]
        values[t] = bayes[t] + sqrt(variance) * random.standard_normal()
    return Path(values, bayes)


def fractional_brownian(hurst: float) -> Callable[[Generator, int], Path]:
    """Levels whose increments are fractional Gaussian noise."""
    return lambda random, count: summed(fractional_noise(hurst, random, count), 0.0)


def innovation_sigma(hurst: float) -> float:
    """Standard deviation of what fractional Gaussian noise leaves to chance after `COUNT` points."""
    variances = [variance for _, variance in levinson(hurst, COUNT)]
    return sqrt(variances[-1])


def garch(random: Generator, count: int) -> Path:
    """Returns .05 + sqrt(h) e with h = .05 + .1 r^2 + .85 h of the step before, in its mean variance at first."""
    shocks, returns, variance = random.standard_normal(count), np.zeros(count), 1.0
    for t, shock in enumerate(shocks):
        returns[t] = sqrt(variance) * shock
        variance = 0.05 + 0.1 * returns[t] ** 2 + 0.85 * variance
    return Path(0.05 + returns, np.full(count, 0.05))


def merton(random: Generator, count: int) -> Path:
    """Drift .01, volatility .2, and in 3 % of the steps normal jumps of mean -.5 and deviation 1."""
    jumps = random.poisson(0.03, count)
    diffusion = 0.01 + 0.2 * random.standard_normal(count)
    moves = diffusion - 0.5 * jumps + np.sqrt(jumps) * random.standard_normal(count)
    return summed(Path(moves, np.full(count, 0.01 - 0.5 * 0.03)), 50.0)


def stable(random: Generator, count: int, index: float = STABLE_INDEX) -> Numbers:
    """Symmetric stable numbers of unit scale (Chambers, Mallows, Stuck 1976)."""
    angle = random.uniform(-pi / 2, pi / 2, count)
    wait = random.exponential(1.0, count)
    bulk = np.sin(index * angle) / np.cos(angle) ** (1.0 / index)
    return bulk * (np.cos((1.0 - index) * angle) / wait) ** ((1.0 - index) / index)


def stable_autoregression(random: Generator, count: int) -> Path:
    return autoregression(stable(random, count), [0.7])


def changing_regimes(random: Generator, count: int) -> Path:
    """Four autoregressions around four levels, changing at 40, 60 and 80 % of the path."""
    shocks = random.standard_normal(count)
    values, bayes = np.zeros(count), np.zeros(count)
    borders = [count * share // 100 for share in (40, 60, 80)]
    for t in range(count):
        centre, ar = REGIMES[sum(t >= border for border in borders)]
        bayes[t] = centre + sum(a * (values[t - i] - centre) for i, a in enumerate(ar, 1) if t >= i)
        values[t] = bayes[t] + shocks[t]
    return Path(values, bayes)


def seasonal(random: Generator, count: int) -> Path:
    """A trend with periods of 24 and 7 under noise."""
    t = np.arange(count)
    mean = 10.0 + 0.01 * t + 3.0 * np.sin(2.0 * pi * t / 24.0) + np.cos(2.0 * pi * t / 7.0)
    return Path(mean + 0.5 * random.standard_normal(count), mean)


def logistic(random: Generator, count: int) -> Path:
    values = logistic_map(random.uniform(0.1, 0.9), count)
    return Path(values, values.copy())


def mackey(random: Generator, count: int) -> Path:
    values = mackey_glass(random, count)
    return Path(values, values.copy())


def lorenz(random: Generator, count: int) -> Path:
    clean = lorenz_x(random, count)
    return Path(clean + 0.2 * random.standard_normal(count), clean)


OU_DECAY = exp(-0.05)
OU_SIGMA = 2.0 * sqrt((1.0 - exp(-0.1)) / 1.0)
REGIMES = ((0.0, (0.9,)), (2.0, (-0.6,)), (-3.0, (1.2, -0.5)), (5.0, (0.3,)))
MERTON_SIGMA = sqrt(0.2**2 + 0.03 * (0.5**2 + 1.0))
STABLE_MEAN_SIZE = 2.0 * gamma(1.0 - 1.0 / STABLE_INDEX) / pi

FAMILIES = {
    "white": Family(white, "white noise around 10", 1.0),
    "rw": Family(random_walk, "random walk", 1.0),
    "ar1": Family(linear([0.9]), "AR(1) with .9", 1.0),
    "ar2": Family(linear([1.8 * cos(0.5), -0.81]), "AR(2): damped oscillation", 1.0),
    "arma": Family(linear([0.7], [0.6, 0.3]), "ARMA(1, 2)", 1.0),
    "ou": Family(ornstein_uhlenbeck, "Ornstein-Uhlenbeck, exact steps", OU_SIGMA),
    "fbm03": Family(fractional_brownian(0.3), "fractional Brownian levels, H = .3", innovation_sigma(0.3)),
    "fbm07": Family(fractional_brownian(0.7), "fractional Brownian levels, H = .7", innovation_sigma(0.7)),
    "garch": Family(garch, "GARCH(1, 1) returns", 1.0),
    "merton": Family(merton, "Merton's jump diffusion, 3 % jumps", MERTON_SIGMA),
    "stable_ar1": Family(stable_autoregression, "AR(1) with .7, stable shocks of index 1.5", STABLE_MEAN_SIZE, "mae"),
    "regime_ar": Family(changing_regimes, "four AR regimes; the Bayes forecast knows which", 1.0),
    "seasonal": Family(seasonal, "trend, periods 24 and 7, noise .5", 0.5),
    "logistic": Family(logistic, "logistic map, r = 3.99, no noise", 0.0),
    "mackey": Family(mackey, "Mackey-Glass, delay 17, no noise", 0.0),
    "lorenz": Family(lorenz, "Lorenz x every .05, noise .2; the limit is a lower bound", 0.2, limit_is_exact=False),
}
