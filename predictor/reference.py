# SPDX-License-Identifier: MIT
"""A reference that is slow on purpose: the AR(1) against which a change of level shows.

A good forecast follows a shifted level within ten ticks, too soon for its own errors to add up in a CUSUM. A first-order
autoregression that never forgets goes on being surprised. It starts again after an alarm. Spec: PREDICTOR 5.3.
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
SQUARE_CLIP = 25.0
EXCESS = 1.2
LEVEL_LIMIT = 100.0
SMALLEST_VARIANCE = 1e-12


class Reference(NamedTuple):
    """Regression of the increment on the level, slow variance of its errors, and its age in ticks."""

    regression: rls.Rls
    variance: jax.Array
    age: jax.Array


def init() -> Reference:
    """No evidence: no change is expected."""
    return Reference(rls.init(2, RIDGE), zero(), none())


def surprise(reference: Reference, increment: jax.Array, published: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Standardised error [L] of the scaled `increment` [L], and whether it may be judged by.

    It may once the reference is old enough, and only on a series that it describes: its error variance is at most
    1.2 times that of the published forecasts (`published` [L], scaled units); else its errors are no noise.
    """
    variance = jnp.maximum(reference.variance, SMALLEST_VARIANCE)
    error = increment - rls.predict(reference.regression)
    return error / jnp.sqrt(variance), (reference.age >= WARM_STEPS) & (reference.variance <= EXCESS * published)


def advance(
    reference: Reference, increment: jax.Array, level: jax.Array, learn: jax.Array, alarm: jax.Array
) -> Reference:
    """Learn the scaled `increment` where `learn`, take `level` (units of its spread) as regressor; forget on `alarm`."""
    error = increment - rls.predict(reference.regression)
    learned = rls.update(reference.regression, increment, learn, jnp.full_like(increment, RIDGE))
    square = jnp.minimum(error * error, jnp.where(reference.age > 0.5, SQUARE_CLIP * reference.variance, jnp.inf))
    gain = jnp.maximum(VARIANCE_GAIN, 1.0 / (reference.age + 1.0))
    moved = reference.variance + gain * (jnp.maximum(square, SMALLEST_VARIANCE) - reference.variance)
    regressor = jnp.stack([jnp.ones_like(level), jnp.clip(level, -LEVEL_LIMIT, LEVEL_LIMIT)])
    prior = jnp.asarray(np.eye(2))[:, :, None] / RIDGE
    return Reference(
        regression=rls.Rls(
            covariance=jnp.where(alarm, prior, learned.covariance),
            weights=jnp.where(alarm, 0.0, learned.weights),
            regressor=regressor,
        ),
        variance=jnp.where(alarm, 0.0, jnp.where(learn, moved, reference.variance)),
        age=jnp.where(alarm, 0.0, reference.age + jnp.where(learn, 1.0, 0.0)),
    )
