# SPDX-License-Identifier: MIT
"""Stable laws against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from usp.predictor import stable

COUNT = 20_000
LAWS = {"gauss": (2.0, 0.0), "heavy": (1.5, 0.0), "skewed": (1.7, 0.5), "cauchy": (1.0, 0.0), "below one": (0.8, -0.4)}


def law_of(alpha: float, beta: float, gamma: float = 1.0, delta: float = 0.0) -> stable.Stable:
    return stable.Stable(*(jnp.asarray(x) for x in (alpha, beta, gamma, delta)))


def draws(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(size=COUNT), rng.exponential(size=COUNT)


@pytest.mark.parametrize("name", LAWS)
def test_criterion_1_samples_follow_the_law(name):
    """The empirical characteristic function of 20,000 samples is that of the law, within four standard errors."""
    alpha, beta = LAWS[name]
    values = np.asarray(jax.jit(stable.sample)(law_of(alpha, beta, 2.0, 0.3), *draws()))
    for t in (0.1, 0.3, 0.7, 1.5):
        size = abs(2.0 * t) ** alpha
        skew = beta * np.sign(t) * (np.tan(np.pi * alpha / 2) if alpha != 1.0 else -2.0 / np.pi * np.log(abs(t)))
        expected = np.exp(-size * (1.0 - 1j * skew) + 0.3j * t)
        assert abs(np.exp(1j * t * values).mean() - expected) < 4.0 / np.sqrt(COUNT)


def test_criterion_1_symmetric_samples_pass_kolmogorov_and_have_median_zero():
    """Against scipy's distribution function: p > 0.05 and |median| < 0.1 at alpha = 1, 1.5 and 2."""
    for alpha, cdf in ((1.0, stats.cauchy.cdf), (2.0, stats.norm(scale=np.sqrt(2.0)).cdf)):
        values = np.asarray(stable.sample(law_of(alpha, 0.0), *draws(3)))
        assert stats.kstest(values, cdf).pvalue > 0.05 and abs(np.median(values)) < 0.1
    values = np.asarray(stable.sample(law_of(1.5, 0.0), *draws(3)))
    grid = np.linspace(-6.0, 6.0, 25)
    distance = np.abs((values[:, None] <= grid).mean(axis=0) - stats.levy_stable.cdf(grid, 1.5, 0.0)).max()
    assert stats.kstwo.sf(distance, COUNT) > 0.05 and abs(np.median(values)) < 0.1


@pytest.mark.parametrize("alpha", [1.2, 1.5, 1.8, 2.0])
def test_criterion_1_parameters_come_back_from_samples(alpha):
    """Over 40 samples of 10,000 the true index and scale lie inside mean +- 1.96 standard deviations, bias < 0.02."""
    found = []
    for seed in range(40):
        rng = np.random.default_rng(100 + seed)
        values = stable.sample(law_of(alpha, 0.0, 3.0, 7.0), rng.uniform(size=10_000), rng.exponential(size=10_000))
        found.append([float(x) for x in jax.jit(stable.estimate)(values)])
    mean, spread = np.mean(found, axis=0), np.std(found, axis=0)
    assert (np.abs(mean - [alpha, 3.0]) <= 1.96 * spread + 1e-3).all()
    assert abs(mean[0] - alpha) < 0.02


def test_increments_scale_with_the_root_of_time():
    """The quartile range of increments over dt is dt^(1 / alpha) that of unit time."""
    law = law_of(1.6, 0.0)
    whole, part = (np.asarray(stable.increment(law, *draws(), jnp.asarray(dt))) for dt in (1.0, 0.01))
    ratio = np.subtract(*np.quantile(part, [0.75, 0.25])) / np.subtract(*np.quantile(whole, [0.75, 0.25]))
    assert ratio == pytest.approx(0.01 ** (1.0 / 1.6), rel=1e-9)


def test_values_that_say_nothing_have_a_defined_law():
    """Constant, too few or not finite: alpha 2, scale 0."""
    for values in (np.ones(100), np.arange(5.0), np.array([np.nan] * 50)):
        assert [float(x) for x in stable.estimate(jnp.asarray(values))] == [2.0, 0.0]
