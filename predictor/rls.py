# SPDX-License-Identifier: MIT
"""Recursive least squares without forgetting, one regression per lane, lanes last.

Without forgetting the covariance only shrinks, so a run of unchanged prices cannot wind it up; forgetting is left to
the lattice. All sums run over a feature axis, elementwise in the lane. Haykin (2002), Adaptive Filter Theory, ch. 9.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .leaves import leaf, zeros


class Rls(NamedTuple):
    """Inverse information [n, n, L], coefficients [n, L], and the regressor [n, L] that awaits its target."""

    covariance: jax.Array
    weights: jax.Array
    regressor: jax.Array


def init(size: int, ridge: float) -> Rls:
    """Coefficients at zero with prior precision `ridge`: with no evidence the forecast is no change."""
    return Rls(leaf(np.eye(size) / ridge), zeros(size), zeros(size))


def update(state: Rls, target: jax.Array, learn: jax.Array, ridge: jax.Array) -> Rls:
    """Learn `target` [L] from the stored regressor, in the lanes where `learn` [L].

    A lane whose covariance has lost its sign to rounding, or is not finite, starts again from the prior `ridge` [L].
    """
    covariance, weights, phi = state
    gain = matvec(covariance, phi)
    leverage = jnp.sum(gain * phi, axis=0)
    error = target - jnp.sum(weights * phi, axis=0)
    sound = (leverage >= 0.0) & jnp.isfinite(leverage) & jnp.isfinite(error)
    inverse = jnp.where(learn & sound, 1.0 / (1.0 + leverage), 0.0)
    moved = jnp.where(sound, weights + gain * (error * inverse), 0.0)
    prior = jnp.eye(phi.shape[0])[:, :, None] / ridge
    shrunk = covariance - (gain[:, None] * gain[None, :]) * inverse
    return Rls(jnp.where(sound, shrunk, prior), moved, phi)


def matvec(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """Symmetric matrices [n, n, L] times vectors [n, L], as a chain of sums: a reduction takes ten times as long."""
    chain = sum((row * x for row, x in zip(matrix, vector, strict=True)), start=jnp.zeros_like(vector))
    return jax.lax.optimization_barrier(chain)


def predict(state: Rls) -> jax.Array:
    """Forecast [L] of the target that belongs to the stored regressor."""
    return jnp.sum(state.weights * state.regressor, axis=0)
