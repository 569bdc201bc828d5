# SPDX-License-Identifier: MIT
"""The markets on which automatic tuning is measured are what the report says they are."""

import numpy as np

from usp.predictor import Inputs
from usp.stages.bench.tuning import SCENARIOS, SEASON, SEASON_NOISE, SEASON_TICKS, seasonal


def test_a_seasonal_market_repeats_itself_until_its_regime_changes() -> None:
    """Within a regime a season is the one before up to the noise; behind it, it is another one."""
    prices = seasonal(1, 2 * SEASON_TICKS).inputs[:, Inputs.PRICE]
    first = prices[: 2 * SEASON]
    assert np.max(np.abs(first[:SEASON] - first[SEASON:])) < 8.0 * SEASON_NOISE
    there = prices[SEASON_TICKS + 8 : SEASON_TICKS + 8 + SEASON]
    assert np.max(np.abs(there - prices[SEASON_TICKS - 16 : SEASON_TICKS - 16 + SEASON])) > 20.0 * SEASON_NOISE


def test_every_scenario_can_be_played_again() -> None:
    """The same seed is the same market, bit for bit; another is another; every tick is accepted, in order of time."""
    for scenario in SCENARIOS:
        market = scenario.market(2, 300)
        assert np.array_equal(market.inputs, scenario.market(2, 300).inputs)
        assert not np.array_equal(market.inputs, scenario.market(3, 300).inputs)
        assert np.all(market.inputs[:, Inputs.ACCEPT] == 1.0)
        assert np.all(np.diff(market.inputs[:, Inputs.TIME_S]) >= 0.0)
