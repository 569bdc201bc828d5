# SPDX-License-Identifier: MIT
"""Power spectrum of a window: its peaks, and the Paley-Wiener integral. Off the tick path.

Windows are those of `windows.py`. The Fourier transforms go through the lanes one by one: no lane's bits depend on
another's. Spec: section 3.1.
"""

import jax.numpy as jnp
from jax import Array, lax

from .windows import centre_and_scale, filled_rows, shifted

SMALLEST_POWER = 1e-10


def spectral_peaks(window: Array, filled: Array, count: int, interval: float) -> tuple[Array, Array]:
    """The `count` highest peaks of the power spectrum: frequencies and powers, both [count, L], highest first.

    |rfft(z)|^2 / number of values, z the window with mean 0 and variance 1, `interval` the time between samples
    (the Koopman spectrum of section 3.1). Powers below 1e-10 are zero and have frequency zero. Diagnostics only.
    """
    signal, number = standardised(window, filled)

    def one_lane(lane: tuple[Array, Array]) -> tuple[Array, Array]:
        values, length = lane
        power = jnp.square(jnp.abs(jnp.fft.rfft(values))) / length
        peak = (power >= shifted(power, -1)) & (power >= shifted(power, 1)) & (power >= SMALLEST_POWER)
        height, index = lax.top_k(jnp.where(peak, power, 0.0), count)
        return jnp.where(height > 0.0, index / (window.shape[0] * interval), 0.0), height

    frequency, power = lax.map(one_lane, (signal.T, number))
    return frequency.T, power.T


def standardised(window: Array, filled: Array) -> tuple[Array, Array]:
    """The filled part [N, L] with mean 0 and variance 1, zero elsewhere, and how many values [L] it has."""
    inside = filled_rows(window.shape[0], filled)
    number = jnp.maximum(jnp.asarray(filled, jnp.float64), 1.0)
    scaled, _ = centre_and_scale(window, filled)
    deviation = jnp.where(inside, scaled - jnp.sum(scaled, axis=0) / number, 0.0)
    variance = jnp.sum(deviation * deviation, axis=0) / number
    return deviation / jnp.sqrt(jnp.where(variance > 0.0, variance, 1.0)), number


def paley_wiener(window: Array, filled: Array, floor: float) -> Array:
    """Integral [L] of |log P(f)| / (1 + f) over frequencies in cycles per sample: finite for a causal filter to exist.

    P is the periodogram of the standardised window, not below `floor`; bounded by `paley_wiener_integral_max` for a
    signal with an innovation. Wiener, Paley (1934); section 3.1.
    """
    signal, number = standardised(window, filled)
    frequency = jnp.fft.rfftfreq(window.shape[0])

    def one_lane(lane: tuple[Array, Array]) -> Array:
        values, length = lane
        power = jnp.maximum(jnp.square(jnp.abs(jnp.fft.rfft(values))) / length, floor)
        return jnp.sum(jnp.abs(jnp.log(power)) / (1.0 + frequency)) / window.shape[0]

    return lax.map(one_lane, (signal.T, number))
