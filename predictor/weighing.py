# SPDX-License-Identifier: MIT
"""The published weights rho of the four kernels: what the record supports, and what overrides it.

Order of precedence, strongest first: degraded mode keeps the old weights; the open circuit breaker gives kernel D
everything; a change alarm makes them uniform, and they stay so through the grace period; a frozen kernel D keeps
its weight. The transport between old and new weights is computed beside, for its cost, energy and honest convergence.
Spec: PREDICTOR 5.1 to 5.4.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from . import aggregation, fusion, regime, sinkhorn
from .params import Params
from .records import KERNELS

KERNEL_D = KERNELS.index("D")


class Control(NamedTuple):
    """The events that override the record, each bool [L]."""

    calm: jax.Array
    alarm: jax.Array
    grace: jax.Array
    broken: jax.Array
    freeze_d: jax.Array


class Weighing(NamedTuple):
    """Weights [4, L], the mixture behind them, and the diagnostics [L] of the move from the old weights."""

    rho: jax.Array
    mixture: aggregation.Mixture
    transport: sinkhorn.Transport
    epsilon: jax.Array
    learning_rate: jax.Array
    entropy_window: jax.Array
    fisher_rao: jax.Array


def control(
    calm: jax.Array,
    alarm: jax.Array,
    cusum: regime.Cusum,
    breaker: regime.Breaker,
    freeze_d: jax.Array,
    p: Params,
) -> Control:
    """Which overrides hold on this tick."""
    broken = breaker.active & (p.robustness_force_kernel_d > 0.5)
    return Control(calm, alarm, cusum.grace_counter > 0.5, broken, freeze_d)


def weigh(
    record: aggregation.Bank,
    moves: jax.Array,
    means: jax.Array,
    old_rho: jax.Array,
    relative_variance: jax.Array,
    events: Control,
    p: Params,
) -> Weighing:
    """New weights from the `record` of the kernels; `moves` and `means` [4, L] are their scaled and raw forecasts."""
    mixture = aggregation.mix(record, moves, p)
    floor = p.weight_floor
    supported = floor + (1.0 - len(KERNELS) * floor) * mixture.weights
    rho = override(supported, old_rho, events)
    epsilon = fusion.coupled_epsilon(relative_variance, p.sinkhorn_epsilon_0, p.sinkhorn_alpha, p.sinkhorn_epsilon_min)
    source = jnp.where(events.alarm, 1.0 / len(KERNELS), old_rho)
    cost = fusion.ground_cost(means, events.broken | (p.cost_is_huber > 0.5), p.sinkhorn_huber_delta)
    limit = jnp.where(events.calm, p.sinkhorn_max_iter, 0.0)
    return Weighing(
        rho=rho,
        mixture=mixture,
        transport=sinkhorn.transport(cost, source, rho, epsilon, limit, p.validation_simplex_atol),
        epsilon=epsilon,
        learning_rate=adaptive_rate(relative_variance, record, p),
        entropy_window=adaptive_window(relative_variance, record, p),
        fisher_rao=fusion.fisher_rao(old_rho, rho),
    )


def adaptive_rate(relative_variance: jax.Array, record: aggregation.Bank, p: Params) -> jax.Array:
    """JKO step length [L] from the volatility; the configured one until there is a record."""
    rate = fusion.learning_rate(
        relative_variance, p.sinkhorn_epsilon_0, p.learning_rate_safety_factor, p.learning_rate_minimum
    )
    return jnp.where(record.seen > 0.5, rate, p.learning_rate)


def adaptive_window(relative_variance: jax.Array, record: aggregation.Bank, p: Params) -> jax.Array:
    """Entropy horizon [L] in steps from the volatility; the configured one until there is a record."""
    window = fusion.entropy_window(
        relative_variance,
        p.entropy_window_relaxation_factor,
        p.jko_domain_length,
        p.entropy_window_bounds_min,
        p.entropy_window_bounds_max,
    )
    return jnp.where(record.seen > 0.5, window, p.entropy_window)


def override(supported: jax.Array, old_rho: jax.Array, events: Control) -> jax.Array:
    """Apply the events to the `supported` weights [4, L], weakest first."""
    rho = jnp.where(events.freeze_d, hold_kernel_d(supported, old_rho[KERNEL_D]), supported)
    rho = jnp.where(events.grace, old_rho, rho)
    rho = jnp.where(events.alarm, 1.0 / len(KERNELS), rho)
    is_d = (jnp.arange(len(KERNELS)) == KERNEL_D)[:, None]
    rho = jnp.where(events.broken, jnp.where(is_d, 1.0, 0.0), rho)
    return jnp.where(events.calm, rho, old_rho)


def hold_kernel_d(rho: jax.Array, weight: jax.Array) -> jax.Array:
    """Weights [4, L] in which kernel D has `weight` [L] and the others share the rest as before."""
    others = jnp.sum(rho[:KERNEL_D], axis=0)
    share = jnp.where(others > 0.0, rho[:KERNEL_D] / jnp.where(others > 0.0, others, 1.0), 1.0 / KERNEL_D)
    return jnp.concatenate([share * (1.0 - weight), weight[None]])


def restart(record: aggregation.Bank, where: jax.Array) -> aggregation.Bank:
    """Forget the record of the kernels in the lanes `where`, so that uniform weights are a true restart."""
    emptied = jax.tree.map(lambda field: jnp.where(where, 0.0, field), record)
    return emptied._replace(error_scale=record.error_scale)
