# SPDX-License-Identifier: MIT
"""The signal in its own units: levels around a centre, in RMS increments of the symbol's first ticks.

Centre, scale and the spread of the levels are fixed once and kept, so that a regression learned on scaled values stays
true. Until then nothing is learned and every forecast is the last value.

A jump of thousands of usual moves (another contract, another unit), or a level shift that ingest has confirmed, teaches
nothing about the next move: the path goes on from the new level as if it had always been there, and that tick is not
learned.
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
JUMP_MOVES = 2000.0  # a stable law of index 1.5 exceeds it once in two hundred thousand ticks
JUMPS_IN_A_ROW = 3.0  # more are no jumps but a new volatility
USUAL_MOVE_GAIN = 0.02


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
    offset: jax.Array  # sum of the jumps, price units
    usual_move: jax.Array  # moving average of absolute increments, scaled units, at least 1
    jump_run: jax.Array  # jumps in a row


class Scaled(NamedTuple):
    """The newest tick in scaled units, [L] each. `learn`: an increment between two scaled levels that is no `jump`."""

    increment: jax.Array
    level: jax.Array
    learn: jax.Array
    jump: jax.Array


def init(length: int) -> Scaling:
    """Nothing seen."""
    one = leaf(np.float64(1.0))
    return Scaling(zero(), zero(), one, zero(), zero(), none(), zeros(length), none(), zero(), one, none())


def advance(
    scaling: Scaling, price: jax.Array, last_price: jax.Array, known: jax.Array, shifted: jax.Array, p: Params
) -> tuple[Scaling, Scaled]:
    """Take in `price` [L]; `known` says that there was a price before it, `shifted` that the level is a new one."""
    change = jnp.where(known, jnp.clip(price - last_price, -PRICE_LIMIT, PRICE_LIMIT), 0.0)
    scaling = learn_scale(scaling, price, change, known, p)
    fixed = scaling.scale > 0.0
    unit = jnp.where(fixed, scaling.scale, 1.0)
    began = scaling.level_count > 0.5
    move = jnp.where(fixed, jnp.clip(change / unit, -SCALED_LIMIT, SCALED_LIMIT), 0.0)
    scaling, jump = watch_jumps(scaling, move, change, shifted, fixed & began)
    away = price - scaling.centre - scaling.offset
    level = jnp.where(fixed, jnp.clip(away / unit, -SCALED_LIMIT, SCALED_LIMIT), 0.0)
    increment = jnp.where(jump, 0.0, move)
    learn = fixed & began & ~jump
    return learn_level(scaling, level, fixed, began, learn), Scaled(increment, level, learn, jump)


def watch_jumps(
    scaling: Scaling, move: jax.Array, change: jax.Array, shifted: jax.Array, watching: jax.Array
) -> tuple[Scaling, jax.Array]:
    """Whether the scaled `move` [L] is a jump, and the offset that takes it out of the path."""
    size = jnp.abs(move)
    limit = JUMP_MOVES * scaling.usual_move
    jump = watching & (shifted | ((size > limit) & (scaling.jump_run < JUMPS_IN_A_ROW)))
    usual = scaling.usual_move + USUAL_MOVE_GAIN * (jnp.minimum(size, limit) - scaling.usual_move)
    moved = scaling._replace(
        offset=jnp.clip(scaling.offset + jnp.where(jump, change, 0.0), -PRICE_LIMIT, PRICE_LIMIT),
        usual_move=jnp.where(watching, jnp.maximum(usual, 1.0), scaling.usual_move),
        jump_run=jnp.where(jump, scaling.jump_run + 1.0, 0.0),
    )
    return moved, jump


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


def learn_level(scaling: Scaling, level: jax.Array, fixed: jax.Array, began: jax.Array, learn: jax.Array) -> Scaling:
    """Append `level` [L]; the first one fills the whole history, so that older increments are zero."""
    pushed = jnp.concatenate([scaling.history[1:], level[None]])
    filled = jnp.broadcast_to(level, pushed.shape)
    return scaling._replace(
        history=jnp.where(learn, pushed, jnp.where(began, scaling.history, filled)),
        level_count=scaling.level_count + jnp.where(fixed, 1.0, 0.0),
    )
