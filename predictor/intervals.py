# SPDX-License-Identifier: MIT
"""Prediction intervals that keep their coverage: adaptive conformal inference on a rolling window of residuals.

The half width is an empirical quantile of the newest absolute residuals; its level follows the realised misses
(Gibbs, Candes 2021, NeurIPS). The window is kept sorted by one deletion and one insertion per tick, both elementwise.
The median forecast is whichever of mean and last value has had the smaller absolute error of late.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .leaves import leaf, zero
from .params import Params

UNFILLED = np.finfo(np.float64).max
LEVEL_RANGE = (-0.2, 1.0)
BEYOND_WINDOW = 1.5
MINIMUM_RESIDUALS = 20
MEDIAN_GAIN = 0.02


class Interval(NamedTuple):
    """Sorted absolute residuals [W, L] and the running records; `miscoverage` is the level that adapts."""

    ordered: jax.Array
    miscoverage: jax.Array
    coverage: jax.Array
    lo: jax.Array
    hi: jax.Array
    mean_loss: jax.Array
    last_loss: jax.Array


class Bounds(NamedTuple):
    """Published median and interval, each [L]; lo <= mean, median <= hi."""

    median: jax.Array
    lo: jax.Array
    hi: jax.Array


def init(window: int, p: Params) -> Interval:
    """No residuals yet; coverage starts at its nominal value."""
    nominal = np.float64(p.interval_coverage)
    ordered = leaf(np.full(window, UNFILLED))
    return Interval(ordered, leaf(1.0 - nominal), leaf(nominal), zero(), zero(), zero(), zero())


def learn(
    interval: Interval,
    price: jax.Array,
    residual: jax.Array,
    jump: jax.Array,
    oldest: jax.Array,
    where: jax.Array,
    p: Params,
) -> Interval:
    """Score the stored interval against `price`, and replace the `oldest` residual of the window by `residual`.

    Only in the lanes `where` [L]. `jump` is the price's change, the error of the last value. `oldest` is UNFILLED
    while the window fills.
    """
    scored = score(interval, price, residual, jump, oldest, p)
    return jax.tree.map(lambda new, old: jnp.where(where, new, old), scored, interval)


def score(
    interval: Interval, price: jax.Array, residual: jax.Array, jump: jax.Array, oldest: jax.Array, p: Params
) -> Interval:
    """The record after one more price."""
    inside = (price >= interval.lo) & (price <= interval.hi)
    missed = jnp.where(inside, 0.0, 1.0)
    level = interval.miscoverage + p.conformal_gain * ((1.0 - p.interval_coverage) - missed)
    mean_loss = interval.mean_loss + MEDIAN_GAIN * (jnp.abs(residual) - interval.mean_loss)
    last_loss = interval.last_loss + MEDIAN_GAIN * (jnp.abs(jump) - interval.last_loss)
    return interval._replace(
        ordered=insert(delete(interval.ordered, oldest), jnp.abs(residual)),
        miscoverage=jnp.clip(level, *LEVEL_RANGE),
        coverage=interval.coverage + p.coverage_gain * ((1.0 - missed) - interval.coverage),
        mean_loss=mean_loss,
        last_loss=last_loss,
    )


def delete(ordered: jax.Array, value: jax.Array) -> jax.Array:
    """Remove one entry equal to `value` [L] from ascending columns [W, L]; the last place becomes free."""
    shifted = jnp.concatenate([ordered[1:], jnp.full_like(ordered[:1], UNFILLED)])
    return jnp.where(ordered < value, ordered, shifted)


def insert(ordered: jax.Array, value: jax.Array) -> jax.Array:
    """Put `value` [L] into ascending columns [W, L] whose last entry is free."""
    below = jnp.concatenate([jnp.full_like(ordered[:1], -UNFILLED), ordered[:-1]])
    return jnp.maximum(below, jnp.minimum(ordered, value))


def predict(
    interval: Interval, mean: jax.Array, price: jax.Array, sigma: jax.Array, count: jax.Array, p: Params
) -> tuple[Interval, Bounds]:
    """Interval and median around the forecast `mean`, from `count` residuals; Gaussian while there are too few."""
    half = half_width(interval, jnp.minimum(count, interval.ordered.shape[0]))
    gaussian = p.confidence_interval_z * jnp.maximum(sigma, p.pdf_min_sigma * sigma)
    half = jnp.where(count < MINIMUM_RESIDUALS, gaussian, half)
    median = jnp.where(interval.last_loss < interval.mean_loss, price, mean)
    lo = jnp.minimum(mean - half, median)
    hi = jnp.maximum(mean + half, median)
    return interval._replace(lo=lo, hi=hi), Bounds(median, lo, hi)


def half_width(interval: Interval, filled: jax.Array) -> jax.Array:
    """Quantile of rank ceil((n + 1)(1 - level)) of the `filled` [L] residuals; beyond the largest, 1.5 times it."""
    rank = jnp.ceil((filled + 1.0) * (1.0 - interval.miscoverage)) - 1.0
    beyond = rank > filled - 0.5
    place = jnp.clip(rank, 0.0, jnp.maximum(filled - 1.0, 0.0))
    index = jnp.arange(interval.ordered.shape[0], dtype=jnp.float64)[:, None]
    value = jnp.sum(jnp.where(index == place, interval.ordered, 0.0), axis=0)
    return jnp.where(rank < -0.5, 0.0, value * jnp.where(beyond, BEYOND_WINDOW, 1.0))
