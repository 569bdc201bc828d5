# SPDX-License-Identifier: MIT
"""Kernel A: regression in a reproducing-kernel Hilbert space, updated recursively.

Random Fourier features of the newest lags approximate a Gaussian kernel (Rahimi, Recht 2007, NIPS); with the linear
(Wiener-Hopf) part and a constant they enter one recursive ridge regression of the next increment, which is online
kernel ridge regression. Spec: PREDICTOR 3.1.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from .. import rls
from ..params import Params
from ..structure import Structure
from .contract import Context, Forecast, bounded, checked, standard_lags


class State(NamedTuple):
    """One regression; its coefficients are the function in the Hilbert space."""

    regression: rls.Rls


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
    return State(rls.init(feature_count(structure), float(p.kernel_ridge_lambda)))


def update(structure: Structure, p: Params, state: State, context: Context) -> State:
    """Learn the newest increment."""
    del structure
    return State(rls.update(state.regression, context.increment, context.learn, p.kernel_ridge_lambda))


def predict(structure: Structure, p: Params, state: State, context: Context) -> tuple[State, Forecast]:
    """Forecast from the newest lags."""
    lags = standard_lags(context, structure.rkhs_lags)
    weights, phases = frequencies(structure)
    angle = jnp.sum(weights[:, :, None] * lags[None], axis=1) / p.rkhs_bandwidth + phases[:, None]
    waves = np.sqrt(2.0 / structure.rkhs_features) * jnp.cos(angle)
    regressor = jnp.concatenate([waves, lags, jnp.ones_like(lags[:1])])
    regression = state.regression._replace(regressor=regressor)
    return State(regression), checked(bounded(rls.predict(regression)), context.learn)
