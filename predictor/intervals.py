# SPDX-License-Identifier: MIT
"""Prediction intervals that keep their coverage: four conformal intervals, mixed by their realised scores.

The first is adaptive conformal inference (Gibbs, Candes 2021, NeurIPS): a quantile of the newest absolute residuals,
whose level follows the realised misses. The others are a running deviation, slow or fast around the forecast and slow
around the last value, times a reach that grows with each miss and shrinks with each hit, so each alone has the nominal
coverage in the long run. Their ends are averaged by a Gibbs rule on discounted Winkler scores (Winkler 1972, J. Am.
Stat. Assoc. 67): a calm series is served by long memory, clustered volatility by short, unchanged prices by the last
value. The window is kept sorted by one deletion and one insertion per tick, both elementwise.
The median forecast is whichever of mean and last value has had the smaller absolute error of late.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import aggregation
from .leaves import leaf, none, zero, zeros
from .params import Params

UNFILLED = np.finfo(np.float64).max
LEVEL_RANGE = (-0.2, 1.0)
BEYOND_WINDOW = 1.5
MINIMUM_RESIDUALS = 20
MEDIAN_GAIN = 0.02
RUNNING = 3
INTERVALS = 1 + RUNNING
REACH_RANGE = (0.01, 100.0)


class Interval(NamedTuple):
    """Sorted absolute residuals [W, L] and the running records; `miscoverage` is the level that adapts."""

    ordered: jax.Array
    miscoverage: jax.Array
    coverage: jax.Array
    lo: jax.Array
    hi: jax.Array
    mean_loss: jax.Array
    last_loss: jax.Array
    power: jax.Array  # [RUNNING, L] running squared errors
    reach: jax.Array  # [RUNNING, L] half widths in running deviations
    half: jax.Array  # [INTERVALS, L] half widths that await the next price
    loss: jax.Array  # [INTERVALS, L] discounted Winkler scores
    loss_count: jax.Array
    scored: jax.Array  # prices so far that met a residual


class Bounds(NamedTuple):
    """Published median and interval, each [L]; lo <= mean, median <= hi."""

    median: jax.Array
    lo: jax.Array
    hi: jax.Array


def init(window: int, p: Params) -> Interval:
    """No residuals yet; coverage starts at its nominal value, the reach at the Gaussian one."""
    nominal = np.float64(p.interval_coverage)
    return Interval(
        ordered=leaf(np.full(window, UNFILLED)),
        miscoverage=leaf(1.0 - nominal),
        coverage=leaf(nominal),
        lo=zero(),
        hi=zero(),
        mean_loss=zero(),
        last_loss=zero(),
        power=zeros(RUNNING),
        reach=leaf(np.full(RUNNING, np.float64(p.confidence_interval_z))),
        half=zeros(INTERVALS),
        loss=zeros(INTERVALS),
        loss_count=zero(),
        scored=none(),
    )


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
    alpha = 1.0 - p.interval_coverage
    error = jnp.abs(jnp.stack([residual, residual, residual, jump]))
    beyond = jnp.maximum(error - interval.half, 0.0)
    missed = jnp.where(beyond > 0.0, 1.0, 0.0)
    published_miss = jnp.where((price >= interval.lo) & (price <= interval.hi), 0.0, 1.0)
    level = interval.miscoverage + p.conformal_gain * (alpha - missed[0])
    ripe = interval.scored >= MINIMUM_RESIDUALS
    winkler = 2.0 * interval.half + (2.0 / alpha) * beyond
    return Interval(
        ordered=insert(delete(interval.ordered, oldest), error[0]),
        miscoverage=jnp.clip(level, *LEVEL_RANGE),
        coverage=interval.coverage + p.coverage_gain * ((1.0 - published_miss) - interval.coverage),
        lo=interval.lo,
        hi=interval.hi,
        mean_loss=interval.mean_loss + MEDIAN_GAIN * (error[0] - interval.mean_loss),
        last_loss=interval.last_loss + MEDIAN_GAIN * (error[-1] - interval.last_loss),
        power=running_power(interval, error[1:], p),
        reach=jnp.where(ripe, adapted_reach(interval.reach, missed[1:], alpha, p), interval.reach),
        half=interval.half,
        loss=jnp.where(ripe, p.interval_discount * interval.loss + winkler, interval.loss),
        loss_count=jnp.where(ripe, p.interval_discount * interval.loss_count + 1.0, interval.loss_count),
        scored=interval.scored + 1.0,
    )


def running_power(interval: Interval, error: jax.Array, p: Params) -> jax.Array:
    """Running squares [RUNNING, L] of the errors of forecast (slow, fast) and last value; plain means at first."""
    slow, fast = p.interval_gains[0], p.interval_gains[1]
    gain = jnp.maximum(jnp.stack([slow, fast, slow]), 1.0 / (interval.scored + 1.0))
    return interval.power + gain * (error * error - interval.power)


def adapted_reach(reach: jax.Array, missed: jax.Array, alpha: jax.Array, p: Params) -> jax.Array:
    """Reach [RUNNING, L] after a hit or a miss: at rest when the share of misses is `alpha` [L]."""
    return jnp.clip(reach * jnp.exp(p.interval_reach_gain * (missed - alpha)), *REACH_RANGE)


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
    window = half_width(interval, jnp.minimum(count, interval.ordered.shape[0]))
    half = jnp.concatenate([window[None], interval.reach * jnp.sqrt(interval.power)])
    weights = aggregation.softmax(aggregation.gibbs_logits(interval.loss, interval.loss_count), axis=0)
    towards_last = weights[-1] * (price - mean)
    width = jnp.sum(weights * half, axis=0)
    few = count < MINIMUM_RESIDUALS
    width = jnp.where(few, p.confidence_interval_z * jnp.maximum(sigma, p.pdf_min_sigma * sigma), width)
    centre = jnp.where(few, mean, mean + towards_last)
    median = jnp.where(interval.last_loss < interval.mean_loss, price, mean)
    lo = jnp.minimum(centre - width, jnp.minimum(mean, median))
    hi = jnp.maximum(centre + width, jnp.maximum(mean, median))
    return interval._replace(lo=lo, hi=hi, half=half), Bounds(median, lo, hi)


def half_width(interval: Interval, filled: jax.Array) -> jax.Array:
    """Quantile of rank ceil((n + 1)(1 - level)) of the `filled` [L] residuals; beyond the largest, 1.5 times it."""
    rank = jnp.ceil((filled + 1.0) * (1.0 - interval.miscoverage)) - 1.0
    beyond = rank > filled - 0.5
    place = jnp.clip(rank, 0.0, jnp.maximum(filled - 1.0, 0.0))
    index = jnp.arange(interval.ordered.shape[0], dtype=jnp.float64)[:, None]
    value = jnp.sum(jnp.where(index == place, interval.ordered, 0.0), axis=0)
    return jnp.where(rank < -0.5, 0.0, value * jnp.where(beyond, BEYOND_WINDOW, 1.0))
