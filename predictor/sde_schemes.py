# SPDX-License-Identifier: MIT
"""Schemes for dX = b(X) dt + s(X) dW: explicit, Milstein, implicit by Newton, and a blend chosen by stiffness.

Everything is elementwise, so any shape of paths will do; b and s are functions of the level whose derivatives are
taken automatically. Off the tick path; kernel C's tick uses the same rules on its fitted drift.
Kloeden, Platen (1992), ch. 10 and 12; spec: section 3.3.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

Coefficient = Callable[[Array], Array]
SMALLEST_SLOPE = 1e-10
NEWTON_STEPS = 20


class Equation(NamedTuple):
    """Drift b and diffusion s."""

    drift: Coefficient
    diffusion: Coefficient


class Implicit(NamedTuple):
    """Solution, Newton iterations used and residual left."""

    level: Array
    iterations: Array
    residual: Array


class Metrics(NamedTuple):
    """What a path cost: largest stiffness, mean Newton iterations and largest residual of implicit steps, shares.

    `diverged`: the path is not finite, or a step was longer than the stability limit of the explicit scheme
    (|1 + b' dt| > 1 with b' < 0) while it was explicit.
    """

    stiffness_max: Array
    iterations_mean: Array
    residual_max: Array
    explicit_share: Array
    diverged: Array


def slope(function: Coefficient, x: Array) -> Array:
    """Derivative of an elementwise function at x."""
    return jax.jvp(function, (x,), (jnp.ones_like(x),))[1]


def explicit_step(equation: Equation, x: Array, dt: Array, shock: Array) -> Array:
    """Euler-Maruyama; `shock` is the Brownian increment over dt. Strong order 1/2."""
    return x + equation.drift(x) * dt + equation.diffusion(x) * shock


def milstein_step(equation: Equation, x: Array, dt: Array, shock: Array) -> Array:
    """Euler-Maruyama plus s s' (dW^2 - dt) / 2. Strong order 1."""
    s = equation.diffusion(x)
    return explicit_step(equation, x, dt, shock) + 0.5 * s * slope(equation.diffusion, x) * (shock * shock - dt)


def implicit_step(equation: Equation, x: Array, dt: Array, shock: Array, tolerance: Array) -> Implicit:
    """Drift-implicit Milstein: solves X = x + b(X) dt + noise by Newton from the explicit guess.

    The residual is what is left after at most 20 iterations; a lane that has converged stands still.
    """
    guess = milstein_step(equation, x, dt, shock)
    known = guess - equation.drift(x) * dt

    def defect(level: Array) -> Array:
        return level - known - equation.drift(level) * dt

    def iterate(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        level, used = state
        error = defect(level)
        moving = jnp.abs(error) > tolerance
        steepness = slope(defect, level)
        safe = jnp.where(jnp.abs(steepness) > SMALLEST_SLOPE, steepness, SMALLEST_SLOPE)
        return jnp.where(moving, level - error / safe, level), used + jnp.where(moving, 1.0, 0.0)

    start = jnp.where(jnp.isfinite(guess), guess, x)
    level, used = lax.fori_loop(0, NEWTON_STEPS, iterate, (start, jnp.zeros_like(start)))
    return Implicit(level, used, jnp.abs(defect(level)))


def stiffness(equation: Equation, x: Array) -> Array:
    """|b'(x)| over |s(x)|: how fast the drift pulls, in units of what the noise can do."""
    return jnp.abs(slope(equation.drift, x)) / jnp.maximum(jnp.abs(equation.diffusion(x)), SMALLEST_SLOPE)


def thresholds(holder: Array, low: Array, high: Array, c1: Array, c2: Array, guard: Array) -> tuple[Array, Array]:
    """Stiffness below which a step is explicit and above which it is implicit: max(base, C / (1 - H)^2)."""
    roughness = jnp.square(1.0 - jnp.clip(holder, 0.0, 1.0 - guard))
    raised = jnp.maximum(low, c1 / roughness)
    return raised, jnp.maximum(jnp.maximum(high, c2 / roughness), raised + 1.0)


def hybrid_path(
    equation: Equation, start: Array, dt: Array, shocks: Array, limits: tuple[Array, Array], tolerance: Array
) -> tuple[Array, Metrics]:
    """Levels after `shocks` [steps, ...] from `start` [...], and the metrics of the path.

    Each step is (1 - l) Milstein + l implicit, l = clip((S - low) / (high - low), 0, 1).
    """
    low, high = limits

    def advance(state: tuple[Array, Metrics], shock: Array) -> tuple[tuple[Array, Metrics], None]:
        x, m = state
        stiff = stiffness(equation, x)
        blend = jnp.clip((stiff - low) / (high - low), 0.0, 1.0)
        ahead = milstein_step(equation, x, dt, shock)
        solved = implicit_step(equation, x, dt, shock, tolerance)
        implicit = blend > 0.0
        unstable = ~implicit & (slope(equation.drift, x) * dt < -2.0)
        moved = jnp.where(implicit, (1.0 - blend) * ahead + blend * solved.level, ahead)
        moved = jnp.where(blend >= 1.0, solved.level, moved)
        return (
            moved,
            Metrics(
                jnp.maximum(m.stiffness_max, stiff),
                m.iterations_mean + jnp.where(implicit, solved.iterations, 0.0),
                jnp.maximum(m.residual_max, jnp.where(implicit, solved.residual, 0.0)),
                m.explicit_share + jnp.where(implicit, 0.0, 1.0),
                m.diverged | unstable | ~jnp.isfinite(moved),
            ),
        ), None

    zero = jnp.zeros_like(start)
    (end, total), _ = lax.scan(advance, (start, Metrics(zero, zero, zero, zero, zero > 0.5)), shocks)
    steps = shocks.shape[0]
    implicit_steps = jnp.maximum(steps - total.explicit_share, 1.0)
    return end, total._replace(
        iterations_mean=total.iterations_mean / implicit_steps, explicit_share=total.explicit_share / steps
    )
