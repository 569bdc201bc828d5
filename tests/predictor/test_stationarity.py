# SPDX-License-Identifier: MIT
"""Stationarity and memory against statsmodels and processes with known order."""

import warnings

import jax
import numpy as np
import pytest
from statsmodels.tsa.stattools import kpss as oracle

from usp.predictor import stationarity
from windows import full

LANES = 64
kpss = jax.jit(stationarity.kpss)
fractional_order = jax.jit(stationarity.fractional_order)


def fractional_noise(length: int, d: float) -> np.ndarray:
    """(1 - B)^-d white noise [length, LANES] by its moving-average weights, after a long burn-in."""
    steps = 3 * length
    weights = np.cumprod(np.concatenate([[1.0], (np.arange(1, steps) - 1.0 + d) / np.arange(1, steps)]))
    noise = np.random.default_rng(7).standard_normal((steps, LANES))
    size = 2 * steps
    path = np.fft.irfft(np.fft.rfft(noise, size, axis=0) * np.fft.rfft(weights, size)[:, None], size, axis=0)
    return path[steps - length : steps]


def test_kpss_is_that_of_statsmodels():
    """Statistic to 1e-9 and p-value on noise, an AR(1) and walks, in any unit, and on a half-filled window."""
    noise = np.random.default_rng(1).standard_normal((252, LANES))
    window = np.where(np.arange(LANES) % 2, noise, np.cumsum(noise, axis=0)) * 1e-7
    filled = np.where(np.arange(LANES) % 4 < 2, 252.0, 150.0)
    found = kpss(window, filled)
    for lane in range(LANES):
        values = window[252 - int(filled[lane]) :, lane]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            statistic, p_value, *_ = oracle(values, nlags=int(np.ceil(12.0 * (len(values) / 100.0) ** 0.25)))
        assert float(found.statistic[lane]) == pytest.approx(statistic, rel=1e-8)
        assert float(found.p_value[lane]) == pytest.approx(p_value, abs=1e-8)


def test_kpss_tells_noise_from_a_walk():
    """At most 15 % of noises and at least 80 % of walks of 500 points are called wandering at 5 %."""
    noise = np.random.default_rng(2).standard_normal((500, LANES))
    assert np.mean(np.asarray(kpss(noise, full(noise)).p_value) < 0.05) <= 0.15
    walk = np.cumsum(noise, axis=0)
    assert np.mean(np.asarray(kpss(walk, full(walk)).p_value) < 0.05) >= 0.8


@pytest.mark.parametrize("d", [0.0, 0.2, 0.4])
def test_the_fractional_order_is_found_within_its_standard_error(d):
    """Mean over 64 series of 2,048 points within 0.1 of d; errors over standard errors have an RMS near 1."""
    window = fractional_noise(2_048, d)
    found, error = map(np.asarray, fractional_order(window, full(window)))
    assert found.mean() == pytest.approx(d, abs=0.1)
    assert 0.7 <= np.sqrt(np.mean(np.square((found - d) / error))) <= 1.4


def test_a_walk_is_integrated_once():
    """d = 1 for a random walk, within 0.15 in the mean."""
    walk = np.cumsum(np.random.default_rng(3).standard_normal((1_024, LANES)), axis=0)
    assert float(np.mean(fractional_order(walk, full(walk))[0])) == pytest.approx(1.0, abs=0.15)


def test_a_window_without_information_has_a_defined_verdict():
    """Constant, NaN and nearly empty windows: stationary, d = 0 with infinite error."""
    window = np.ones((128, 3))
    window[60, 1] = np.nan
    window[-5:, 2] = np.arange(5.0)
    filled = np.array([128.0, 128.0, 5.0])
    assert np.asarray(kpss(window, filled).statistic).tolist() == [0.0] * 3
    order, error = fractional_order(window, filled)
    assert np.asarray(order).tolist() == [0.0] * 3 and np.isinf(np.asarray(error)).all()
