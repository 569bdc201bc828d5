# SPDX-License-Identifier: MIT
"""The search for periods and the regression on them."""

import jax.numpy as jnp
import numpy as np
import pytest

from predictor_lanes import CONFIG, Lanes, with_bank
from usp.predictor import OUTPUTS, periods

WINDOW = 1024


def strongest(increments: np.ndarray, filled: int, threshold: float = 15.0) -> np.ndarray:
    """Frequencies of the three highest peaks."""
    return np.asarray(periods.strongest(jnp.asarray(increments), jnp.asarray(float(filled)), 3, jnp.asarray(threshold)))


@pytest.mark.parametrize("filled", [200, 1023])
def test_frequencies_of_tones_are_found(filled: int) -> None:
    """Two tones in noise: over the window the phase error stays below 2 % of a cycle."""
    t = np.arange(WINDOW)
    noise = 0.3 * np.random.default_rng(0).standard_normal(WINDOW)
    levels = 3.0 * np.sin(2 * np.pi * t / 24) + np.cos(2 * np.pi * t / 7) + noise
    found = strongest(np.diff(levels), filled)
    np.testing.assert_allclose(sorted([1 / 24, 1 / 7]), sorted(found[:2]), atol=0.02 / filled)


def test_a_random_walk_has_no_periods() -> None:
    """The increments are white: at most one peak in twenty walks passes the threshold."""
    walks = np.random.default_rng(1).standard_normal((20, WINDOW - 1))
    assert sum(bool(strongest(walk, WINDOW - 1).any()) for walk in walks) <= 1


def test_what_never_moves_has_no_periods() -> None:
    """A constant gives zeros, not NaN."""
    np.testing.assert_array_equal(np.zeros(3), strongest(np.zeros(WINDOW - 1), WINDOW - 1))


@pytest.mark.slow
def test_a_seasonal_series_is_forecast_near_its_noise() -> None:
    """Trend, two seasons and noise: after 600 ticks the error is within 6 % of the noise; the core bank has 10 %."""
    t = np.arange(1400)[:, None]
    noise = 0.5 * np.random.default_rng(2).standard_normal((1400, 16))
    series = 10.0 + 0.01 * t + 3.0 * np.sin(2 * np.pi * t / 24) + np.cos(2 * np.pi * t / 7) + noise
    outputs = Lanes(with_bank(CONFIG, "full")).run(series)
    error = outputs[600:, OUTPUTS.last_prediction_error]
    assert np.sqrt((error**2).mean() / (noise[600:] ** 2).mean()) < 1.06
