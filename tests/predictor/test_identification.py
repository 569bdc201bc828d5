# SPDX-License-Identifier: MIT
"""Identification: exponents of processes with known roughness, moments against scipy, no NaN, no lane sees another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from usp.predictor import identification as ident

LANES = 16
EXPONENTS = (0.3, 0.5, 0.7)
WAVELETS = ident.Wavelets(
    scales=tuple(np.geomspace(1.0, 128.0, 16)),
    moments=tuple(np.linspace(-2.0, 2.0, 9)),
    exponents=tuple(np.linspace(0.0, 1.5, 151)),
    sigma=1.0,
    centre_frequency=0.5,
    modulus_threshold=0.01,
    cone=1.5,
)
SMALL_WAVELETS = WAVELETS._replace(scales=tuple(np.geomspace(2.0, 16.0, 6)))
holder = jax.jit(lambda window, filled: ident.holder_exponent(window, filled, 0.0, 1.0))
unclipped = jax.jit(lambda window, filled: ident.holder_exponent(window, filled, -1.0, 2.0))
kurtosis = jax.jit(ident.kurtosis)
histogram = jax.jit(ident.histogram_entropy, static_argnums=3)
wtmm = jax.jit(lambda window, filled: ident.wtmm_spectrum(window, filled, WAVELETS, 0.0, 1.0))


def fractional_brownian(length: int, hurst: float, lanes: int, seed: int = 0) -> np.ndarray:
    """Exact paths [length, lanes] by circulant embedding of the increments' covariance (Davies, Harte 1987)."""
    rng = np.random.default_rng(seed)
    lag = np.arange(length + 1.0)
    gamma = 0.5 * (np.abs(lag + 1) ** (2 * hurst) - 2 * lag ** (2 * hurst) + np.abs(lag - 1) ** (2 * hurst))
    eigenvalues = np.fft.fft(np.concatenate([gamma, gamma[-2:0:-1]])).real.clip(0.0)
    noise = rng.normal(size=(2, eigenvalues.size, lanes))
    spectrum = np.sqrt(eigenvalues / eigenvalues.size)[:, None] * (noise[0] + 1j * noise[1])
    return np.cumsum(np.fft.fft(spectrum, axis=0).real[:length], axis=0)


def full(window: np.ndarray) -> np.ndarray:
    return np.full(window.shape[1], float(window.shape[0]))


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
    """0.5 with uncertainty 1, never NaN; the spectrum has exponent 0.5 and tau 0, also for a long window."""
    window = np.tile(row[:, None], (1, LANES))
    found, error = holder(window, full(window))
    np.testing.assert_array_equal(found, 0.5)
    np.testing.assert_array_equal(error, 1.0)
    long = np.tile(np.concatenate([row[0] + (row[1] - row[0]) * np.arange(-1_920.0, 0.0), row])[:, None], (1, LANES))
    spectrum = wtmm(long, full(long))
    np.testing.assert_array_equal(spectrum.exponent, 0.5)
    np.testing.assert_array_equal(spectrum.tau, 0.0)


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


@pytest.mark.parametrize("hurst", EXPONENTS)
def test_wtmm_finds_the_exponent_of_fractional_brownian_motion(hurst):
    """2,048 points: median error <= 0.05; one-dimensional support (D(H) = 1, tau(0) = -1); tau near q H - 1."""
    found = [wtmm(window, full(window)) for window in (fractional_brownian(2_048, hurst, LANES, s) for s in range(3))]
    exponent, tau, dimension = (np.concatenate([np.asarray(x[k]) for x in found], axis=-1) for k in range(3))
    assert np.median(np.abs(exponent - hurst)) <= 0.05
    assert np.median(np.max(dimension, axis=0)) == pytest.approx(1.0, abs=0.1)
    expected = np.asarray(WAVELETS.moments) * hurst - 1.0
    np.testing.assert_allclose(np.median(tau, axis=-1), expected, atol=0.2)
    np.testing.assert_allclose(np.median(tau, axis=-1)[2:7], expected[2:7], atol=0.1)


def test_wtmm_is_the_same_inside_and_outside_jit():
    """The spectrum of one window, traced and eager."""
    window = fractional_brownian(256, 0.5, 2)
    inside = jax.jit(lambda w, n: ident.wtmm_spectrum(w, n, SMALL_WAVELETS, 0.0, 1.0))(window, full(window))
    outside = ident.wtmm_spectrum(jnp.asarray(window), jnp.asarray(full(window)), SMALL_WAVELETS, 0.0, 1.0)
    for one, two in zip(inside, outside, strict=True):
        assert np.isfinite(np.asarray(one)).all()
        np.testing.assert_allclose(one, two, atol=1e-9)


