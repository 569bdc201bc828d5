# SPDX-License-Identifier: MIT
"""What every kernel is given and gives back.

A kernel module has `State`, `init(structure, params) -> State` of one lane, `update(structure, p, state, context) ->
state` which learns the newest increment, and `predict(structure, p, state, context) -> (state, Forecast)`.
Kernels see scaled levels and increments: units of the symbol's own increments around its own centre.
"""

from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp

REACH_MOVES = 3.0
LAG_LIMIT = 100.0


class Health(IntEnum):
    """Verdict on a kernel's forecast."""

    OK = 0
    WARMING_UP = 1
    NOT_FINITE = 2
    FROZEN = 3


class Context(NamedTuple):
    """The tick as kernels see it, all [L] unless said otherwise."""

    increment: jax.Array  # newest scaled increment
    level: jax.Array  # newest scaled level
    history: jax.Array  # [N, L] scaled levels, newest last
    deviation: jax.Array  # spread of the first levels, the unit of `standard_lags`
    count: jax.Array  # levels so far, also those that the history has dropped
    learn: jax.Array  # bool: the scale is fixed and the stored regressors belong to this increment
    freeze_d: jax.Array  # bool: kernel D must not learn
    holder: jax.Array  # Hölder exponent
    noise: jax.Array  # standard normal, the shock of this tick's solver path
    alarm: jax.Array  # bool: the regime has changed on this tick, duplicates start again
    reach: jax.Array  # no forecast goes farther, scaled units


class Forecast(NamedTuple):
    """Forecast of the next scaled increment [L], and a `Health` code [L]."""

    mean: jax.Array
    health: jax.Array


def standard_lags(context: Context, count: int) -> jax.Array:
    """The newest `count` levels [count, L], newest first, in units of the levels' spread.

    Far outside the first levels they saturate, so that polynomials of them stay within what float64 can invert.
    """
    return jnp.clip(context.history[-count:][::-1] / context.deviation, -LAG_LIMIT, LAG_LIMIT)


def learns_from(context: Context, count: int) -> jax.Array:
    """Whether a regression on `count` levels may learn [L]: all of them had been seen when it made its forecast.

    Levels before the first one are its copies, which a learner must not take for the signal.
    """
    return context.learn & (context.count > count)


def checked(mean: jax.Array, ready: jax.Array) -> Forecast:
    """A forecast with its health; what is not finite becomes no change."""
    finite = jnp.isfinite(mean)
    health = jnp.where(finite, jnp.where(ready, Health.OK.value, Health.WARMING_UP.value), Health.NOT_FINITE.value)
    return Forecast(jnp.where(finite, mean, 0.0), health.astype(jnp.float64))


def reach_of(history: jax.Array) -> jax.Array:
    """Farthest move [L] that is worth forecasting: a few times the largest one in the history [N, L].

    Polynomials of a move that is far outside what they were learned on would forecast anything.
    """
    return REACH_MOVES * jnp.maximum(1.0, jnp.max(jnp.abs(jnp.diff(history, axis=0)), axis=0))


def bounded(forecasts: jax.Array, context: Context) -> jax.Array:
    """Expert forecasts [K, L] kept finite and within reach."""
    return jnp.clip(jnp.nan_to_num(forecasts, nan=0.0), -context.reach, context.reach)
