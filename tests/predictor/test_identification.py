# SPDX-License-Identifier: MIT
"""Identification: exponents of processes with known roughness, moments against scipy, no NaN, no lane sees another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from usp.predictor import identification as ident
from windows import EXPONENTS, fractional_brownian, full

LANES = 16
holder = jax.jit(lambda window, filled: ident.holder_exponent(window, filled, 0.0, 1.0))
unclipped = jax.jit(lambda window, filled: ident.holder_exponent(window, filled, -1.0, 2.0))
kurtosis = jax.jit(ident.kurtosis)
histogram = jax.jit(ident.histogram_entropy, static_argnums=3)


@pytest.mark.parametrize("hurst", EXPONENTS)
def test_criterion_3_holder_exponent_is_within_five_percent_on_2048_points(hurst):
    """Median relative error of the first-order estimator on fractional Brownian motion below 5 %."""
    window = fractional_brownian(2_048, hurst, 200)
    found, _ = map(np.asarray, holder(window, full(window)))
    assert np.median(np.abs(found - hurst)) / hurst < 0.05


@pytest.mark.parametrize("hurst", EXPONENTS)
def test_a_window_of_128_gives_the_exponent_and_its_true_uncertainty(hurst):
    """Median error <= 0.1 on 128 points; errors over reported standard errors have an RMS near 1, never above 1.2."""
    window = fractional_brownian(128, hurst, 1_000)
    found, error = map(np.asarray, unclipped(window, full(window)))
    assert np.median(np.abs(found - hurst)) <= 0.1
    assert 0.6 <= np.sqrt(np.mean(np.square((found - hurst) / error))) <= 1.2


def test_the_exponent_does_not_depend_on_unit_level_or_trend():
    """Powers of two change no bit; any unit, level and straight line change nothing that matters."""
    window = fractional_brownian(128, 0.4, LANES)
    base = np.asarray(holder(window, full(window))[0])
    np.testing.assert_array_equal(base, holder(window * 2.0**-70, full(window))[0])
    trend = np.arange(128.0)[:, None]
    for changed in (window * 1e-9, window * 1e250, window + 6e4, window + 3.0 * trend):
        np.testing.assert_allclose(holder(changed, full(window))[0], base, atol=1e-6)


@pytest.mark.parametrize(
    "row",
    [
        np.full(128, 61_837.25),
        np.zeros(128),
        0.1 * np.arange(128.0) + 1e6,
        np.where(np.arange(128) == 70, np.nan, 1.0),
        np.where(np.arange(128) == 70, np.inf, 1.0),
    ],
    ids=["constant", "zero", "line", "nan", "infinity"],
)
def test_a_window_without_information_is_unknown(row):
    """0.5 with uncertainty 1, never NaN."""
    window = np.tile(row[:, None], (1, LANES))
    found, error = holder(window, full(window))
    np.testing.assert_array_equal(found, 0.5)
    np.testing.assert_array_equal(error, 1.0)


def test_a_range_that_overflows_is_unknown():
    """Values of both signs near the largest float have no finite range."""
    window = np.tile(np.where(np.arange(128) % 2, 1.7e308, -1.7e308)[:, None], (1, LANES))
    np.testing.assert_array_equal(holder(window, full(window))[0], 0.5)


def test_only_filled_rows_count():
    """Rows before the filled part may hold anything; 0 to 7 filled rows are unknown; more rows, less uncertainty."""
    window = fractional_brownian(128, 0.5, LANES)
    dirty = np.where(np.arange(128)[:, None] < 64, np.nan, window)
    clean = np.where(np.arange(128)[:, None] < 64, 0.0, window)
    sixty_four = np.full(LANES, 64.0)
    np.testing.assert_array_equal(holder(dirty, sixty_four)[0], holder(clean, sixty_four)[0])
    filled = np.array([0, 1, 2, 3, 4, 5, 6, 7, 16, 20, 24, 32, 48, 64, 100, 128], np.float64)
    found, error = map(np.asarray, holder(np.tile(window[:, :1], (1, LANES)), filled))
    assert (found[:8] == 0.5).all() and (error[:8] == 1.0).all()
    assert np.isfinite(found).all() and error[-1] < error[13] < error[8]


def test_kurtosis_is_that_of_the_filled_entries():
    """As scipy's, in any unit; the zero fill of a young window does not count."""
    values = np.random.default_rng(3).standard_t(5, size=(252, LANES))
    filled = np.array([252, 200, 100, 50] * 4)
    window = np.where(np.arange(252)[:, None] >= 252 - filled, values, 0.0)
    expected = [stats.kurtosis(values[252 - n :, lane], fisher=False) for lane, n in enumerate(filled)]
    for unit in (1.0, 1e-30, 1e80):
        np.testing.assert_allclose(kurtosis(window * unit, filled, 1e-10, 1.0, 100.0), expected, rtol=1e-4)


