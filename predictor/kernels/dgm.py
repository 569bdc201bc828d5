# SPDX-License-Identifier: MIT
"""Kernel B: the value function of the backward Kolmogorov equation, by a Galerkin basis solved online.

With terminal condition g(x) = x the value V(0, x) is the conditional mean of the next level. A deep Galerkin network
with a fixed hidden layer is linear in its output layer; here the hidden layer is the quadratic (Volterra) basis of
the newest lags, and the output layer is found by recursive ridge regression on observed transitions. Two bases, short
and long, are experts of one bank; where the structure asks for it a third is cubic in the moments of the newest levels,
which are level, slope, curvature and so on of local fits and average noise out. H_DGM is the entropy of V over the
spatial grid. Spec: PREDICTOR 3.2.
"""

from itertools import combinations_with_replacement
from math import comb
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import aggregation, identification, rls
from ..params import Params
from ..structure import Structure
from .contract import Context, Forecast, bounded, checked, learns_from, standard_lags

MOMENT_GAIN = 2.5
MOMENT_LIMIT = 8.0


class State(NamedTuple):
    """One regression per basis, and the record that weighs them."""

    regressions: tuple[rls.Rls, ...]
    bank: aggregation.Bank


def init(structure: Structure, p: Params) -> State:
    """No evidence: the forecast is no change."""
    regressions = [rls.init(basis_size(lags), float(p.volterra_ridge)) for lags in structure.volterra_lags]
    if structure.cubic_lags:
        regressions.append(rls.init(cubic_size(structure.cubic_moments), float(p.cubic_ridge)))
    return State(tuple(regressions), aggregation.init(len(regressions)))


def basis_size(lags: int) -> int:
    """Constant, linear and quadratic terms."""
    return 1 + lags + lags * (lags + 1) // 2


def basis(lags: jax.Array) -> jax.Array:
    """Constant, linear and quadratic terms [n, L] of lags [k, L]."""
    rows, columns = np.triu_indices(lags.shape[0])
    return jnp.concatenate([jnp.ones_like(lags[:1]), lags, lags[rows] * lags[columns]])


def cubic_size(moments: int) -> int:
    """Constant, linear, quadratic and cubic terms."""
    return comb(moments + 3, 3)


def moment_weights(lags: int, moments: int, decay: float) -> np.ndarray:
    """Weights [moments, lags], newest first, of the orthogonal polynomials of the lag under weights decay^lag.

    Each row's absolute values sum to 1, or to MOMENT_GAIN where it measures change, which is smaller than the level.
    """
    lag = np.arange(lags, dtype=np.float64)
    weight = decay**lag
    rows: list[np.ndarray] = []
    for degree in range(moments):
        row = (1.0 - 2.0 * lag / lags) ** degree
        for lower in rows:
            row = row - lower * (np.sum(weight * row * lower) / np.sum(weight * lower * lower))
        rows.append(row)
    scaled = [row * weight / np.sum(np.abs(row * weight)) for row in rows]
    return np.stack([scaled[0], *(MOMENT_GAIN * row for row in scaled[1:])])


def cubic_basis(structure: Structure, context: Context) -> jax.Array:
    """All products [n, L] of up to three moments of the newest levels."""
    weights = moment_weights(structure.cubic_lags, structure.cubic_moments, structure.cubic_decay)
    lags = standard_lags(context, structure.cubic_lags)
    x = jnp.clip(jnp.sum(weights[:, :, None] * lags[None], axis=1), -MOMENT_LIMIT, MOMENT_LIMIT)
    pairs, triples = places(len(x), 2), places(len(x), 3)
    products = [x[pairs[0]] * x[pairs[1]], x[triples[0]] * x[triples[1]] * x[triples[2]]]
    return jnp.concatenate([jnp.ones_like(x[:1]), x, *products])


def places(count: int, factors: int) -> np.ndarray:
    """Rows [factors, n] of the factors of every product of that many of `count` rows, each product once."""
    return np.array(list(combinations_with_replacement(range(count), factors))).T


def lags_of(structure: Structure) -> list[int]:
    """Newest levels that each regression looks at."""
    return [*structure.volterra_lags] + [structure.cubic_lags] * (structure.cubic_lags > 0)


def ridges(structure: Structure, p: Params) -> list[jax.Array]:
    """Prior precision [L] of each regression."""
    return [p.volterra_ridge] * len(structure.volterra_lags) + [p.cubic_ridge] * (structure.cubic_lags > 0)


def update(structure: Structure, p: Params, state: State, context: Context) -> State:
    """Learn the newest increment, and score the experts."""
    learned = tuple(
        rls.update(one, context.increment, learns_from(context, lags), ridge)
        for one, lags, ridge in zip(state.regressions, lags_of(structure), ridges(structure, p), strict=True)
    )
    return State(learned, aggregation.learn(state.bank, context.increment, context.learn, p))


def predict(structure: Structure, p: Params, state: State, context: Context) -> tuple[State, Forecast]:
    """Forecast from the newest lags."""
    bases = [basis(standard_lags(context, lags)) for lags in structure.volterra_lags]
    if structure.cubic_lags:
        bases.append(cubic_basis(structure, context))
    regressions = tuple(one._replace(regressor=phi) for one, phi in zip(state.regressions, bases, strict=True))
    forecasts = bounded(jnp.stack([rls.predict(one) for one in regressions]), context)
    mixture = aggregation.mix(state.bank, forecasts, p)
    bank = aggregation.remember(state.bank, forecasts, mixture)
    return State(regressions, bank), checked(mixture.forecast, context.learn)


def value_function(structure: Structure, p: Params, state: State, context: Context) -> tuple[jax.Array, jax.Array]:
    """Grid of newest levels [samples, L] and V(0, x) there, both in standard deviations of the level.

    The grid spans `kernel_b_spatial_range_factor` times four deviations around the newest level; older lags are held.
    V is that of the shortest basis, which is a parabola along the grid.
    """
    lags = structure.volterra_lags[0]
    newest = standard_lags(context, lags)
    weights = state.regressions[0].weights
    place = jnp.linspace(-1.0, 1.0, structure.spatial_samples)[:, None]
    grid = newest[0] + 4.0 * p.kernel_b_spatial_range_factor * place
    first_quadratic = 1 + lags
    cross = jnp.sum(weights[first_quadratic + 1 : first_quadratic + lags] * newest[1:], axis=0)
    held = jnp.concatenate([jnp.zeros_like(newest[:1]), newest[1:]])
    constant = jnp.sum(weights * basis(held), axis=0)
    change = constant + grid * (weights[1] + cross) + grid * grid * weights[first_quadratic]
    return grid, grid + change / context.deviation


def entropy(structure: Structure, p: Params, state: State, context: Context) -> jax.Array:
    """H_DGM [L] in nats, >= 0: entropy of the values of V in bins over the range of the terminal condition.

    It is log(bins) when V keeps the levels apart, 0 when V has collapsed to one value.
    """
    grid, value = value_function(structure, p, state, context)
    return identification.histogram_entropy(value, grid[0], grid[-1], structure.entropy_bins)
