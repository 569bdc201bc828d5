# SPDX-License-Identifier: MIT
"""Regression on periods: a trend, harmonics of the strongest periods of the signal, and the newest lags.

Every so many ticks of the symbol's own count the periods are looked for anew: the peaks of the Hann periodogram of the
increments (their spectrum is flat for a random walk, so that its slow swings are no periods), each refined by a
parabola through the logarithm of the power. The regression is then solved from the whole history, and goes on
recursively until the next search. The search goes through the lanes one by one, and only those that are due pay.
Quinn, Hannan (2001), The Estimation and Tracking of Frequency.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import rls
from .leaves import none, zeros
from .params import Params
from .structure import Structure

PADDING = 2
LEAST_CYCLES = 3.0
PEAK_WIDTH = 4.0
LEAST_FILLED = 64
TINY_POWER = 1e-280


class Periods(NamedTuple):
    """Frequencies in cycles per tick (0: none), ticks since they were found, and the regression on them."""

    frequency: jax.Array  # [peaks, L]
    age: jax.Array  # [L]
    regression: rls.Rls


class Lane(NamedTuple):
    """What the search needs of one lane, and what it replaces."""

    due: jax.Array  # bool
    history: jax.Array  # [W] levels, newest last
    filled: jax.Array
    deviation: jax.Array
    threshold: jax.Array
    ridge: jax.Array
    frequency: jax.Array  # [peaks]
    covariance: jax.Array  # [n, n]
    weights: jax.Array  # [n]


def size(structure: Structure) -> int:
    """Constant, trend, lags, and a cosine and a sine for each period."""
    return 2 + structure.fourier_lags + 2 * structure.fourier_peaks


def init(structure: Structure, p: Params) -> Periods:
    """No period found."""
    return Periods(zeros(structure.fourier_peaks), none(), rls.init(size(structure), float(p.fourier_ridge)))


def regressor(lags: jax.Array, time: jax.Array, frequency: jax.Array, window: int) -> jax.Array:
    """[n, T] of lags [k, T], target times [T] in ticks from the last search, and frequencies [peaks, T or 1]."""
    phase = frequency * time
    angle = 2.0 * np.pi * (phase - jnp.floor(phase))
    found = frequency > 0.0
    waves = [jnp.where(found, jnp.cos(angle), 0.0), jnp.where(found, jnp.sin(angle), 0.0)]
    return jnp.concatenate([jnp.ones_like(lags[:1]), (time / window)[None], lags, *waves])


def update(
    structure: Structure,
    p: Params,
    state: Periods,
    increment: jax.Array,
    learn: jax.Array,
    history: jax.Array,
    count: jax.Array,
    deviation: jax.Array,
) -> Periods:
    """Learn `increment` [L] in the lanes where `learn`, and search again in those whose `count` of levels is due."""
    state = state._replace(
        age=state.age + jnp.where(learn, 1.0, 0.0),
        regression=rls.update(state.regression, increment, learn, p.fourier_ridge),
    )
    due = learn & (jnp.fmod(count, p.fourier_refresh_steps) < 0.5) & (count >= LEAST_FILLED)
    return jax.lax.cond(
        jnp.any(due), lambda old: search(structure, p, old, due, history, count, deviation), lambda old: old, state
    )


def predict(structure: Structure, state: Periods, lags: jax.Array) -> tuple[Periods, jax.Array, jax.Array]:
    """Forecast [L] of the next increment from the newest `lags` [k, L], and whether a period is known."""
    phi = regressor(lags, state.age + 1.0, state.frequency, structure.fourier_window)
    regression = state.regression._replace(regressor=phi)
    return state._replace(regression=regression), rls.predict(regression), state.frequency[0] > 0.0


def search(
    structure: Structure,
    p: Params,
    state: Periods,
    due: jax.Array,
    history: jax.Array,
    count: jax.Array,
    deviation: jax.Array,
) -> Periods:
    """New periods and a new regression in the lanes that are due."""
    lanes = Lane(
        due=due,
        history=history[-structure.fourier_window :].T,
        filled=jnp.minimum(count, float(structure.fourier_window)),
        deviation=deviation,
        threshold=p.fourier_threshold,
        ridge=p.fourier_ridge,
        frequency=state.frequency.T,
        covariance=jnp.moveaxis(state.regression.covariance, -1, 0),
        weights=state.regression.weights.T,
    )

    def one(lane: Lane) -> tuple[jax.Array, jax.Array, jax.Array]:
        held = (lane.frequency, lane.covariance, lane.weights)
        return jax.lax.cond(lane.due, lambda: refit(structure, lane), lambda: held)

    frequency, covariance, weights = jax.lax.map(one, lanes)
    regression = rls.Rls(jnp.moveaxis(covariance, 0, -1), weights.T, state.regression.regressor)
    return Periods(frequency.T, jnp.where(due, 0.0, state.age), regression)


def refit(structure: Structure, lane: Lane) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Frequencies, covariance and coefficients of one lane from its history; as before if it is not finite."""
    window, lags = structure.fourier_window, structure.fourier_lags
    increments = lane.history[1:] - lane.history[:-1]
    frequency = strongest(increments, lane.filled - 1.0, structure.fourier_peaks, lane.threshold)
    levels = jnp.clip(lane.history / lane.deviation, -100.0, 100.0)
    newest_first = jnp.stack([levels[lags - 1 - k : window - 1 - k] for k in range(lags)])
    target = increments[lags - 1 :]
    time = jnp.arange(target.shape[0], dtype=jnp.float64) - (target.shape[0] - 1.0)
    known = (-time) < lane.filled - lags
    phi = jnp.where(known, regressor(newest_first, time, frequency[:, None], window), 0.0)
    information = phi @ phi.T + lane.ridge * jnp.eye(phi.shape[0])
    factor = jax.scipy.linalg.cho_factor(information, lower=True)
    covariance = jax.scipy.linalg.cho_solve(factor, jnp.eye(phi.shape[0]))
    covariance = 0.5 * (covariance + covariance.T)
    weights = covariance @ (phi @ target)
    sound = jnp.all(jnp.isfinite(covariance)) & jnp.all(jnp.isfinite(weights))
    return (
        jnp.where(sound, frequency, lane.frequency),
        jnp.where(sound, covariance, lane.covariance),
        jnp.where(sound, weights, lane.weights),
    )


