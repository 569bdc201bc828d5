# SPDX-License-Identifier: MIT
"""Kernel C: linear stochastic differential equations with jumps, as a bank.

A linear SDE of order p seen at the ticks is an autoregression of order p, so the bank holds last value, mean, EWMA,
Holt's trend and lattices of all orders with several forgetting factors, Huber twins for jumps, and duplicates that
restart at change points. Beside the bank a cubic drift is fitted and integrated a few steps with the explicit or the
implicit scheme, whichever the stiffness asks for; that gives the solver metrics. Spec: PREDICTOR 3.3.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import aggregation, lattice, rls
from ..leaves import leaf, none, zero
from ..params import Params
from ..structure import Structure
from .contract import Context, Forecast, bounded, checked

CLASSICAL = 4
DRIFT_TERMS = 4
RESTART_WATCHES_ORDER = 5
NEWTON_STEPS = 20
DRIFT_RANGE = 10.0
RESTART_GAIN = 0.02
RESTART_CLIP = 25.0
METRIC_GAIN = 0.01


class Restart(NamedTuple):
    """Squared-residual CUSUM that restarts the duplicate lattice."""

    arm: jax.Array
    variance: jax.Array
    wait: jax.Array
    seen: jax.Array


class Solver(NamedTuple):
    """Metrics of the integrator: totals, running means (iterations: of implicit steps) and slowly fading maxima."""

    explicit_count: jax.Array
    implicit_count: jax.Array
    explicit_share: jax.Array
    iterations_mean: jax.Array
    stiffness_max: jax.Array
    residual_max: jax.Array


class State(NamedTuple):
    """Learners, their record, and the solver's metrics."""

    long: lattice.Lattice
    fast: lattice.Lattice
    level_mean: jax.Array
    level_count: jax.Array
    ewma: jax.Array
    holt_level: jax.Array
    holt_trend: jax.Array
    restart: Restart
    drift: rls.Rls
    solver: Solver
    bank: aggregation.Bank


def expert_count(structure: Structure) -> int:
    """Size of the bank."""
    fast = sum(len(orders) for orders in structure.forgetting_orders)
    long = len(structure.lattice_orders) + len(structure.huber_orders)
    return CLASSICAL + long + fast + len(structure.restart_orders)


def init(structure: Structure, p: Params) -> State:
    """No evidence: every expert forecasts no change."""
    delta = float(p.lattice_delta)
    return State(
        long=lattice.init(structure.lattice_order, 1, delta),
        fast=lattice.init(structure.fast_order, len(structure.forgetting_orders) + 1, delta),
        level_mean=zero(),
        level_count=none(),
        ewma=zero(),
        holt_level=zero(),
        holt_trend=zero(),
        restart=Restart(zero(), zero(), none(), none()),
        drift=rls.init(DRIFT_TERMS, 1.0),
        solver=Solver(none(), none(), leaf(np.float64(1.0)), zero(), zero(), zero()),
        bank=aggregation.init(expert_count(structure)),
    )


def update(structure: Structure, p: Params, state: State, context: Context) -> State:
    """Learn the newest increment, watch for change points, and score the experts."""
    x, d = context.level, context.increment
    restarts, fired = watch_restart(state, d, p)
    fired = fired | context.alarm
    ones = jnp.ones_like(p.forgetting[:1])
    long = lattice.update(state.long, x, d, ones, p.huber_knee)
    fast = lattice.update(state.fast, x, d, jnp.concatenate([p.forgetting, ones]), p.huber_knee)
    duplicates = (jnp.arange(fast.weight.shape[0]) == fast.weight.shape[0] - 1)[:, None]
    fast = lattice.restart(fast, x, duplicates & fired, p.lattice_delta)
    first = state.level_count < 0.5
    holt_level = p.holt_level_gain * x + (1.0 - p.holt_level_gain) * (state.holt_level + state.holt_trend)
    holt_trend = state.holt_trend + p.holt_trend_gain * (holt_level - state.holt_level - state.holt_trend)
    learned = State(
        long=long,
        fast=fast,
        level_mean=state.level_mean + (x - state.level_mean) / (state.level_count + 1.0),
        level_count=state.level_count + 1.0,
        ewma=jnp.where(first, x, state.ewma + p.ewma_gain * (x - state.ewma)),
        holt_level=jnp.where(first, x, holt_level),
        holt_trend=jnp.where(first, 0.0, holt_trend),
        restart=restarts,
        drift=rls.update(state.drift, d, context.learn, jnp.ones_like(d)),
        solver=state.solver,
        bank=aggregation.score(state.bank, d, p),
    )
    del structure
    return jax.tree.map(lambda new, old: jnp.where(context.learn, new, old), learned, state)


