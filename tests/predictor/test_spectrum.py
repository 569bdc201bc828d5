# SPDX-License-Identifier: MIT
"""Peaks of power spectra."""

import jax
import numpy as np

from usp.predictor import spectrum
from windows import full


def test_spectral_peaks_are_the_periods_of_the_signal():
    """Two sines at any level come out as two frequencies, the stronger first; a constant has none."""
    time = np.arange(1_024)
    wave = 100.0 + np.sin(2 * np.pi * time / 16) + 0.3 * np.sin(2 * np.pi * time / 4)
    window = np.stack([wave, np.full(1_024, 3.0)], axis=1)
    peaks = jax.jit(spectrum.spectral_peaks, static_argnums=2)
    frequency, power = map(np.asarray, peaks(window, full(window), 3, 0.5))
    np.testing.assert_allclose(frequency[:, 0], [2.0 / 16, 2.0 / 4, 0.0], atol=1e-12)
    assert power[0, 0] > power[1, 0] > power[2, 0] == 0.0
    assert (power[:, 1] == 0.0).all()
