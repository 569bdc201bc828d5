# SPDX-License-Identifier: MIT
"""No lane of an analysis sees another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from usp.predictor import identification, spectrum, stationarity, wtmm
from windows import fractional_brownian, full

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
LANEWISE = {
    "holder_exponent": lambda w, n: identification.holder_exponent(w, n, 0.0, 1.0),
    "kurtosis": lambda w, n: identification.kurtosis(w, n, 1e-10, 1.0, 100.0),
    "histogram_entropy": lambda w, n: identification.histogram_entropy(w, -4.0 - n * 0.0, 4.0 + n * 0.0, 50),
    "density_entropy": lambda w, n: identification.density_entropy(jnp.abs(w), 0.1),
    "quadratic_variation": identification.quadratic_variation,
    "spectral_peaks": lambda w, n: spectrum.spectral_peaks(w, n, 5, 1.0),
    "integrated_power": lambda w, n: spectrum.paley_wiener(w, n, 1e-10),
    "kpss": lambda w, n: stationarity.kpss(w, n),
    "fractional_order": lambda w, n: stationarity.fractional_order(w, n),
    "wtmm_spectrum": lambda w, n: wtmm.wtmm_spectrum(w, n, WAVELETS, 0.0, 1.0),
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
