# SPDX-License-Identifier: MIT
"""Each family follows its law, and its Bayes forecast errs as much as the law says and no less."""

from math import cos, exp, pi, sqrt

import numpy as np
import pytest

from usp.stages.bench.accuracy.chaos import logistic_map
from usp.stages.bench.accuracy.families import FAMILIES, OU_SIGMA, innovation_sigma, series_of, stable
from usp.stages.bench.accuracy.metrics import error_of, losses
from usp.stages.bench.accuracy.series import BURN_IN

PATHS = 12
HEAVY_TAILED = {"merton": 0.15, "stable_ar1": 0.25, "garch": 0.08}
USUAL_TOLERANCE = 0.03


def mean_error(name: str, shift: float = 0.0) -> float:
    """Error of the Bayes forecast, moved by `shift`, pooled over several seeds."""
    pooled = []
    for seed in range(PATHS):
        series = series_of(name, seed)
        pooled.append(np.mean(losses((series.values - series.bayes - shift)[BURN_IN:], series.metric)))
    return error_of(float(np.mean(pooled)), FAMILIES[name].metric)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_bayes_forecast_errs_as_its_closed_form_says(name: str) -> None:
    """Pooled over twelve paths, the error is the limit of the law."""
    tolerance = HEAVY_TAILED.get(name, USUAL_TOLERANCE)
    assert mean_error(name) == pytest.approx(FAMILIES[name].limit, rel=tolerance, abs=1e-12)


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.limit > 0.0])
def test_nothing_beside_the_bayes_forecast_is_better(name: str) -> None:
    """A constant added to it, a fifth of the limit, makes it worse."""
    shift = FAMILIES[name].limit / 5.0
    assert mean_error(name) < min(mean_error(name, shift), mean_error(name, -shift))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_seed_is_a_path(name: str) -> None:
    """The same seed gives the same bits, another seed another path, and every number is finite."""
    first, again, other = series_of(name, 3), series_of(name, 3), series_of(name, 4)
    assert first.values.tobytes() == again.values.tobytes()
    assert first.values.tobytes() != other.values.tobytes()
    assert first.content != other.content
    assert (2000, 2000) == (len(first.values), len(first.bayes))
    assert np.all(np.isfinite(first.values)) and np.all(np.isfinite(first.bayes))


def test_limits_are_their_closed_forms() -> None:
    """OU by its transition, fractional noise at H = 1/2 white, below and above with the known first-order loss."""
    assert OU_SIGMA == pytest.approx(2.0 * sqrt((1.0 - exp(-2.0 * 0.5 * 0.1)) / (2.0 * 0.5)))
    assert innovation_sigma(0.5) == pytest.approx(1.0)
    first_order = sqrt(1.0 - (2.0 ** (2 * 0.7 - 1) - 1.0) ** 2)  # an AR(1) already gets this far
    assert 0.9 < innovation_sigma(0.7) < first_order < 1.0


def test_ar2_oscillates_with_its_period() -> None:
    """The autocorrelation at lag 1 of AR(2) is a1 / (1 - a2)."""
    pooled = np.concatenate([series_of("ar2", seed).values[BURN_IN:] for seed in range(PATHS)])
    found = np.corrcoef(pooled[1:], pooled[:-1])[0, 1]
    assert found == pytest.approx(1.8 * cos(0.5) / 1.81, abs=0.01)


def test_stable_numbers_have_their_characteristic_function() -> None:
    """E cos(u X) = exp(-|u|^1.5) for unit scale."""
    drawn = stable(np.random.default_rng(1), 200_000)
    for u in (0.3, 1.0, 2.0):
        assert np.mean(np.cos(u * drawn)) == pytest.approx(exp(-(u**1.5)), abs=0.01)


def test_garch_has_unit_variance_and_heavy_tails() -> None:
    """The unconditional variance is .05 / (1 - .1 - .85) = 1 and the kurtosis of returns is above 3."""
    pooled = np.concatenate([series_of("garch", seed).values - 0.05 for seed in range(3 * PATHS)])
    assert np.var(pooled) == pytest.approx(1.0, rel=0.1)
    assert np.mean(pooled**4) / np.var(pooled) ** 2 > 3.2


def test_the_logistic_map_stays_in_its_interval() -> None:
    """By hand: 3.99 x .5 x .5 = .9975."""
    values = logistic_map(0.5, 1000)
    assert (0.5, 0.9975) == (values[0], pytest.approx(values[1]))
    assert 0.0 < values.min() and values.max() < 1.0


def test_seasonal_has_its_two_periods() -> None:
    """The periodogram of the detrended path peaks at 1/24 and 1/7."""
    values = series_of("seasonal", 1).values[:1848]  # 11 x 168: both periods fit
    t = np.arange(len(values))
    detrended = values - np.polyval(np.polyfit(t, values, 1), t)
    power = np.abs(np.fft.rfft(detrended)) ** 2
    assert [77, 264] == sorted(np.argsort(power)[-2:].tolist())
    assert np.angle(np.fft.rfft(detrended))[77] == pytest.approx(-pi / 2, abs=0.05)
