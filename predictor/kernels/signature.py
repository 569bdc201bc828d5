# SPDX-License-Identifier: MIT
"""Kernel D: T-linear forecasts on path signatures.

The path of the newest w increments, time scaled to [0, 1] and values by sqrt(w), has a signature whose words with at
least one value letter, less those that shuffle products make linearly dependent on others, are the regressors of a
recursive ridge regression (Lyons, McLeod 2022). One expert per window; while frozen the kernel does not learn, and
its caller holds the last valid forecast and weight. Spec: PREDICTOR 3.4.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import aggregation, rls
from ..lattice import exclusive, prefix_sum
from ..params import Params
from ..structure import Structure
from .contract import Context, Forecast, bounded, checked, learns_from, standard_lags

PATH_CLIP = 10.0
WORDS = {1: 1, 2: 3, 3: 7, 4: 10, 5: 16}
# Beyond depth 3 the Lyndon words, which generate all others by shuffle products; t is time, y the value.
LYNDON = {4: ("ttty", "ttyy", "tyyy"), 5: ("tttty", "tttyy", "ttyty", "ttyyy", "tytyy", "tyyyy")}
CONTEXT_TERMS = 4


class State(NamedTuple):
    """One regression per window, and the record that weighs them."""

    regressions: tuple[rls.Rls, ...]
    bank: aggregation.Bank


def init(structure: Structure, p: Params) -> State:
    """No evidence: the forecast is no change."""
    size = WORDS[structure.signature_depth] + CONTEXT_TERMS
    windows = structure.signature_windows
    return State(tuple(rls.init(size, float(p.signature_ridge)) for _ in windows), aggregation.init(len(windows)))


def signature_terms(increments: jax.Array, depth: int) -> jax.Array:
    """Independent signature words [n, L] of the path (time, value) with value steps `increments` [w, L].

    y | ty, yy | tty, tyy, yyt, yyy and then Lyndon words, by prefix sums: exact for piecewise-linear paths (Chen).
    """
    w = increments.shape[0]
    start = jnp.asarray(np.arange(w) / w)[:, None]
    dt = 1.0 / w
    value = prefix_sum(increments)
    before = exclusive(value)
    y = value[-1]
    first_moment = (start + 0.5 * dt) * increments
    terms = [y]
    if depth >= 2:
        terms += [jnp.sum(first_moment, axis=0), 0.5 * y * y]
    if depth >= 3:
        tty = jnp.sum((0.5 * start * start + 0.5 * start * dt + dt * dt / 6.0) * increments, axis=0)
        area_before = exclusive(prefix_sum(first_moment))
        tyy = jnp.sum(area_before * increments + (0.5 * start + dt / 6.0) * increments * increments, axis=0)
        yyt = jnp.sum((before * before + before * value + value * value) * (dt / 6.0), axis=0)
        terms += [tty, tyy, yyt, y * y * y / 6.0]
    words = tuple(word for length, group in LYNDON.items() if length <= depth for word in group)
    return jnp.stack(terms + iterated_integrals(increments, words))


def iterated_integrals(increments: jax.Array, words: tuple[str, ...]) -> list[jax.Array]:
    """Signature of the path (time, value) at each of `words`, [L] each.

    Chen: over one more linear piece, S(w) grows by the sum over splits w = u v of S(u) before it times the piece's
    own signature of v, the product of its increments over |v|!.
    """
    w = increments.shape[0]
    step = {"t": jnp.full_like(increments, 1.0 / w), "y": increments}
    before = {"": jnp.ones_like(increments)}
    total: dict[str, jax.Array] = {}
    prefixes = {word[:end] for word in words for end in range(1, len(word) + 1)}
    for word in sorted(prefixes, key=lambda prefix: (len(prefix), prefix)):
        piece, grown = jnp.ones_like(increments), jnp.zeros_like(increments)
        for length in range(1, len(word) + 1):
            piece = piece * step[word[-length]] / length
            grown = grown + before[word[:-length]] * piece
        running = prefix_sum(grown)
        before[word], total[word] = exclusive(running), running[-1]
    return [total[word] for word in words]


def regressor(structure: Structure, context: Context, window: int) -> jax.Array:
    """Signature words with a constant, the level and the two newest increments: [n, L]."""
    levels = context.history[-window - 1 :]
    increments = jnp.clip((levels[1:] - levels[:-1]) / np.sqrt(window), -PATH_CLIP, PATH_CLIP)
    words = signature_terms(increments, structure.signature_depth)
    level = standard_lags(context, 1)
    newest = increments[-2:] * np.sqrt(window)
    return jnp.concatenate([words, level, newest, jnp.ones_like(level)])


def update(structure: Structure, p: Params, state: State, context: Context) -> State:
    """Learn the newest increment and score the experts, unless frozen."""
    learned = tuple(
        rls.update(one, context.increment, learns_from(context, window + 1) & ~context.freeze_d, p.signature_ridge)
        for one, window in zip(state.regressions, structure.signature_windows, strict=True)
    )
    return State(learned, aggregation.learn(state.bank, context.increment, context.learn & ~context.freeze_d, p))


def predict(structure: Structure, p: Params, state: State, context: Context) -> tuple[State, Forecast]:
    """Forecast from the newest path."""
    regressions = tuple(
        one._replace(regressor=regressor(structure, context, window))
        for one, window in zip(state.regressions, structure.signature_windows, strict=True)
    )
    forecasts = bounded(jnp.stack([rls.predict(one) for one in regressions]), context)
    mixture = aggregation.mix(state.bank, forecasts, p)
    bank = aggregation.remember(state.bank, forecasts, mixture)
    return State(regressions, bank), checked(mixture.forecast, context.learn)
