# SPDX-License-Identifier: MIT
"""What the predictor must do better than a single model, or as well."""

from collections.abc import Sequence

import numpy as np
import pytest

from usp.stages.bench.accuracy.families import series_of
from usp.stages.bench.accuracy.ours import forecast_all
from usp.stages.bench.accuracy.peers import autoregressive
from usp.stages.bench.accuracy.series import BURN_IN, Numbers, Series

SHOCKED_SEEDS = (4, 8)  # paths with a shock of more than two hundred usual moves


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[float, float]]:
    """Series -> mean absolute error of the bank core after the burn-in, and that of the autoregression it needs."""
    series = [series_of("mackey", 1), *(series_of("stable_ar1", seed) for seed in SHOCKED_SEEDS)]
    ours = forecast_all(series, "core", BURN_IN, lambda _: None)
    orders: Sequence[int] = (20, *(1 for _ in SHOCKED_SEEDS))
    return {
        each.label: (error(each, made.mean), error(each, autoregressive(order)(each.values, BURN_IN)))
        for each, made, order in zip(series, ours, orders, strict=True)
    }


def error(series: Series, forecasts: Numbers) -> float:
    """Mean absolute error after the burn-in."""
    return float(np.mean(np.abs(forecasts - series.values)[BURN_IN:]))


@pytest.mark.slow
def test_a_noise_free_delay_equation_is_forecast_better_than_by_an_autoregression(
    found: dict[str, tuple[float, float]],
) -> None:
    """Copies of the first level must not be learned: a noise-free fit would never recover from them."""
    ours, peer = found["mackey.1"]
    assert ours < 0.8 * peer


@pytest.mark.slow
@pytest.mark.parametrize("seed", SHOCKED_SEEDS)
def test_a_shock_of_a_heavy_tail_is_no_new_level(seed: int, found: dict[str, tuple[float, float]]) -> None:
    """A shock of hundreds of moves that decays like all others is forecast to decay."""
    ours, peer = found[f"stable_ar1.{seed}"]
    assert ours < 1.02 * peer
