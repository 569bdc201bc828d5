# SPDX-License-Identifier: MIT
"""WTMM against processes with known spectra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from usp.predictor import wtmm
from windows import EXPONENTS, fractional_brownian, full

LANES = 16
WAVELETS = wtmm.Wavelets(
    scales=tuple(np.geomspace(1.0, 128.0, 16)),
    moments=tuple(np.linspace(-2.0, 2.0, 9)),
    exponents=tuple(np.linspace(0.0, 1.5, 151)),
    sigma=1.0,
    centre_frequency=0.5,
    modulus_threshold=0.01,
    cone=1.5,
)
SMALL_WAVELETS = WAVELETS._replace(scales=tuple(np.geomspace(2.0, 16.0, 6)))
spectrum = jax.jit(lambda window, filled: wtmm.wtmm_spectrum(window, filled, WAVELETS, 0.0, 1.0))


@pytest.mark.parametrize("hurst", EXPONENTS)
def test_wtmm_finds_the_exponent_of_fractional_brownian_motion(hurst):
    """2,048 points: median error <= 0.05; one-dimensional support (D(H) = 1, tau(0) = -1); tau near q H - 1."""
    found = [
        spectrum(window, full(window)) for window in (fractional_brownian(2_048, hurst, LANES, s) for s in range(3))
    ]
    exponent, tau, dimension = (np.concatenate([np.asarray(x[k]) for x in found], axis=-1) for k in range(3))
    assert np.median(np.abs(exponent - hurst)) <= 0.05
    assert np.median(np.max(dimension, axis=0)) == pytest.approx(1.0, abs=0.1)
    expected = np.asarray(WAVELETS.moments) * hurst - 1.0
    np.testing.assert_allclose(np.median(tau, axis=-1), expected, atol=0.2)
    np.testing.assert_allclose(np.median(tau, axis=-1)[2:7], expected[2:7], atol=0.1)


def test_wtmm_is_the_same_inside_and_outside_jit():
    """The spectrum of one window, traced and eager."""
    window = fractional_brownian(256, 0.5, 2)
    inside = jax.jit(lambda w, n: wtmm.wtmm_spectrum(w, n, SMALL_WAVELETS, 0.0, 1.0))(window, full(window))
    outside = wtmm.wtmm_spectrum(jnp.asarray(window), jnp.asarray(full(window)), SMALL_WAVELETS, 0.0, 1.0)
    for one, two in zip(inside, outside, strict=True):
        assert np.isfinite(np.asarray(one)).all()
        np.testing.assert_allclose(one, two, atol=1e-9)


def test_criterion_4_lines_are_linked_inside_the_besov_cone_only():
    """|t2 - t1| <= C (s2 - s1): a maximum inherits from the strongest child in the cone, and from none outside it."""
    rng, strongest = np.random.default_rng(2), jax.jit(wtmm.strongest_in_cone, static_argnums=3)
    for index in range(1, len(WAVELETS.scales)):
        radius = wtmm.cone_radius(WAVELETS, index)
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
        exponent, dimension = wtmm.legendre(tau, WAVELETS)
        assert float(exponent) == pytest.approx(hurst, abs=0.005)
        assert float(jnp.max(dimension)) == pytest.approx(1.0)
        assert (np.diff(np.asarray(dimension), n=2) <= 1e-12).all()


@pytest.mark.parametrize(
    "row",
    [
        np.full(2_048, 61_837.25),
        np.zeros(2_048),
        0.1 * np.arange(2_048.0) + 1e6,
        np.where(np.arange(2_048) == 70, np.nan, 1.0),
        np.where(np.arange(2_048) == 70, np.inf, 1.0),
    ],
    ids=["constant", "zero", "line", "nan", "infinity"],
)
def test_a_window_without_information_has_no_spectrum(row):
    """Exponent 0.5 and tau 0, never NaN."""
    window = np.tile(row[:, None], (1, 2))
    found = spectrum(window, full(window))
    np.testing.assert_array_equal(found.exponent, 0.5)
    np.testing.assert_array_equal(found.tau, 0.0)


def test_the_spectrum_tells_roughness_apart_on_128_points_in_expectation():
    """With scales up to an eighth of the window the mean exponents of H = 0.3, 0.5, 0.7 rise by more than 0.1 each."""
    short = WAVELETS._replace(scales=tuple(np.geomspace(1.0, 16.0, 16)))
    measure = jax.jit(lambda w, n: wtmm.wtmm_spectrum(w, n, short, 0.0, 1.0).exponent)
    means = [float(np.mean(measure(w, full(w)))) for w in (fractional_brownian(128, h, 200) for h in EXPONENTS)]
    assert (np.diff(means) > 0.1).all(), means
