# SPDX-License-Identifier: MIT
"""Kernel A: regression in a reproducing-kernel Hilbert space, updated recursively.

Random Fourier features of the newest lags approximate a Gaussian kernel (Rahimi, Recht 2007, NIPS); with the linear
(Wiener-Hopf) part and a constant they enter one recursive ridge regression of the next increment, which is online
kernel ridge regression. Where the structure asks for it, a regression on the periods of the signal (the strongest
lines of its Koopman spectrum) is a second expert; without a period it says what the first one says.
Spec: PREDICTOR 3.1.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from .. import aggregation, periods, rls
from ..params import Params
from ..structure import Structure
from .contract import Context, Forecast, bounded, checked, learns_from, standard_lags


class State(NamedTuple):
    """The regression whose coefficients are the function in the Hilbert space; perhaps the one on periods."""

    regression: rls.Rls
    periods: periods.Periods | None
    bank: aggregation.Bank | None


def feature_count(structure: Structure) -> int:
    """Random features, linear lags and a constant."""
    return structure.rkhs_features + structure.rkhs_lags + 1


def frequencies(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies [m, lags] and phases [m] of a unit bandwidth: constants of the executable."""
    draw = np.random.Generator(np.random.Philox(structure.feature_seed))
    shape = (structure.rkhs_features, structure.rkhs_lags)
    return draw.standard_normal(shape), draw.uniform(0.0, 2.0 * np.pi, structure.rkhs_features)


def init(structure: Structure, p: Params) -> State:
    """No evidence: the forecast is no change."""
    regression = rls.init(feature_count(structure), float(p.kernel_ridge_lambda))
    if not structure.fourier_window:
        return State(regression, None, None)
    return State(regression, periods.init(structure, p), aggregation.init(2))


def update(structure: Structure, p: Params, state: State, context: Context) -> State:
    """Learn the newest increment, and score the experts."""
    d, learn = context.increment, context.learn
    regression = rls.update(state.regression, d, learns_from(context, structure.rkhs_lags), p.kernel_ridge_lambda)
    if state.periods is None or state.bank is None:
        return State(regression, None, None)
    found = periods.update(structure, p, state.periods, d, learn, context.history, context.count, context.deviation)
    return State(regression, found, aggregation.learn(state.bank, d, learn, p))


def predict(structure: Structure, p: Params, state: State, context: Context) -> tuple[State, Forecast]:
    """Forecast from the newest lags."""
    lags = standard_lags(context, structure.rkhs_lags)
    weights, phases = frequencies(structure)
    angle = jnp.sum(weights[:, :, None] * lags[None], axis=1) / p.rkhs_bandwidth + phases[:, None]
    waves = np.sqrt(2.0 / structure.rkhs_features) * jnp.cos(angle)
    regressor = jnp.concatenate([waves, lags, jnp.ones_like(lags[:1])])
    regression = state.regression._replace(regressor=regressor)
    forecast = bounded(rls.predict(regression), context)
    if state.periods is None or state.bank is None:
        return State(regression, None, None), checked(forecast, context.learn)
    found, seasonal, known = periods.predict(structure, state.periods, standard_lags(context, structure.fourier_lags))
    forecasts = jnp.stack([forecast, jnp.where(known, bounded(seasonal, context), forecast)])
    mixture = aggregation.mix(state.bank, forecasts, p)
    bank = aggregation.remember(state.bank, forecasts, mixture)
    return State(regression, found, bank), checked(mixture.forecast, context.learn)
