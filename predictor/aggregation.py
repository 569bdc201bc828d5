# SPDX-License-Identifier: MIT
"""Weights of experts on several time scales: the rule by which each kernel mixes its bank, and rho mixes the kernels.

Four rules weigh K experts: three Gibbs rules, (discounted loss)^(-n_eff / 2) at different discounts, which is the
closed form of the entropic JKO step for a Gaussian loss of unknown scale, and BOA (Wintenberger 2017, Mach. Learn.
106). A Gibbs rule weighs the four rules. No single discount serves ticks and regimes alike.
Forecasts are in scaled units, [K, L]; sums run over the expert axis.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .leaves import none, zero, zeros
from .params import Params

GIBBS_RULES = 3
RULES = GIBBS_RULES + 1
REGRET_CLIP = 100.0
SCALE_CLIP = 5.0
SCALE_FLOOR = 1e-12
TINY_LOSS = 1e-300
TINY_SCALE = 1e-280


class Bank(NamedTuple):
    """Record of K experts and of the four rules over them."""

    forecasts: jax.Array  # [K, L] awaiting their target
    rule_forecasts: jax.Array  # [RULES, L]
    loss: jax.Array  # [GIBBS_RULES, K, L]
    count: jax.Array  # [GIBBS_RULES, L]
    regret: jax.Array  # [K, L] of BOA
    regret_power: jax.Array  # [K, L]
    regret_range: jax.Array  # [K, L]
    rule_loss: jax.Array  # [RULES, L]
    rule_count: jax.Array  # [L]
    error_scale: jax.Array  # [L]
    seen: jax.Array  # [L]


class Mixture(NamedTuple):
    """A mixed forecast [L], the weights [K, L] behind it, and the forecasts of the rules [RULES, L]."""

    forecast: jax.Array
    weights: jax.Array
    rule_forecasts: jax.Array


def init(experts: int) -> Bank:
    """No record yet: weights are uniform."""
    return Bank(
        forecasts=zeros(experts),
        rule_forecasts=zeros(RULES),
        loss=zeros(GIBBS_RULES, experts),
        count=zeros(GIBBS_RULES),
        regret=zeros(experts),
        regret_power=zeros(experts),
        regret_range=zeros(experts),
        rule_loss=zeros(RULES),
        rule_count=zero(),
        error_scale=zero(),
        seen=none(),
    )


def learn(bank: Bank, target: jax.Array, where: jax.Array, p: Params) -> Bank:
    """Score the stored forecasts against `target` [L], in the lanes `where` [L]."""
    scored = score(bank, target, p)
    return jax.tree.map(lambda new, old: jnp.where(where, new, old), scored, bank)


def score(bank: Bank, target: jax.Array, p: Params) -> Bank:
    """The record after one more target."""
    error = bank.forecasts - target
    scale = error_scale(bank, error, p)
    cap = jnp.square(p.loss_cap * scale)
    loss = jnp.minimum(error * error, cap)
    rule_loss = jnp.minimum(jnp.square(bank.rule_forecasts - target), cap)
    d = p.gibbs_discounts
    regret, power, spread = learn_boa(bank, target, scale)
    return bank._replace(
        loss=d[:, None] * bank.loss + loss,
        count=d * bank.count + 1.0,
        regret=regret,
        regret_power=power,
        regret_range=spread,
        rule_loss=p.top_discount * bank.rule_loss + rule_loss,
        rule_count=p.top_discount * bank.rule_count + 1.0,
        error_scale=scale,
        seen=bank.seen + 1.0,
    )


def error_scale(bank: Bank, error: jax.Array, p: Params) -> jax.Array:
    """EWMA [L] of the mean absolute error of the experts, clipped so that one jump cannot lift it."""
    size = jnp.mean(jnp.abs(error), axis=0)
    old = bank.error_scale
    moved = old + p.loss_scale_gain * (jnp.minimum(size, SCALE_CLIP * old) - old)
    return jnp.maximum(jnp.where(bank.seen > 0.5, moved, size), SCALE_FLOOR)


def learn_boa(bank: Bank, target: jax.Array, scale: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Second-order regrets of BOA: regret, its power and its range, each [K, L]."""
    mixed = bank.rule_forecasts[GIBBS_RULES]
    gap = 2.0 * (mixed - target) * (mixed - bank.forecasts)
    instant = jnp.clip(gap / jnp.maximum(scale * scale, TINY_SCALE), -REGRET_CLIP, REGRET_CLIP)
    spread = jnp.maximum(bank.regret_range, jnp.abs(instant))
    power = bank.regret_power + instant * instant
    rate = boa_rate(power, spread)
    return bank.regret + instant - rate * instant * instant, power, spread


def boa_rate(power: jax.Array, spread: jax.Array) -> jax.Array:
    """Learning rate of BOA per expert [K, L]: min(1 / (2 E), sqrt(log K / V))."""
    experts = power.shape[0]
    return jnp.minimum(
        0.5 / jnp.maximum(spread, TINY_SCALE), jnp.sqrt(np.log(experts) / jnp.maximum(power, TINY_SCALE))
    )


def softmax(logits: jax.Array, axis: int) -> jax.Array:
    """Weights that sum to 1 along `axis`."""
    raised = jnp.exp(logits - jnp.max(logits, axis=axis, keepdims=True))
    return raised / jnp.sum(raised, axis=axis, keepdims=True)


def gibbs_logits(loss: jax.Array, count: jax.Array) -> jax.Array:
    """Logarithm of loss^(-count / 2)."""
    return -0.5 * count * jnp.log(jnp.maximum(loss, TINY_LOSS))


def mix(bank: Bank, forecasts: jax.Array, p: Params) -> Mixture:
    """Mix new forecasts [K, L] with the weights that the record supports; uniform during warm-up."""
    rate = boa_rate(bank.regret_power, bank.regret_range)
    logits = jnp.concatenate([gibbs_logits(bank.loss, bank.count[:, None]), (jnp.log(rate) + rate * bank.regret)[None]])
    warming = bank.seen < p.aggregation_warmup_steps
    weights = softmax(jnp.where(warming, 0.0, logits), axis=1)
    rule_forecasts = jnp.sum(weights * forecasts, axis=1)
    rule_logits = jnp.where(warming, 0.0, gibbs_logits(bank.rule_loss, bank.rule_count))
    rule_weights = softmax(rule_logits, axis=0)
    pooled = jnp.sum(rule_weights[:, None] * weights, axis=0)
    return Mixture(jnp.sum(rule_weights * rule_forecasts, axis=0), pooled, rule_forecasts)


def remember(bank: Bank, forecasts: jax.Array, mixture: Mixture) -> Bank:
    """Store what has been forecast, to be scored by the next `learn`."""
    return bank._replace(forecasts=forecasts, rule_forecasts=mixture.rule_forecasts)