def strongest(increments: jax.Array, filled: jax.Array, count: int, threshold: jax.Array) -> jax.Array:
    """Frequencies [count] of the highest peaks of the Hann periodogram of the newest `filled` of `increments` [N].

    A peak counts if its power is `threshold` times the geometric mean over all frequencies, and if the signal holds
    at least three of its cycles; 0 fills the places of peaks that are not there, which come last.
    """
    length = increments.shape[0]
    place = jnp.arange(length) - (length - filled)
    inside = place >= 0.0
    mean = jnp.sum(jnp.where(inside, increments, 0.0)) / filled
    taper = jnp.where(inside, jnp.square(jnp.sin(np.pi * (place + 0.5) / filled)), 0.0)
    points = PADDING * (length + 1)
    power = jnp.square(jnp.abs(jnp.fft.rfft((increments - mean) * taper, points))) + TINY_POWER
    bins = jnp.arange(power.shape[0], dtype=jnp.float64)
    resolution = points / filled
    allowed = (bins >= LEAST_CYCLES * resolution) & (bins < power.shape[0] - 1.0)
    logs = jnp.log(power)
    least = jnp.mean(logs) + jnp.log(threshold)
    found: list[jax.Array] = []
    for _ in range(count):
        peak = jnp.argmax(jnp.where(allowed, logs, -jnp.inf))
        before, top, after = logs[peak - 1], logs[peak], logs[peak + 1]
        curvature = before - 2.0 * top + after
        shift = jnp.where(curvature < 0.0, 0.5 * (before - after) / jnp.where(curvature < 0.0, curvature, 1.0), 0.0)
        counts = (top > least) & allowed[peak]
        found.append(jnp.where(counts, (peak + jnp.clip(shift, -0.5, 0.5)) / points, 0.0))
        allowed = allowed & (jnp.abs(bins - peak) > PEAK_WIDTH * resolution)
    return jnp.stack(found)
