# SPDX-License-Identifier: MIT
"""Windows with known roughness."""

import numpy as np

EXPONENTS = (0.3, 0.5, 0.7)


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
    """Every row of the window holds a value."""
    return np.full(window.shape[1], float(window.shape[0]))