def watch_restart(state: State, increment: jax.Array, p: Params) -> tuple[Restart, jax.Array]:
    """CUSUM of squared standardised errors of an autoregression; gives the lanes [L] whose duplicates restart."""
    old = state.restart
    error = increment - lattice.predict(state.long)[0][min(RESTART_WATCHES_ORDER, state.long.backward.shape[0]) - 1, 0]
    square = error * error
    primed = old.seen > 0.5
    ratio = jnp.where(primed, square / jnp.maximum(old.variance, aggregation.TINY_LOSS), 1.0)
    ready = old.seen >= p.aggregation_warmup_steps
    arm = jnp.where(ready, jnp.maximum(0.0, old.arm + jnp.minimum(ratio, RESTART_CLIP) - 1.0 - p.restart_slack), 0.0)
    fired = (arm > p.restart_level) & (old.wait < 0.5)
    clipped = jnp.minimum(square, RESTART_CLIP * old.variance)
    variance = jnp.where(primed, old.variance + RESTART_GAIN * (clipped - old.variance), square)
    wait = jnp.where(fired, p.restart_grace_steps, jnp.maximum(old.wait - 1.0, 0.0))
    variance = jnp.maximum(variance, lattice.ENERGY_FLOOR)
    return Restart(jnp.where(fired, 0.0, arm), variance, wait, old.seen + 1.0), fired


def expert_forecasts(structure: Structure, state: State, context: Context) -> jax.Array:
    """Forecast increments [K, L] of the whole bank, in the order of the structure."""
    level = context.level
    classical = [
        jnp.zeros_like(level),
        state.level_mean - level,
        state.ewma - level,
        state.holt_level + state.holt_trend - level,
    ]
    plain, robust = lattice.predict(state.long)
    fast, _ = lattice.predict(state.fast)
    long = [plain[order - 1, 0] for order in structure.lattice_orders]
    huber = [robust[order - 1, 0] for order in structure.huber_orders]
    groups = (*structure.forgetting_orders, structure.restart_orders)
    quick = [fast[order - 1, j] for j, orders in enumerate(groups) for order in orders]
    return bounded(jnp.stack([*classical, *long, *huber, *quick]), context)


def predict(structure: Structure, p: Params, state: State, context: Context) -> tuple[State, Forecast]:
    """Forecast of the bank, and the solver's metrics at the newest level."""
    forecasts = expert_forecasts(structure, state, context)
    mixture = aggregation.mix(state.bank, forecasts, p)
    x = jnp.clip(context.level / context.deviation, -DRIFT_RANGE, DRIFT_RANGE)
    regressor = jnp.stack([jnp.ones_like(x), x, x * x, x * x * x])
    drift = state.drift._replace(regressor=regressor)
    state = state._replace(
        drift=drift,
        solver=integrate(structure, p, state, context, x),
        bank=aggregation.remember(state.bank, forecasts, mixture),
    )
    return state, checked(mixture.forecast, context.learn)


