# SPDX-License-Identifier: MIT
"""A reference that is slow on purpose: the AR(1) against which a change of level shows.

A good forecast follows a shifted level within ten ticks, too soon for its own errors to add up in a CUSUM. A
first-order autoregression that never forgets goes on being surprised. It starts again after an alarm. Spec: 5.3.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import rls
from .leaves import none, zero

RIDGE = 1e-3
WARM_STEPS = 60.0
VARIANCE_GAIN = 0.005
LOCAL_GAIN = 0.4
LOCAL_SHARE = 0.65
SQUARE_CLIP = 25.0
EXCESS = 1.2
LEVEL_LIMIT = 100.0
SMALLEST_VARIANCE = 1e-12


class Reference(NamedTuple):
    """Regression of the increment on the level, variances of its errors, the newest error, and its age in ticks."""

    regression: rls.Rls
    variance: jax.Array
    local_variance: jax.Array  # half the mean squared difference of errors in a row, which no shift inflates
    error: jax.Array
    age: jax.Array


def init() -> Reference:
    """No evidence: no change is expected."""
    return Reference(rls.init(2, RIDGE), zero(), zero(), zero(), none())


def surprise(reference: Reference, increment: jax.Array, published: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Standardised error [L] of the scaled `increment` [L], and whether it may be judged by.

    It may once the reference is old enough, and only on a series that it describes: its error variance is at most
    1.2 times that of the published forecasts (`published` [L], scaled units); else its errors are no noise.
    The local variance is quick, so it scatters: it counts in part, and tells only when volatility has risen.
    """
    local = LOCAL_SHARE * reference.local_variance
    variance = jnp.maximum(jnp.maximum(reference.variance, local), SMALLEST_VARIANCE)
    error = increment - rls.predict(reference.regression)
    return error / jnp.sqrt(variance), (reference.age >= WARM_STEPS) & (reference.variance <= EXCESS * published)


def advance(
    reference: Reference, increment: jax.Array, level: jax.Array, learn: jax.Array, alarm: jax.Array
) -> Reference:
    """Learn the scaled `increment` where `learn`; take `level` (in its spreads) as regressor; forget at `alarm`."""
    error = increment - rls.predict(reference.regression)
    learned = rls.update(reference.regression, increment, learn, jnp.full_like(increment, RIDGE))
    primed = reference.age > 0.5
    moved = follow(reference.variance, error * error, VARIANCE_GAIN, reference.age)
    half = 0.5 * jnp.square(error - reference.error)
    local = jnp.where(primed, follow(reference.local_variance, half, LOCAL_GAIN, reference.age - 1.0), 0.0)
    keep = learn & ~alarm
    regressor = jnp.stack([jnp.ones_like(level), jnp.clip(level, -LEVEL_LIMIT, LEVEL_LIMIT)])
    prior = jnp.asarray(np.eye(2))[:, :, None] / RIDGE
    return Reference(
        regression=rls.Rls(
            covariance=jnp.where(alarm, prior, learned.covariance),
            weights=jnp.where(alarm, 0.0, learned.weights),
            regressor=regressor,
        ),
        variance=jnp.where(keep, moved, jnp.where(alarm, 0.0, reference.variance)),
        local_variance=jnp.where(keep, local, jnp.where(alarm, 0.0, reference.local_variance)),
        error=jnp.where(keep, error, jnp.where(alarm, 0.0, reference.error)),
        age=jnp.where(alarm, 0.0, reference.age + jnp.where(learn, 1.0, 0.0)),
    )


def follow(mean: jax.Array, square: jax.Array, gain: float, age: jax.Array) -> jax.Array:
    """Running mean [L] of squares, at first with equal weights; a square counts at most as 25 times the mean."""
    clipped = jnp.where(age > 0.5, jnp.minimum(square, SQUARE_CLIP * mean), square)
    return mean + jnp.maximum(gain, 1.0 / (age + 1.0)) * (jnp.maximum(clipped, SMALLEST_VARIANCE) - mean)
