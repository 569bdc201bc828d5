# SPDX-License-Identifier: MIT
"""The signal in its own units: levels around a centre, in RMS increments of the symbol's first ticks.

Centre, scale and the spread of the levels are fixed once and kept, so that a regression learned on scaled values stays
true. Until then nothing is learned and every forecast is the last value.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .leaves import leaf, none, zero, zeros
from .params import Params

PRICE_LIMIT = 1e150
SCALED_LIMIT = 1e5
SMALLEST_SCALE = 1e-150


class Scaling(NamedTuple):
    """Centre and scale, what they are made from, and the scaled levels so far (newest last)."""

    centre: jax.Array
    scale: jax.Array  # 0 until it is fixed
    deviation: jax.Array  # spread of the levels, in units of the scale, at least 1
    increment_norm: jax.Array  # root of the sum of squared increments, while the scale is not fixed
    deviation_norm: jax.Array  # the same of the prices around their mean
    increment_count: jax.Array
    history: jax.Array  # [N, L]
    level_count: jax.Array


class Scaled(NamedTuple):
    """The newest tick in scaled units, [L] each. `learn`: an increment between two scaled levels."""

    increment: jax.Array
    level: jax.Array
    learn: jax.Array


def init(length: int) -> Scaling:
    """Nothing seen."""
    return Scaling(zero(), zero(), leaf(np.float64(1.0)), zero(), zero(), none(), zeros(length), none())


def advance(
    scaling: Scaling, price: jax.Array, last_price: jax.Array, known: jax.Array, p: Params
) -> tuple[Scaling, Scaled]:
    """Take in `price` [L]; `known` says that there was a price before it."""
    change = jnp.where(known, jnp.clip(price - last_price, -PRICE_LIMIT, PRICE_LIMIT), 0.0)
    scaling = learn_scale(scaling, price, change, known, p)
    fixed = scaling.scale > 0.0
    unit = jnp.where(fixed, scaling.scale, 1.0)
    level = jnp.where(fixed, jnp.clip((price - scaling.centre) / unit, -SCALED_LIMIT, SCALED_LIMIT), 0.0)
    increment = jnp.where(fixed, jnp.clip(change / unit, -SCALED_LIMIT, SCALED_LIMIT), 0.0)
    learn = fixed & (scaling.level_count > 0.5)
    return learn_level(scaling, level, fixed, learn), Scaled(increment, level, learn)


def learn_scale(scaling: Scaling, price: jax.Array, change: jax.Array, known: jax.Array, p: Params) -> Scaling:
    """Centre is the mean price, scale the RMS increment of the first `scale_steps`, or later if nothing moves."""
    open_ = scaling.scale <= 0.0
    count = scaling.increment_count + jnp.where(open_ & known, 1.0, 0.0)
    norm = jnp.where(open_, jnp.hypot(scaling.increment_norm, change), scaling.increment_norm)
    away = price - scaling.centre
    centre = jnp.where(open_, scaling.centre + away / (count + 1.0), scaling.centre)
    step_norm = jnp.sqrt(jnp.abs(away)) * jnp.sqrt(jnp.abs(price - centre))
    deviation_norm = jnp.where(open_, jnp.hypot(scaling.deviation_norm, step_norm), scaling.deviation_norm)
    rms = jnp.clip(norm / jnp.sqrt(jnp.maximum(count, 1.0)), 0.0, PRICE_LIMIT)
    ripe = open_ & (count >= p.scale_steps) & (rms > SMALLEST_SCALE)
    spread = jnp.clip(deviation_norm / jnp.maximum(norm, SMALLEST_SCALE), 1.0, SCALED_LIMIT)
    return scaling._replace(
        centre=centre,
        scale=jnp.where(ripe, rms, scaling.scale),
        deviation=jnp.where(ripe, spread, scaling.deviation),
        increment_norm=norm,
        deviation_norm=deviation_norm,
        increment_count=count,
    )


def learn_level(scaling: Scaling, level: jax.Array, fixed: jax.Array, learn: jax.Array) -> Scaling:
    """Append `level` [L]; the first one fills the whole history, so that older increments are zero."""
    pushed = jnp.concatenate([scaling.history[1:], level[None]])
    return scaling._replace(
        history=jnp.where(learn, pushed, jnp.broadcast_to(level, pushed.shape)),
        level_count=scaling.level_count + jnp.where(fixed, 1.0, 0.0),
    )