def test_kurtosis_is_defined_for_every_window_and_clipped():
    """Empty, one value, all zero, NaN: Gaussian 3. Constant residuals: the lower clip. One spike: the upper clip."""
    window = np.zeros((252, 6))
    window[:, 3] = np.nan
    window[:, 4] = 0.3
    window[100, 5] = 1.0
    found = kurtosis(window, np.array([0, 1, 252, 252, 252, 252]), 1e-10, 1.0, 100.0)
    np.testing.assert_allclose(found, [3.0, 3.0, 3.0, 3.0, 1.0, 100.0])


def test_ewma_starts_from_the_first_error_and_ignores_what_is_no_number():
    """a e^2 + (1 - a) s^2 from the second error on."""
    found = ident.ewma_variance(jnp.asarray([0.0, 4.0, 4.0, 4.0]), jnp.asarray([3.0, 1.0, np.nan, np.inf]), 0.1)
    np.testing.assert_allclose(found, [9.0, 3.7, 4.0, 4.0])


def test_histogram_entropy_is_positive_and_tells_collapse_from_spread():
    """Collapsed: 0. Even over all cells: log(bins). Values outside: end cells. NaN: nowhere. Empty range: 0."""
    grid = np.linspace(0.0, 1.0, 100)
    half_missing = np.where(np.arange(100) % 2, np.nan, grid)
    values = np.stack([np.full(100, 0.4), grid, grid * 100.0 - 50.0, half_missing, np.full(100, np.nan), grid], axis=1)
    high = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    found = np.asarray(histogram(values, np.zeros(6), high, 50))
    assert found[0] == 0.0 and found[4] == 0.0 and found[5] == 0.0
    assert found[1] == pytest.approx(np.log(50.0), rel=0.01)
    assert 0.0 < found[2] < 0.8
    assert found[3] == pytest.approx(np.log(50.0), rel=0.02)


def test_density_entropy_is_that_of_the_normal_law():
    """log(sigma sqrt(2 pi e)) on a grid of +-8 sigma; its exponential is positive for every sigma."""
    z = np.linspace(-8.0, 8.0, 801)[:, None]
    sigma = np.array([1e-6, 1.0, 50.0])
    density = np.exp(-0.5 * z**2) / (sigma * np.sqrt(2.0 * np.pi))
    expected = np.log(sigma * np.sqrt(2.0 * np.pi * np.e))
    np.testing.assert_allclose(ident.density_entropy(density, 0.02 * sigma), expected, rtol=1e-6)
    np.testing.assert_allclose(ident.effective_width(density, 0.02 * sigma), np.exp(expected), rtol=1e-4)


def test_quadratic_variation_sums_squared_increments_of_the_filled_part():
    """Increments across the border of the filled part do not count."""
    window = np.array([[9.0, 1.0, 9.0], [9.0, 3.0, 9.0], [2.0, 2.0, 9.0], [5.0, 4.0, 7.0]])
    np.testing.assert_array_equal(ident.quadratic_variation(window, np.array([2.0, 4.0, 0.0])), [9.0, 9.0, 0.0])
