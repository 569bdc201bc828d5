# SPDX-License-Identifier: MIT
"""System identification: roughness, kurtosis, variance, entropy and spectrum of windows of the signal.

Windows are [N, L]: time first, lanes last, oldest row first; the `filled` [L] newest rows (the last ones) hold values
and the rows before them are ignored whatever they hold. float64. Nothing raises: a window without information
gives a defined value. All but `wtmm_spectrum` and `spectral_peaks` are cheap enough for each step. Spec: section 4.
Those two need a Fourier transform, so they go through the lanes one by one: no lane's bits depend on another's.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

UNKNOWN_EXPONENT = 0.5
UNKNOWN_UNCERTAINTY = 1.0
MINIMUM_LENGTH = 8
GAUSSIAN_KURTOSIS = 3.0
DETAIL_VARIANCE = 1.4
SUPPORT_SIGMAS = 4.0
MINIMUM_LINES = 4.0
FLAT_TOP = 1e-9
NOISE_ROUNDINGS = 64.0
SMALLEST_POWER = 1e-10
TINY = 1e-300
MACHINE_EPSILON = float(np.finfo(np.float64).eps)


def filled_rows(length: int, filled: Array) -> Array:
    """Mask [length, L]: true in the last `filled` rows."""
    return jnp.arange(length)[:, None] >= length - jnp.asarray(filled)


def centre_and_scale(window: Array, filled: Array) -> tuple[Array, Array]:
    """Window minus its newest value, over its range, and the rounding error [L] of that; zeros if it says nothing."""
    inside = filled_rows(window.shape[0], filled)
    centred = jnp.where(inside, window - window[-1], 0.0)
    spread = jnp.max(jnp.abs(centred), axis=0)
    usable = jnp.isfinite(spread) & (spread > 0.0)
    spread = jnp.where(usable, spread, 1.0)
    magnitude = jnp.max(jnp.where(inside, jnp.abs(window), 0.0), axis=0)
    return jnp.where(usable, centred, 0.0) / spread, jnp.where(usable, MACHINE_EPSILON * magnitude / spread, 0.0)


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


class Wavelets(NamedTuple):
    """Static settings of the WTMM analysis, Python numbers: the grids and the wtmm_* and besov_* keys."""

    scales: tuple[float, ...]  # in samples, increasing
    moments: tuple[float, ...]  # q, increasing, must hold 0
    exponents: tuple[float, ...]  # h, increasing, equally spaced
    sigma: float  # width of the Gaussian envelope at scale 1
    centre_frequency: float  # of the Morlet wavelet at scale 1, cycles per sample
    modulus_threshold: float  # a maximum must exceed this times the mean modulus of its scale
    cone: float  # C_besov: |b - b'| <= C_besov (a - a') between linked maxima


class Spectrum(NamedTuple):
    """Singularity spectrum per lane: exponent [L], tau [q, L], dimension D [h, L], lines per scale [scale, L]."""

    exponent: Array
    tau: Array
    dimension: Array
    lines: Array


def wtmm_spectrum(window: Array, filled: Array, wavelets: Wavelets, minimum: float, maximum: float) -> Spectrum:
    """Singularity spectrum by wavelet transform modulus maxima, for windows of 256 samples and more; diagnostics.

    CWT with a 1/a norm (so |W| ~ a^h), modulus maxima, lines linked inside the Besov cone, partition function
    Z(q, a) = sum over lines of (sup of |W| along the line up to a)^q ~ a^tau(q), D(h) = min_q (q h - tau(q)),
    exponent = middle of the h with the largest D, clipped to [minimum, maximum]. Monofractals have
    tau = q H - 1 and D(H) = 1. A window with too few lines gives exponent 0.5 and zero tau.
    Median error of the exponent of fractional Brownian motion: 0.02 for 2,048 samples, 0.07 for 256.

    Muzy, Bacry, Arneodo (1993), Phys. Rev. E 47, 875; section 4.
    """
    scaled, resolution = centre_and_scale(window, filled)

    def one_lane(lane: tuple[Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        signal, number, rounding = lane
        modulus = jnp.abs(wavelet_transform(signal, wavelets))
        modulus = jnp.where(modulus > NOISE_ROUNDINGS * (rounding + MACHINE_EPSILON), modulus, 0.0)
        log_partition, lines = partition_function(modulus, number, wavelets)
        tau, known = partition_slopes(log_partition, lines, wavelets)
        exponent, dimension = legendre(tau, wavelets)
        exponent = jnp.where(known, jnp.clip(exponent, minimum, maximum), UNKNOWN_EXPONENT)
        return exponent, tau, dimension, lines

    exponent, tau, dimension, lines = lax.map(one_lane, (scaled.T, jnp.asarray(filled), resolution))
    return Spectrum(exponent, tau.T, dimension.T, lines.T)


def wavelet_transform(signal: Array, wavelets: Wavelets) -> Array:
    """CWT [scale, N] of signal [N] with the real Morlet wavelet less the constant that makes its mean zero.

    psi(t) = (cos(2 pi f t) - c) exp(-t^2 / (2 sigma^2)), norm 1/a. Near the ends the signal counts as zero outside.
    """
    length = signal.shape[0]
    reach = support(wavelets, wavelets.scales[-1])
    size = 1 << (length + 2 * reach - 1).bit_length()
    position = (np.arange(size) + size // 2) % size - size // 2
    rows = []
    for scale in wavelets.scales:
        time = position / scale
        envelope = np.exp(-0.5 * np.square(time / wavelets.sigma)) * (np.abs(position) <= support(wavelets, scale))
        wave = np.cos(2.0 * np.pi * wavelets.centre_frequency * time) * envelope
        rows.append((wave - envelope * (wave.sum() / envelope.sum())) / scale)
    return jnp.fft.irfft(jnp.fft.rfft(signal, size) * jnp.asarray(np.fft.rfft(np.stack(rows))), size)[:, :length]


def support(wavelets: Wavelets, scale: float) -> int:
    """Samples on each side beyond which the wavelet is nothing: SUPPORT_SIGMAS of its envelope."""
    return int(np.ceil(SUPPORT_SIGMAS * wavelets.sigma * scale))


def partition_function(modulus: Array, filled: Array, wavelets: Wavelets) -> tuple[Array, Array]:
    """log Z [scale, q] per sample, and the number of lines [scale], from the modulus [scale, N] of one lane.

    Maxima whose wavelet reaches outside the filled part are left out. The part that remains shrinks as the scale
    grows, so Z is divided by its length; else tau would be too small for all q.
    """
    moments = jnp.asarray(wavelets.moments)[:, None]
    reaches = [support(wavelets, scale) for scale in wavelets.scales]
    radii = [cone_radius(wavelets, index) for index in range(len(wavelets.scales))]
    nothing = jnp.zeros_like(modulus[0])

    def one_scale(finer: tuple[Array, Array], scale: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], Array]:
        values, reach, radius = scale
        peak = modulus_maxima(values, filled, reach, wavelets.modulus_threshold)
        height = jnp.where(peak, values, 0.0)
        highest = jnp.where(peak, jnp.maximum(height, strongest_in_cone(*finer, radius, max(radii))), 0.0)
        powers = jnp.where(peak, moments * jnp.log(jnp.maximum(highest, TINY)), -jnp.inf)
        top = jnp.max(powers, axis=1)
        anchor = jnp.where(jnp.isfinite(top), top, 0.0)
        total = jnp.sum(jnp.exp(powers - anchor[:, None]), axis=1)
        looked_at = jnp.maximum(filled - 2.0 * reach, 1.0)
        log_partition = anchor + jnp.log(jnp.maximum(total, TINY)) - jnp.log(looked_at)
        return (height, highest), jnp.append(log_partition, jnp.sum(peak))

    _, rows = lax.scan(one_scale, (nothing, nothing), (modulus, jnp.asarray(reaches), jnp.asarray(radii)))
    return rows[:, :-1], rows[:, -1]


def modulus_maxima(modulus: Array, filled: Array, reach: ArrayLike, threshold: float) -> Array:
    """Mask [N] of the local maxima of modulus [N] above threshold x mean that lie `reach` inside the filled part."""
    length = modulus.shape[0]
    position = jnp.arange(length)
    inside = (position >= length - filled + reach) & (position < length - reach)
    mean = jnp.sum(jnp.where(inside, modulus, 0.0)) / jnp.maximum(jnp.sum(inside), 1)
    rises = modulus >= shifted(modulus, -1)
    falls = modulus > shifted(modulus, 1)
    return inside & rises & falls & (modulus >= threshold * mean) & (modulus > 0.0)


def cone_radius(wavelets: Wavelets, index: int) -> int:
    """How far, in samples, a maximum at scale `index` may lie from its child one scale finer: C_besov (a - a')."""
    finer = wavelets.scales[index - 1] if index else wavelets.scales[index]
    return int(wavelets.cone * (wavelets.scales[index] - finer))


def strongest_in_cone(height: Array, highest: Array, radius: ArrayLike, largest_radius: int) -> Array:
    """At each position: `highest` of the maximum with the largest `height` within `radius` (0 if there is none).

    A sliding maximum: any window is the union of two windows whose width is a power of two.
    """
    length, span = height.shape[0], 2 * jnp.asarray(radius) + 1
    levels = [(jnp.pad(height, largest_radius), jnp.pad(highest, largest_radius))]
    widths = [1]
    while 2 * widths[-1] <= 2 * largest_radius + 1:
        best = levels[-1]
        levels.append(stronger(best, (shifted(best[0], widths[-1]), shifted(best[1], widths[-1]))))
        widths.append(2 * widths[-1])
    level = jnp.sum(jnp.asarray(widths) <= span) - 1
    heights, sups = (jnp.stack(values)[level] for values in zip(*levels, strict=True))

    def window_from(start: Array) -> tuple[Array, Array]:
        return lax.dynamic_slice(heights, (start,), (length,)), lax.dynamic_slice(sups, (start,), (length,))

    first = largest_radius - jnp.asarray(radius)
    return stronger(window_from(first), window_from(first + span - jnp.asarray(widths)[level]))[1]


def stronger(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    """Of two (height, highest) pairs the one with the larger height, a where they are equal."""
    return jnp.where(b[0] > a[0], b[0], a[0]), jnp.where(b[0] > a[0], b[1], a[1])


def shifted(x: Array, by: int) -> Array:
    """y[i] = x[i + by], zero where that is outside."""
    if by >= 0:
        return jnp.pad(x[by:], (0, by))
    return jnp.pad(x[:by], (-by, 0))


def partition_slopes(log_partition: Array, lines: Array, wavelets: Wavelets) -> tuple[Array, Array]:
    """tau [q]: slope of log Z [scale, q] on log scale, weighted by lines [scale]; and whether there was enough.

    Scales below 1 / centre_frequency are left out: there the sampled wavelet is within an octave of Nyquist.
    """
    resolved = jnp.asarray([scale * wavelets.centre_frequency >= 0.999 for scale in wavelets.scales])
    weight = jnp.where(resolved & (lines >= MINIMUM_LINES), lines, 0.0)
    x = jnp.log(jnp.asarray(wavelets.scales))
    dx = x - jnp.sum(weight * x) / jnp.maximum(jnp.sum(weight), TINY)
    known = jnp.sum(weight > 0.0) >= 3
    leverage = jnp.where(known, jnp.sum(weight * dx * dx), 1.0)
    return jnp.where(known, jnp.sum((weight * dx)[:, None] * log_partition, axis=0) / leverage, 0.0), known


def legendre(tau: Array, wavelets: Wavelets) -> tuple[Array, Array]:
    """Exponent with the largest D, and D(h) = min_q (q h - tau(q)) on the grid of exponents.

    D is concave with a flat top between the slopes of tau on both sides of q = 0; its middle is the estimate.
    """
    exponents = jnp.asarray(wavelets.exponents)
    dimension = jnp.min(jnp.asarray(wavelets.moments)[:, None] * exponents - tau[:, None], axis=0)
    top = dimension >= jnp.max(dimension) - FLAT_TOP
    return jnp.sum(jnp.where(top, exponents, 0.0)) / jnp.sum(top), dimension


def spectral_peaks(window: Array, filled: Array, count: int, interval: float) -> tuple[Array, Array]:
    """The `count` highest peaks of the power spectrum: frequencies and powers, both [count, L], highest first.

    |rfft(z)|^2 / number of values, z the window with mean 0 and variance 1, `interval` the time between samples
    (the Koopman spectrum of section 3.1). Powers below 1e-10 are zero and have frequency zero. Diagnostics only.
    """
    inside = filled_rows(window.shape[0], filled)
    number = jnp.maximum(jnp.asarray(filled, jnp.float64), 1.0)
    scaled, _ = centre_and_scale(window, filled)
    deviation = jnp.where(inside, scaled - jnp.sum(scaled, axis=0) / number, 0.0)
    variance = jnp.sum(deviation * deviation, axis=0) / number
    signal = deviation / jnp.sqrt(jnp.where(variance > 0.0, variance, 1.0))

    def one_lane(lane: tuple[Array, Array]) -> tuple[Array, Array]:
        values, length = lane
        power = jnp.square(jnp.abs(jnp.fft.rfft(values))) / length
        peak = (power >= shifted(power, -1)) & (power >= shifted(power, 1)) & (power >= SMALLEST_POWER)
        height, index = lax.top_k(jnp.where(peak, power, 0.0), count)
        return jnp.where(height > 0.0, index / (window.shape[0] * interval), 0.0), height

    frequency, power = lax.map(one_lane, (signal.T, number))
    return frequency.T, power.T