def test_criterion_4_lines_are_linked_inside_the_besov_cone_only():
    """|t2 - t1| <= C (s2 - s1): a maximum inherits from the strongest child in the cone, and from none outside it."""
    rng, strongest = np.random.default_rng(2), jax.jit(ident.strongest_in_cone, static_argnums=3)
    for index in range(1, len(WAVELETS.scales)):
        radius = ident.cone_radius(WAVELETS, index)
        assert radius <= WAVELETS.cone * (WAVELETS.scales[index] - WAVELETS.scales[index - 1]) < radius + 1
        height = np.where(rng.random(300) < 0.1, rng.exponential(size=300), 0.0)
        highest = height * rng.uniform(1.0, 2.0, size=300)
        found = np.asarray(strongest(height, highest, radius, 53))
        for position in range(300):
            cone = slice(max(position - radius, 0), position + radius + 1)
            assert found[position] == highest[cone][np.argmax(height[cone])]


def test_the_dimension_is_concave_and_peaks_inside_the_grid():
    """tau = q H - 1 gives D with maximum 1 at h = H, for H on the whole grid; min form, so D is concave in h."""
    for hurst in (0.2, 0.5, 0.83, 1.2):
        tau = jnp.asarray(WAVELETS.moments) * hurst - 1.0
        exponent, dimension = ident.legendre(tau, WAVELETS)
        assert float(exponent) == pytest.approx(hurst, abs=0.005)
        assert float(jnp.max(dimension)) == pytest.approx(1.0)
        assert (np.diff(np.asarray(dimension), n=2) <= 1e-12).all()


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


def test_spectral_peaks_are_the_periods_of_the_signal():
    """Two sines at any level come out as two frequencies, the stronger first; a constant has none."""
    time = np.arange(1_024)
    wave = 100.0 + np.sin(2 * np.pi * time / 16) + 0.3 * np.sin(2 * np.pi * time / 4)
    window = np.stack([wave, np.full(1_024, 3.0)], axis=1)
    peaks = jax.jit(ident.spectral_peaks, static_argnums=2)
    frequency, power = map(np.asarray, peaks(window, full(window), 3, 0.5))
    np.testing.assert_allclose(frequency[:, 0], [2.0 / 16, 2.0 / 4, 0.0], atol=1e-12)
    assert power[0, 0] > power[1, 0] > power[2, 0] == 0.0
    assert (power[:, 1] == 0.0).all()


LANEWISE = {
    "holder_exponent": lambda w, n: ident.holder_exponent(w, n, 0.0, 1.0),
    "kurtosis": lambda w, n: ident.kurtosis(w, n, 1e-10, 1.0, 100.0),
    "histogram_entropy": lambda w, n: ident.histogram_entropy(w, -4.0 - n * 0.0, 4.0 + n * 0.0, 50),
    "density_entropy": lambda w, n: ident.density_entropy(jnp.abs(w), 0.1),
    "quadratic_variation": ident.quadratic_variation,
    "spectral_peaks": lambda w, n: ident.spectral_peaks(w, n, 5, 1.0),
    "wtmm_spectrum": lambda w, n: ident.wtmm_spectrum(w, n, WAVELETS, 0.0, 1.0),
}


@pytest.mark.parametrize("name", LANEWISE)
def test_the_bits_of_a_lane_depend_on_no_other_lane(name):
    """Permuting lanes permutes the results; NaN, constants and huge values in the others change no bit."""
    measure = jax.jit(LANEWISE[name])
    window = fractional_brownian(2_048, 0.5, LANES)
    filled, order = full(window) - np.arange(LANES) % 3, np.random.default_rng(4).permutation(LANES)
    spoiled = window.copy()
    spoiled[:, 1::2] = np.array([np.nan, 0.0, 1e300, -1.0] * 2)
    straight = jax.tree.leaves(measure(window, filled))
    permuted = jax.tree.leaves(measure(window[:, order], filled[order]))
    disturbed = jax.tree.leaves(measure(spoiled, filled))
    for one, two, three in zip(straight, permuted, disturbed, strict=True):
        np.testing.assert_array_equal(np.asarray(one)[..., order], np.asarray(two))
        np.testing.assert_array_equal(np.asarray(one)[..., ::2], np.asarray(three)[..., ::2])
