# SPDX-License-Identifier: MIT
"""Alpha-stable laws: sampling, and estimation of index and scale from increments. Off the tick path."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

NEAR_ONE = 1e-8
INDEX_RANGE = (0.1, 2.0)
# Points t of the empirical characteristic function at unit scale; Koutrouvelis (1980) uses the same range.
FREQUENCIES = tuple(0.1 * k for k in range(1, 11))
MINIMUM_COUNT = 16


class Stable(NamedTuple):
    """Index alpha in (0, 2], skewness beta in [-1, 1], scale gamma > 0, location delta (parametrisation S1)."""

    alpha: jax.Array
    beta: jax.Array
    gamma: jax.Array
    delta: jax.Array


def sample(law: Stable, uniform: jax.Array, exponential: jax.Array) -> jax.Array:
    """Stable numbers from independent `uniform` numbers in (0, 1) and standard `exponential` ones, any shape.

    Chambers, Mallows, Stuck (1976), JASA 71, as corrected by Weron (1996); section 3.3.
    """
    angle = np.pi * (uniform - 0.5)
    at_one = jnp.abs(law.alpha - 1.0) < NEAR_ONE
    general = away_from_one(jnp.where(at_one, 1.5, law.alpha), law.beta, angle, exponential)
    half_pi = 0.5 * np.pi
    lift = half_pi + law.beta * angle
    inner = jnp.log(half_pi * exponential * jnp.cos(angle) / lift)
    cauchy = (lift * jnp.tan(angle) - law.beta * inner) / half_pi
    moved = law.delta + jnp.where(at_one, law.beta * law.gamma * jnp.log(law.gamma) / half_pi, 0.0)
    return law.gamma * jnp.where(at_one, cauchy, general) + moved


def away_from_one(alpha: jax.Array, beta: jax.Array, angle: jax.Array, exponential: jax.Array) -> jax.Array:
    """Standard stable numbers for alpha other than 1."""
    skew = beta * jnp.tan(0.5 * np.pi * alpha)
    shift = jnp.arctan(skew) / alpha
    size = (1.0 + skew * skew) ** (0.5 / alpha)
    turned = alpha * (angle + shift)
    tail = jnp.cos(angle - turned) / exponential
    return size * jnp.sin(turned) / jnp.cos(angle) ** (1.0 / alpha) * tail ** ((1.0 - alpha) / alpha)


def increment(law: Stable, uniform: jax.Array, exponential: jax.Array, dt: jax.Array) -> jax.Array:
    """Increment over `dt` of the Lévy motion whose value at time 1 has this law: scale grows as dt^(1 / alpha)."""
    centred = sample(
        law._replace(gamma=jnp.ones_like(law.gamma), delta=jnp.zeros_like(law.delta)), uniform, exponential
    )
    at_one = jnp.abs(law.alpha - 1.0) < NEAR_ONE
    scale = law.gamma * dt ** (1.0 / law.alpha)
    drift = jnp.where(at_one, 2.0 / np.pi * law.beta * law.gamma * dt * jnp.log(law.gamma * dt), 0.0)
    return scale * centred + law.delta * dt + drift


def estimate(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Index alpha and scale gamma of symmetric stable `values` [n]; (2, 0) for values that say nothing.

    log(-log|phi(t)|^2) is linear in log t with slope alpha; values are divided by half their quartile range first.
    Koutrouvelis (1980), JASA 75; section 3.3.
    """
    centre, unit = jnp.median(values), 0.5 * (jnp.quantile(values, 0.75) - jnp.quantile(values, 0.25))
    usable = (values.shape[0] >= MINIMUM_COUNT) & (unit > 0.0) & jnp.all(jnp.isfinite(values))
    scaled = jnp.where(usable, values - centre, 0.0) / jnp.where(usable, unit, 1.0)
    t = jnp.asarray(FREQUENCIES)
    phase = t[:, None] * scaled
    modulus = jnp.mean(jnp.cos(phase), axis=1) ** 2 + jnp.mean(jnp.sin(phase), axis=1) ** 2
    x, y = jnp.log(t), jnp.log(-jnp.log(jnp.clip(modulus, 1e-12, 1.0 - 1e-12)))
    dx = x - jnp.mean(x)
    slope = jnp.clip(jnp.sum(dx * y) / jnp.sum(dx * dx), *INDEX_RANGE)
    gamma = unit * (0.5 * jnp.exp(jnp.mean(y) - slope * jnp.mean(x))) ** (1.0 / slope)
    return jnp.where(usable, slope, 2.0), jnp.where(usable, gamma, 0.0)
