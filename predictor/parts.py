# SPDX-License-Identifier: MIT
"""The parts of the step one by one, for measurement: each a function that carries a part's state one tick further.

A part is repeated inside one compiled loop, so that what is measured is its arithmetic and not the call.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from . import aggregation, fusion, identification, intervals, kernels, params, regime, rng, sinkhorn, state
from .kernels.contract import Context, reach_of
from .params import Params
from .program import Program
from .records import KERNELS

Part = tuple[Callable[[Any], Any], Any]


def parts(program: Program, block: jax.Array, parameters: jax.Array) -> dict[str, Part]:
    """Name -> (one tick of the part, its state), from a block that has seen some ticks; nothing is consumed."""
    structure = program.structure
    lanes = jnp.array(block[: program.lane_width].T)
    whole = state.unpack(program.layout, lanes)
    p = params.unpack(structure, jnp.asarray(parameters))
    shared = whole.shared
    context = context_of(shared)
    found: dict[str, Part] = {}
    for name, kernel, own in zip(KERNELS, kernels.MODULES, whole[1:], strict=True):

        def tick(own: Any, kernel: Any = kernel) -> Any:
            return kernel.predict(structure, p, kernel.update(structure, p, own, context), context)[0]

        found[f"kernel {name}"] = (tick, own)
    path = shared.scaling.history[-structure.wavelet_window :]
    return found | {
        "weights": (lambda bank: mixed(bank, context, p), shared.mixture),
        "transport": (lambda rho: moved(rho, shared, p), shared.rho),
        "roughness": (lambda path: identified(path, p), path),
        "kurtosis": (lambda window: kurtosis(window, p), shared.residual_window),
        "interval": (lambda interval: bounded(interval, context, p), shared.interval),
        "alarms": (lambda cusum: watched(cusum, context, p), shared.cusum),
        "random key": (lambda key: rng.advance(key, structure.split_count)[0], shared.rng_key),
        "reading and writing the state": (lambda lanes: rewritten(program, lanes), lanes),
    }


def context_of(shared: state.Global) -> Context:
    """The tick that the state has just seen, as kernels see it."""
    levels = shared.scaling
    yes = jnp.ones(shared.last_price.shape, bool)
    return Context(
        increment=levels.history[-1] - levels.history[-2],
        level=levels.history[-1],
        history=levels.history,
        deviation=levels.deviation,
        count=levels.level_count,
        learn=yes,
        freeze_d=~yes,
        holder=jnp.full(yes.shape, 0.5),
        noise=jnp.zeros(yes.shape),
        alarm=~yes,
        reach=reach_of(levels.history),
    )


def mixed(bank: aggregation.Bank, context: Context, p: Params) -> aggregation.Bank:
    """The record of the four kernels, one tick on."""
    learned = aggregation.learn(bank, context.increment, context.learn, p)
    return aggregation.remember(learned, learned.forecasts, aggregation.mix(learned, learned.forecasts, p))


def moved(rho: jax.Array, shared: state.Global, p: Params) -> jax.Array:
    """Transport of the weights to slightly other ones."""
    target = 0.9 * rho + 0.1 * jnp.roll(rho, 1, axis=0)
    cost = fusion.ground_cost(shared.kernel_means, p.cost_is_huber > 0.5, p.sinkhorn_huber_delta)
    tolerance = p.validation_simplex_atol
    plan = sinkhorn.transport(cost, rho, target, p.sinkhorn_epsilon_0, p.sinkhorn_max_iter, tolerance)
    return target + 0.0 * plan.cost


def identified(path: jax.Array, p: Params) -> jax.Array:
    """Roughness of the path, and the path moved on by one."""
    filled = jnp.full(path.shape[1:], float(path.shape[0]))
    low, high = p.validation_holder_exponent_min, p.validation_holder_exponent_max
    exponent, _ = identification.holder_exponent(path, filled, low, high)
    return jnp.concatenate([path[1:], (path[:1] + 1e-9 * exponent)])


def kurtosis(window: jax.Array, p: Params) -> jax.Array:
    """Kurtosis of the residuals, and the window moved on by one."""
    filled = jnp.full(window.shape[1:], float(window.shape[0]))
    found = identification.kurtosis(window, filled, p.numerical_epsilon, p.kurtosis_min, p.kurtosis_max)
    return jnp.concatenate([window[1:], window[:1] + 1e-9 * found])


def bounded(interval: intervals.Interval, context: Context, p: Params) -> intervals.Interval:
    """The interval, one tick on."""
    oldest = interval.ordered[0]
    learned = intervals.learn(interval, context.level, context.increment, context.increment, oldest, context.learn, p)
    return intervals.predict(learned, context.level, context.level, context.increment, context.count, p)[0]


def rewritten(program: Program, block: jax.Array) -> jax.Array:
    """The block cut into its leaves and put together again with a change in each."""
    whole = jax.tree.map(
        lambda leaf: leaf if leaf.dtype != jnp.float64 else leaf + 1e-300, state.unpack(program.layout, block)
    )
    return state.pack(whole).T


def repeated(part: Part, times: int) -> tuple[Callable[[Any], Any], Any]:
    """A compiled loop of `times` ticks of the part, and what to call it with."""
    tick, start = part
    return jax.jit(lambda carry: jax.lax.fori_loop(0, times, lambda _, held: tick(held), carry)), start


def watched(cusum: regime.Cusum, context: Context, p: params.Params) -> regime.Cusum:
    """The change alarm on the newest increment, as both of its errors."""
    errors, learn = jnp.stack([context.increment] * 2), jnp.stack([context.learn] * 2)
    return regime.watch_errors(cusum, errors, jnp.full_like(context.level, 3.0), learn, p)[0]
