# SPDX-License-Identifier: MIT
"""Singularity spectrum by wavelet transform modulus maxima (WTMM). Off the tick path.

Windows are those of `windows.py`. The Fourier transforms go through the lanes one by one: no lane's bits depend on
another's. Muzy, Bacry, Arneodo (1993), Phys. Rev. E 47, 875; spec: section 4.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from .identification import UNKNOWN_EXPONENT
from .windows import MACHINE_EPSILON, TINY, centre_and_scale, shifted

SUPPORT_SIGMAS = 4.0
MINIMUM_LINES = 4.0
FLAT_TOP = 1e-9
NOISE_ROUNDINGS = 64.0


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
