# SPDX-License-Identifier: MIT
"""Entropic optimal transport between two weight vectors of four kernels, for all lanes at once.

The plan solves min <P, C> + epsilon sum P log P with row sums `source` and column sums `target` (Cuturi 2013, NIPS),
C = cost / mean(cost). Plain Sinkhorn scalings need about 1 / epsilon iterations, so the concave semi-dual in the
column potentials is climbed by Newton steps instead:

* Rows are a softmax of (potential - C) / epsilon, taken in the log domain, so row sums are exact and nothing
  overflows at any epsilon.
* The Hessian is a graph Laplacian with weights w_jk = sum_i P_ij P_ik / a_i. It is solved by eliminating nodes
  (star-mesh), which has no subtraction and so stays accurate when weights are as small as 1e-200.
* The step is damped by log(1 + d) / d, d = span of the step / epsilon. The objective is generalised self-concordant
  with that constant, so each step climbs without a line search (Sun, Tran-Dinh 2019, Math. Program. 178).
* A small epsilon is approached from EPSILON_START by division, as soon as the plan at hand is roughly right.

A lane that has finished keeps its values by `where`: its bits do not depend on the other lanes. Spec: section 5.1.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

EPSILON_START = 0.03
EPSILON_DIVISOR = 4.0
ROUGHLY_RIGHT = 0.1
SMALLEST_CONDUCTANCE = 1e-200
ROUNDING = 1e-14
SMALLEST_MASS = 1e-300
PLAN_MARGIN = 8.0
STEP_BOUND = 1_000
PAIRS = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
STOP = 0.9  # of the goal, so that rounding in the final check cannot undo the verdict of the loop


class Transport(NamedTuple):
    """Result per lane.

    plan [4, 4, L]: mass moved from row kernel to column kernel. cost [L]: <plan, cost> in the units of the cost.
    free_energy [L]: cost - epsilon' entropy(plan), with epsilon' = epsilon mean(cost), in the same units.
    max_err [L]: L1 error of the marginals of the plan. iterations [L] (int32): steps used.
    converged [L]: max_err <= tolerance / 8, which keeps the plan within `tolerance` (L1) of the exact one: a
    small error of a marginal spreads over the plan as a mean over spanning trees, which have 7 edges.
    """

    plan: Array
    cost: Array
    free_energy: Array
    converged: Array
    max_err: Array
    iterations: Array


class Climb(NamedTuple):
    """Loop state: column potentials [4, L], current epsilon [L], steps used [L], and which lanes still move [L]."""

    potential: Array
    epsilon: Array
    iterations: Array
    active: Array


def transport(
    cost: Array, source: Array, target: Array, epsilon: Array, max_iter: Array, tolerance: ArrayLike
) -> Transport:
    """Entropic plan between `source` and `target` [4, L] under `cost` [4, 4, L]; each lane has its own limits.

    `epsilon` [L] is relative to the mean of the cost; converges for epsilon >= 1e-4, below that read `converged`.
    `max_iter` [L] bounds the Newton steps (never more than STEP_BOUND); `tolerance` is a number or [L], see Transport.
    Zero weights carry no mass. A lane whose input is no transport problem (NaN, infinity, negative or no mass) is not
    iterated: it returns the plan source x target, zero cost and free energy, an infinite `max_err` and `converged`
    false.
    """
    scale = jnp.mean(cost, axis=(0, 1))
    usable = jnp.isfinite(scale) & is_mass(source) & is_mass(target) & jnp.isfinite(epsilon) & (epsilon > 0.0)
    scale = jnp.where(usable & (scale > 0.0), scale, 1.0)
    scaled = jnp.where(usable, cost, 0.0) / scale
    epsilon = jnp.where(usable, epsilon, 1.0)
    goal = tolerance / PLAN_MARGIN
    limit = jnp.minimum(max_iter, STEP_BOUND)

    log_target = jnp.where(target > 0.0, jnp.log(jnp.maximum(target, SMALLEST_MASS)), -jnp.inf)
    inverse_source = jnp.where(source > 0.0, 1.0 / jnp.maximum(source, SMALLEST_MASS), 0.0)

    def advance(climb: Climb) -> Climb:
        plan = rows_exact_plan(scaled, source, log_target, climb.potential, climb.epsilon)
        gap = target - add(plan)
        error = add(jnp.abs(gap))
        final = climb.epsilon <= epsilon
        moving = climb.active & ~(final & (error <= STOP * goal)) & (climb.iterations < limit)
        step = damped_newton_step(plan, inverse_source, gap) * climb.epsilon
        smaller = jnp.where(error <= ROUGHLY_RIGHT, climb.epsilon / EPSILON_DIVISOR, climb.epsilon)
        return Climb(
            potential=jnp.where(moving, climb.potential + step, climb.potential),
            epsilon=jnp.where(moving, jnp.maximum(smaller, epsilon), climb.epsilon),
            iterations=climb.iterations + moving.astype(jnp.int32),
            active=moving,
        )

    start = Climb(
        potential=jnp.zeros_like(target),
        epsilon=jnp.maximum(epsilon, EPSILON_START),
        iterations=jnp.zeros(target.shape[-1:], jnp.int32),
        active=usable,
    )
    end = lax.while_loop(lambda climb: jnp.any(climb.active), advance, start)
    plan = rows_exact_plan(scaled, source, log_target, end.potential, epsilon)
    return summarise(plan, scaled, scale, source, target, epsilon, end.iterations, usable, goal)


def is_mass(weights: Array) -> Array:
    """Whether each lane [L] of weights [4, L] can be transported: none negative, a finite sum above zero."""
    total = jnp.sum(weights, axis=0)
    return jnp.isfinite(total) & (total > 0.0) & (jnp.min(weights, axis=0) >= 0.0)


def rows_exact_plan(cost: Array, source: Array, log_target: Array, potential: Array, epsilon: Array) -> Array:
    """Plan [4, 4, L] with exact row sums: source_i softmax_j(log target_j + (potential_j - cost_ij) / epsilon)."""
    logits = [(potential[j] - cost[:, j]) / epsilon + log_target[j] for j in range(4)]
    top = jnp.maximum(jnp.maximum(logits[0], logits[1]), jnp.maximum(logits[2], logits[3]))
    mass = jnp.exp(jnp.stack(logits) - top)
    share = source / add(mass)
    return jnp.moveaxis(mass * share, 0, 1)


def add(terms: Array) -> Array:
    """Sum of four terms along the first axis, as arithmetic that the compiler joins with what is around it."""
    return (terms[0] + terms[1]) + (terms[2] + terms[3])


def damped_newton_step(plan: Array, inverse_source: Array, gap: Array) -> Array:
    """Ascent step [4, L] of the semi-dual in units of epsilon; `gap` [4, L] = target - column sums of `plan`."""
    step = solve_laplacian(plan, inverse_source, gap)
    top = jnp.maximum(jnp.maximum(step[0], step[1]), jnp.maximum(step[2], step[3]))
    low = jnp.minimum(jnp.minimum(step[0], step[1]), jnp.minimum(step[2], step[3]))
    span = top - low
    damping = jnp.where(span > 1e-12, jnp.log1p(span) / jnp.maximum(span, 1e-12), 1.0)
    return step * damping


def solve_laplacian(plan: Array, inverse_source: Array, current: Array) -> Array:
    """Node values u [4, L] with sum_k w_jk (u_j - u_k) = current_j and u_0 = 0; w_jk = sum_i P_ij P_ik / a_i.

    Nodes 3, 2, 1 are eliminated in turn; only sums, products and quotients of non-negative weights occur.
    A current below the rounding of the marginals is no imbalance: over a tiny conductance it would move u by noise.
    """
    pairs = jnp.stack([add(plan[:, j] * plan[:, k] * inverse_source) for j, k in PAIRS])
    w = dict(zip(PAIRS, pairs, strict=True))
    i = [current[j] for j in range(4)]
    s3 = 1.0 / jnp.maximum(w[3, 0] + w[3, 1] + w[3, 2], SMALLEST_CONDUCTANCE)
    p0, p1, p2 = w[3, 0] * s3, w[3, 1] * s3, w[3, 2] * s3
    w10, w20, w21 = w[1, 0] + w[3, 1] * p0, w[2, 0] + w[3, 2] * p0, w[2, 1] + w[3, 2] * p1
    i1, i2 = i[1] + i[3] * p1, i[2] + i[3] * p2
    s2 = 1.0 / jnp.maximum(w20 + w21, SMALLEST_CONDUCTANCE)
    q1 = w21 * s2
    s1 = 1.0 / jnp.maximum(w10 + w20 * q1, SMALLEST_CONDUCTANCE)
    u1 = above_rounding(i1 + i2 * q1) * s1
    u2 = above_rounding(i2) * s2 + q1 * u1
    u3 = above_rounding(i[3]) * s3 + p1 * u1 + p2 * u2
    return jnp.stack([jnp.zeros_like(u1), u1, u2, u3])


def above_rounding(current: Array) -> Array:
    """The current, or zero where it is no larger than the rounding error of a sum of weights."""
    return jnp.where(jnp.abs(current) < ROUNDING, 0.0, current)


def summarise(
    plan: Array,
    scaled: Array,
    scale: Array,
    source: Array,
    target: Array,
    epsilon: Array,
    iterations: Array,
    usable: Array,
    goal: ArrayLike,
) -> Transport:
    """The plan at the wanted epsilon with its cost, free energy and true marginal error."""
    plan = jnp.where(usable, plan, source[:, None] * target[None, :])
    rows = jnp.sum(jnp.abs(jnp.sum(plan, axis=1) - source), axis=0)
    columns = jnp.sum(jnp.abs(jnp.sum(plan, axis=0) - target), axis=0)
    error = jnp.where(usable, rows + columns, jnp.inf)
    moved = jnp.sum(plan * scaled, axis=(0, 1))
    negative_entropy = jnp.sum(plan * jnp.log(jnp.maximum(plan, SMALLEST_MASS)), axis=(0, 1))
    return Transport(
        plan=plan,
        cost=jnp.where(usable, scale * moved, 0.0),
        free_energy=jnp.where(usable, scale * (moved + epsilon * negative_entropy), 0.0),
        converged=error <= goal,
        max_err=error,
        iterations=iterations,
    )
