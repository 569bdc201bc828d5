# SPDX-License-Identifier: MIT
"""Least-squares lattices: exact autoregressions of every order up to p at once, in O(p) per tick.

A-priori error-feedback joint-process lattice with an exact intercept stage. It regresses the increment d on the p
newest levels and a constant, with exponential forgetting and a ridge `delta` at the start. Prefix sums over the order
are products with a triangle of ones, so there is no sequential loop. Haykin (2002), ch. 12; Ling, Manolakis,
Proakis (1986). Arrays are [p, J, L]: p orders, J lattices with different forgetting, L lanes; scalars are [J, L].
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .leaves import leaf, zeros

ENERGY_FLOOR = 1e-12


class Lattice(NamedTuple):
    """Backward errors of the regressors that await the next increment, reflection coefficients and energies."""

    backward: jax.Array  # b_m [p, J, L]
    forward_gain: jax.Array  # kf_m
    backward_gain: jax.Array  # kb_m
    joint_gain: jax.Array  # h_m
    robust_gain: jax.Array  # h_m of the Huber twin
    backward_energy: jax.Array  # B_m
    forward_energy: jax.Array  # F_m
    level_mean: jax.Array  # mu [J, L]
    increment_mean: jax.Array  # dbar [J, L]
    weight: jax.Array  # n_eff [J, L]
    robust_scale: jax.Array  # EWMA of the clipped innovation [J, L]


def init(order: int, count: int, delta: float) -> Lattice:
    """Fresh lattices of one lane."""
    matrix, row = zeros(order, count), zeros(count)
    energy = leaf(np.full((order, count), delta))
    return Lattice(matrix, matrix, matrix, matrix, matrix, energy, energy, row, row, leaf(np.ones(count)), row)


def prefix_sum(values: jax.Array) -> jax.Array:
    """Cumulative sum over the first axis, as a product with a triangle of ones."""
    size = values.shape[0]
    flat = jnp.asarray(np.tril(np.ones((size, size)))) @ values.reshape(size, -1)
    return flat.reshape(values.shape)


def prefix_sums(*values: jax.Array) -> list[jax.Array]:
    """`prefix_sum` of several arrays [p, J, L] as one product: a product costs more to begin than to do."""
    return jnp.split(prefix_sum(jnp.concatenate(values, axis=1)), len(values), axis=1)


def exclusive(cumulative: jax.Array) -> jax.Array:
    """The cumulative sum of all entries *before* each one."""
    return jnp.concatenate([jnp.zeros_like(cumulative[:1]), cumulative[:-1]])


def update(state: Lattice, level: jax.Array, increment: jax.Array, forgetting: jax.Array, knee: jax.Array) -> Lattice:
    """Learn `increment` [L] from the stored regressors, then make `level` [L] the newest regressor.

    `forgetting` is [J, L]; `knee` [L] clips the innovation of the Huber twin in robust standard deviations.
    """
    b = state.backward
    weight = forgetting * state.weight + 1.0
    f0 = level - state.level_mean
    e0 = increment - state.increment_mean
    energies, forward, joint, robust = prefix_sums(
        b * b / (forgetting * state.backward_energy),
        state.forward_gain * b,
        state.joint_gain * b,
        state.robust_gain * b,
    )
    inverse_likelihood = 1.0 / (1.0 - 1.0 / weight) + exclusive(energies)
    g = 1.0 / inverse_likelihood
    backward_energy = jnp.maximum(forgetting * state.backward_energy + g * b * b, ENERGY_FLOOR)
    step = g * b / backward_energy

    f_after = f0 - forward
    f_before = jnp.concatenate([f0[None], f_after[:-1]])
    e_after = e0 - joint
    r_after = e0 - robust
    robust_scale, clipped = huber(state.robust_scale, r_after, knee)

    forward_energy = jnp.maximum(forgetting * state.forward_energy + g * f_before * f_before, ENERGY_FLOOR)
    b_next = b - state.backward_gain * f_before
    return Lattice(
        backward=jnp.concatenate([f0[None], b_next[:-1]]),
        forward_gain=state.forward_gain + step * f_after,
        backward_gain=state.backward_gain + g * f_before * b_next / forward_energy,
        joint_gain=state.joint_gain + step * e_after,
        robust_gain=state.robust_gain + step * clipped,
        backward_energy=backward_energy,
        forward_energy=forward_energy,
        level_mean=state.level_mean + f0 / weight,
        increment_mean=state.increment_mean + e0 / weight,
        weight=weight,
        robust_scale=robust_scale,
    )


def huber(scale: jax.Array, innovation: jax.Array, knee: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Robust scale [J, L] of the order-2 innovation, and all innovations [p, J, L] clipped at `knee` times it."""
    size = jnp.abs(innovation[min(1, innovation.shape[0] - 1)])
    grown = jnp.where(scale > 0.0, scale + 0.02 * (jnp.minimum(size, 5.0 * scale) - scale), size)
    bound = knee * 1.2533 * grown
    return grown, jnp.clip(innovation, -bound, bound)


def predict(state: Lattice) -> tuple[jax.Array, jax.Array]:
    """Forecasts of the next increment [p, J, L]: row m - 1 is order m; least squares and Huber."""
    plain, robust = prefix_sums(state.joint_gain * state.backward, state.robust_gain * state.backward)
    return state.increment_mean + plain, state.increment_mean + robust


def restart(state: Lattice, level: jax.Array, where: jax.Array, delta: jax.Array) -> Lattice:
    """Forget everything in the lattices and lanes `where` [J, L]; the mean starts again at `level` [L]."""
    zeroed = Lattice(*(jnp.where(where, 0.0, field) for field in state))
    return zeroed._replace(
        backward_energy=jnp.where(where, delta, state.backward_energy),
        forward_energy=jnp.where(where, delta, state.forward_energy),
        level_mean=jnp.where(where, level, state.level_mean),
        weight=jnp.where(where, 1.0, state.weight),
    )
