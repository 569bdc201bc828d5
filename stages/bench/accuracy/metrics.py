# SPDX-License-Identifier: MIT
"""What a forecast is worth, all measured after the burn-in on the same steps.

Smaller is better everywhere but for coverage, which should be .95. Ratios to a reference that made no error at all are
None: nothing can be said.
"""

from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np

from .series import BURN_IN, Metric, Numbers

COVERAGE = 0.95
CONFORMAL_GAIN = 0.01
CONFORMAL_WINDOW = 200


@dataclass(frozen=True, eq=False)
class Forecasts:
    """What a model said before each value, all [n]; `lo`, `hi` bound the 95 % interval.

    `kernels` [4, n] are the means of our kernels; `expert_losses` [k] the mean losses of all experts inside them.
    """

    mean: Numbers
    lo: Numbers
    hi: Numbers
    kernels: Numbers | None = None
    expert_losses: Numbers | None = None


@dataclass(frozen=True)
class Score:
    """Errors of one model on one series, in units of the series."""

    steps: int
    rmse: float
    mae: float
    loss: float  # mean of the loss that this series is scored by: squared or absolute error
    coverage: float
    winkler: float


def losses(errors: Numbers, metric: Metric) -> Numbers:
    """Squared errors, or absolute ones."""
    return np.abs(errors) if metric == "mae" else np.square(errors)


def error_of(loss: float, metric: Metric) -> float:
    """From a mean loss to the error that it stands for: MAE or RMSE."""
    return loss if metric == "mae" else sqrt(loss)


def score(values: Numbers, found: Forecasts, metric: Metric, burn_in: int = BURN_IN) -> Score:
    """Errors and interval of the steps from `burn_in` on. ValueError if one of them has no finite forecast."""
    errors = (values - found.mean)[burn_in:]
    if not np.all(np.isfinite(errors)):
        raise ValueError(f"found {int(np.sum(~np.isfinite(errors)))} steps without a finite forecast; expected none")
    y, lo, hi = values[burn_in:], found.lo[burn_in:], found.hi[burn_in:]
    return Score(
        steps=len(errors),
        rmse=sqrt(float(np.mean(np.square(errors)))),
        mae=float(np.mean(np.abs(errors))),
        loss=float(np.mean(losses(errors, metric))),
        coverage=float(np.mean((lo <= y) & (y <= hi))),
        winkler=float(np.mean(interval_scores(y, lo, hi))),
    )


def interval_scores(values: Numbers, lo: Numbers, hi: Numbers) -> Numbers:
    """Winkler (1972): the width, and 2 / alpha times what lies outside; [n]."""
    outside = np.maximum(lo - values, 0.0) + np.maximum(values - hi, 0.0)
    return hi - lo + 2.0 / (1.0 - COVERAGE) * outside


def conformal(values: Numbers, mean: Numbers) -> Forecasts:
    """Adaptive conformal intervals around any point forecast (Gibbs and Candes 2021).

    The half width is a quantile of the last `CONFORMAL_WINDOW` absolute errors, half as much again beyond the largest;
    its level moves by `CONFORMAL_GAIN` times the miss. Infinite until there is a window.
    """
    errors = np.abs(values - mean)
    width = np.full(len(values), np.inf)
    miss_rate = 1.0 - COVERAGE
    level = miss_rate
    for t in range(CONFORMAL_WINDOW + 1, len(values)):
        window = np.sort(errors[t - CONFORMAL_WINDOW : t])
        rank = int(np.ceil((CONFORMAL_WINDOW + 1) * (1.0 - level))) - 1
        width[t] = 0.0 if rank < 0 else float(window[min(rank, CONFORMAL_WINDOW - 1)])
        width[t] *= 1.5 if rank >= CONFORMAL_WINDOW else 1.0
        level += CONFORMAL_GAIN * (miss_rate - float(errors[t] > width[t]))
    return Forecasts(mean, mean - width, mean + width)


def ratio(found: float, reference: float) -> float | None:
    """found / reference, or None where the reference is perfect."""
    return found / reference if reference > 0.0 else None


def regret(loss: float, best: float, last_value: float) -> float | None:
    """Mean excess loss over the best in hindsight, in units of the last value's loss; negative if we beat it."""
    return ratio(loss - best, last_value)


def geometric_mean(values: list[float]) -> float:
    """exp of the mean logarithm; numbers of zero count as 1e-300."""
    return exp(sum(log(max(value, 1e-300)) for value in values) / len(values))