def thresholds(p: Params, holder: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Stiffness limits [L] below which the step is explicit and above which it is implicit.

    max(base, C / (1 - H)^2), H kept away from 1 by `holder_exponent_guard`; section 3.3.
    """
    roughness = 1.0 - jnp.clip(holder, 0.0, 1.0 - p.holder_exponent_guard)
    low = jnp.maximum(jnp.maximum(p.stiffness_low, p.stiffness_min_low), p.stiffness_calibration_c1 / roughness**2)
    high = jnp.maximum(jnp.maximum(p.stiffness_high, p.stiffness_min_high), p.stiffness_calibration_c2 / roughness**2)
    return low, jnp.maximum(high, low + 1.0)


def integrate(structure: Structure, p: Params, state: State, context: Context, x: jax.Array) -> Solver:
    """Integrate the fitted drift for `solver_steps` steps from standardised level `x` [L]; new metrics.

    dX = b(X) dt + s dW with cubic b per unit of tick time. A step is explicit below the low threshold, implicit
    (Newton on X' = X + b(X') dt + s dW) above the high one, and a blend between. Stiffness is |b'| over the diffusion
    |s|, in units of the time step's rate (section 3.3).
    """
    a = state.drift.weights / context.deviation
    low, high = thresholds(p, context.holder)
    dt = jnp.maximum(p.sde_dt, p.kernel_c_horizon / p.sde_numel_integrations)
    shock = p.sde_diffusion_sigma * jnp.sqrt(dt / structure.solver_steps)
    stiffness, residual, iterations, solves = (jnp.zeros_like(x) for _ in range(4))
    for _ in range(structure.solver_steps):
        x = jnp.clip(x, -DRIFT_RANGE, DRIFT_RANGE)
        slope = drift_slope(a, x)
        here = jnp.abs(slope) / jnp.maximum(p.sde_diffusion_sigma, aggregation.SCALE_FLOOR)
        blend = jnp.clip((here - low) / jnp.maximum(high - low, 1.0), 0.0, 1.0)
        forced = x + shock * context.noise
        ahead = forced + drift_value(a, x) * dt
        implicit = blend > 0.0
        solved, used, left = newton(a, forced, ahead, dt, p.newton_tolerance, implicit)
        stiffness = jnp.maximum(stiffness, here)
        residual = jnp.maximum(residual, jnp.where(implicit, left, 0.0))
        iterations = iterations + used
        solves = solves + jnp.where(implicit, 1.0, 0.0)
        x = jnp.where(implicit, (1.0 - blend) * ahead + blend * solved, ahead)
    old = state.solver
    fade = 1.0 - METRIC_GAIN
    explicit = 1.0 - solves / structure.solver_steps
    all_explicit = explicit > 0.5
    gain = jnp.where(old.iterations_mean > 0.0, METRIC_GAIN, 1.0) * (solves > 0.0)
    return Solver(
        explicit_count=old.explicit_count + jnp.where(all_explicit, 1.0, 0.0),
        implicit_count=old.implicit_count + jnp.where(all_explicit, 0.0, 1.0),
        explicit_share=old.explicit_share + METRIC_GAIN * (explicit - old.explicit_share),
        iterations_mean=old.iterations_mean + gain * (iterations / jnp.maximum(solves, 1.0) - old.iterations_mean),
        stiffness_max=jnp.maximum(fade * old.stiffness_max, stiffness),
        residual_max=jnp.maximum(fade * old.residual_max, residual),
    )


def drift_value(a: jax.Array, x: jax.Array) -> jax.Array:
    """Cubic drift [L] with coefficients `a` [4, L]."""
    return a[0] + x * (a[1] + x * (a[2] + x * a[3]))


def drift_slope(a: jax.Array, x: jax.Array) -> jax.Array:
    """Derivative of the cubic drift."""
    return a[1] + x * (2.0 * a[2] + 3.0 * x * a[3])


def newton(
    a: jax.Array, forced: jax.Array, guess: jax.Array, dt: jax.Array, tolerance: jax.Array, wanted: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Solve X = forced + b(X) dt from `guess` in the lanes that want it: solution, iterations and residual, each [L].

    It ends when no lane moves, at the latest after 20 iterations; a lane that has converged keeps its bits.
    """

    def is_moving(x: jax.Array) -> jax.Array:
        return wanted & (jnp.abs(x - forced - drift_value(a, x) * dt) > tolerance)

    def go_on(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        x, _, turn = state
        return (turn < NEWTON_STEPS) & is_moving(x).any()

    def iterate(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        x, used, turn = state
        moving = is_moving(x)
        slope = 1.0 - drift_slope(a, x) * dt
        ahead = x - (x - forced - drift_value(a, x) * dt) / jnp.where(jnp.abs(slope) > 1e-6, slope, 1e-6)
        return jnp.where(moving, ahead, x), used + jnp.where(moving, 1.0, 0.0), turn + 1

    x, used, _ = jax.lax.while_loop(go_on, iterate, (guess, jnp.zeros_like(guess), jnp.zeros((), jnp.int32)))
    return x, used, jnp.abs(x - forced - drift_value(a, x) * dt)
