# SPDX-License-Identifier: MIT
"""System identification on each tick: roughness, kurtosis, variance and entropy of windows of the signal.

Windows are those of `windows.py`, float64. Nothing raises: a window without information gives a defined value.
Cheap enough for each step; what needs a Fourier transform or a long window stands in `wtmm.py`, `spectrum.py` and
`stationarity.py`. Spec: section 4.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from .windows import TINY, centre_and_scale, filled_rows

UNKNOWN_EXPONENT = 0.5
UNKNOWN_UNCERTAINTY = 1.0
MINIMUM_LENGTH = 8
GAUSSIAN_KURTOSIS = 3.0
DETAIL_VARIANCE = 1.4


def holder_exponent(window: Array, filled: Array, minimum: ArrayLike, maximum: ArrayLike) -> tuple[Array, Array]:
    """Hoelder (Hurst) exponent [L] of short windows and its standard error [L], clipped to [minimum, maximum].

    The details of the wavelet (1, -2, 1) dilated by 1, 2, 4, ... have variance proportional to scale^(2 H); H is
    half the slope of log2 variance, weighted by the number of independent details. The two vanishing moments remove
    level and trend and keep the estimate nearly Gaussian for all H in (0, 1); the unit of the signal cancels.
    A window whose details are all below rounding (constant, straight line), that holds NaN or infinity, or fewer
    than 8 values, gives (0.5, 1.0), "unknown".

    Istas, Lang (1997), Ann. Inst. H. Poincare 33; Kent, Wood (1997), J. R. Stat. Soc. B 59; section 4
    (first-order estimator for N < 256).
    """
    length = window.shape[0]
    scaled, resolution = centre_and_scale(window, filled)
    dilations = [1 << k for k in range(max(2, (length // 6).bit_length()))]
    variances, counts = zip(*(detail_variance(scaled, filled, dilation) for dilation in dilations), strict=True)
    variance, count = jnp.stack(variances), jnp.stack(counts)
    floor = jnp.square(8.0 * resolution) + TINY
    weight = jnp.where(variance > floor, count, 0.0)
    octave = jnp.arange(len(dilations), dtype=jnp.float64)[:, None]
    slope, error = weighted_slope(octave, 0.5 * jnp.log2(jnp.maximum(variance, floor)), weight)
    known = jnp.isfinite(slope) & (filled >= MINIMUM_LENGTH) & (jnp.sum(weight > 0.0, axis=0) >= 2)
    exponent = jnp.where(known, jnp.clip(slope, minimum, maximum), UNKNOWN_EXPONENT)
    return exponent, jnp.where(known, jnp.minimum(error, UNKNOWN_UNCERTAINTY), UNKNOWN_UNCERTAINTY)


def detail_variance(window: Array, filled: Array, dilation: int) -> tuple[Array, Array]:
    """Mean square [L] of y_t - 2 y_(t-d) + y_(t-2d) over the filled part, and how many independent ones [L]."""
    reach = 2 * dilation
    details = window[reach:] - 2.0 * window[dilation:-dilation] + window[:-reach]
    number = jnp.clip(filled - reach, 0.0, window.shape[0] - reach)
    energy = jnp.sum(jnp.where(filled_rows(details.shape[0], number), details * details, 0.0), axis=0)
    return energy / jnp.maximum(number, 1.0), number / dilation


def weighted_slope(x: Array, y: Array, weight: Array) -> tuple[Array, Array]:
    """Slope [L] of y on x (both [k, L]) and its standard error; the variance of y is that of half a log2 variance.

    That variance is DETAIL_VARIANCE / weight for a Gaussian power law; if the points scatter more than that around
    the line, then their scatter counts (a signal that is no power law gets a larger error).
    """
    total = jnp.maximum(jnp.sum(weight, axis=0), TINY)
    dx = x - jnp.sum(weight * x, axis=0) / total
    dy = y - jnp.sum(weight * y, axis=0) / total
    leverage = jnp.sum(weight * dx * dx, axis=0)
    slope = jnp.sum(weight * dx * dy, axis=0) / leverage
    freedom = jnp.maximum(jnp.sum(weight > 0.0, axis=0) - 2.0, 1.0)
    scatter = jnp.sum(weight * jnp.square(dy - slope * dx), axis=0) / freedom
    return slope, jnp.sqrt(jnp.maximum(scatter, DETAIL_VARIANCE) / leverage)


def kurtosis(window: Array, count: Array, floor: ArrayLike, minimum: ArrayLike, maximum: ArrayLike) -> Array:
    """mu_4 / (sigma^4 + floor) [L] over the `count` newest residuals, clipped to [minimum, maximum] (section 4).

    The residuals are divided by their largest magnitude first, so the unit does not matter and nothing overflows;
    `floor` (1e-10) bounds sigma^2 and the denominator in that unit. Fewer than 2 residuals give the Gaussian 3.
    """
    inside = filled_rows(window.shape[0], count)
    values = jnp.where(inside, window, 0.0)
    largest = jnp.max(jnp.abs(values), axis=0)
    number = jnp.maximum(jnp.asarray(count, jnp.float64), 1.0)
    scaled = values / jnp.where(largest > 0.0, largest, 1.0)
    deviation = jnp.where(inside, scaled - jnp.sum(scaled, axis=0) / number, 0.0)
    square = deviation * deviation
    variance = jnp.maximum(jnp.sum(square, axis=0) / number, floor)
    fourth = jnp.sum(square * square, axis=0) / number
    ratio = fourth / (variance * variance + floor)
    known = (count >= 2) & (largest > 0.0) & jnp.isfinite(ratio)
    return jnp.clip(jnp.where(known, ratio, GAUSSIAN_KURTOSIS), minimum, maximum)


def ewma_variance(previous: Array, error: Array, alpha: ArrayLike) -> Array:
    """alpha error^2 + (1 - alpha) previous [L]; 0 stands for "no history yet" and takes the first error^2 whole.

    An error that is not finite leaves the previous value (section 4).
    """
    square = error * error
    mixed = jnp.where(previous > 0.0, alpha * square + (1.0 - jnp.asarray(alpha)) * previous, square)
    return jnp.where(jnp.isfinite(square), mixed, previous)


def density_entropy(density: Array, spacing: ArrayLike) -> Array:
    """Differential entropy -sum p log p dx [L] in nats of a density [K, L] with grid step `spacing` (section 3)."""
    return -jnp.sum(jnp.where(density > 0.0, density * jnp.log(jnp.maximum(density, TINY)), 0.0), axis=0) * spacing


def effective_width(density: Array, spacing: ArrayLike) -> Array:
    """exp(entropy) [L] > 0: the width, in units of x, of the uniform density with that entropy (section 3.2)."""
    return jnp.exp(density_entropy(density, spacing))


def histogram_entropy(values: Array, low: ArrayLike, high: ArrayLike, bins: int) -> Array:
    """Entropy [L] in nats, between 0 and log(bins), of `values` [K, L] over `bins` equal cells of [low, high].

    A positive measure of how well a value function fills its reference range: a collapsed one lies in one cell and
    gives 0, the terminal condition g(x) = x on its own grid gives nearly log(bins). Values outside count in the end
    cells; values that are not finite count nowhere; an empty range gives 0 (section 3.2, positive measure).
    """
    span = jnp.asarray(high) - low
    position = (values - low) / jnp.where(span > 0.0, span, 1.0) * bins
    cell = jnp.where(jnp.isfinite(position), jnp.clip(jnp.floor(position), 0.0, bins - 1.0), bins).astype(jnp.int32)
    lane = jnp.arange(values.shape[1])[None, :]
    number = jnp.zeros((bins, values.shape[1])).at[cell, lane].add(1.0, mode="drop")
    share = number / jnp.maximum(jnp.sum(number, axis=0), 1.0)
    entropy = -jnp.sum(jnp.where(share > 0.0, share * jnp.log(jnp.maximum(share, TINY)), 0.0), axis=0)
    return jnp.where(span > 0.0, entropy, 0.0)


def quadratic_variation(window: Array, filled: Array) -> Array:
    """Realised quadratic variation [X] = sum (X_t - X_(t-1))^2 [L] over the filled part (section 4)."""
    step = window[1:] - window[:-1]
    return jnp.sum(jnp.where(filled_rows(step.shape[0], filled - 1), step * step, 0.0), axis=0)
