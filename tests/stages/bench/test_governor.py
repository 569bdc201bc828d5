# SPDX-License-Identifier: MIT
"""The judges' proof: what is simulated has the effect that it is said to have, and the judge does not cry wolf."""

import math
from itertools import islice

import numpy as np
import pytest

from usp.stages.bench.governor import upper_bound, verdicts
from usp.stages.bench.simulated_mutations import BEFORE, Errors, Market, errors, markets, watched
from usp.stages.judge import JUDGES


@pytest.mark.parametrize("damage", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("persistence", [0.0, 0.9])
def test_the_damage_is_the_rise_of_the_rmse(damage: float, persistence: float) -> None:
    """Over many ticks the new configuration's RMSE is the stated share above the old one's."""
    market = Market(symbols=8, degrees=math.inf, shift=1.0, own_share=0.1, persistence=persistence)
    found = errors(market, damage, 5000, np.random.default_rng(3))
    assert found.before.shape == (BEFORE, 8)
    ratio = np.sqrt(np.mean(found.new**2, axis=0) / np.mean(found.old**2, axis=0))
    assert np.mean(ratio) == pytest.approx(1.0 + damage, rel=0.03)


def test_markets_hold_what_fools_a_judge() -> None:
    """Volatility shifts both ways, heavy tails, one and many symbols, and differences that persist all occur."""
    found = [*islice(markets(np.random.default_rng(1)), 200)]
    assert min(m.shift for m in found) < 0.5
    assert max(m.shift for m in found) > 2.0
    assert {m.symbols for m in found} == {1, 2, 4, 8}
    assert {m.degrees for m in found} == {3.0, 5.0, math.inf}
    assert {m.persistence for m in found} == {0.0, 0.5, 0.9}


def test_the_same_seed_gives_the_same_figures() -> None:
    """A report can be made again."""
    judge = JUDGES["shadow"]
    assert verdicts(judge, 0.3, 20, 5) == verdicts(judge, 0.3, 20, 5)


def test_the_default_judge_spares_the_harmless_and_finds_the_harmful() -> None:
    """No false rollback among 200 harmless changes; nearly every doubling of the error is rolled back."""
    judge = JUDGES["shadow"]
    harmless, harmful = verdicts(judge, 0.0, 200, 11), verdicts(judge, 1.0, 60, 12)
    assert harmless["rolled_back"] <= 2
    assert harmful["rolled_back"] >= 54
    assert harmful["passed"] == 0


def test_a_shift_of_volatility_alone_is_nobodys_fault() -> None:
    """The market turns four times as wild under an equal configuration: the shadow meets it too."""
    generator = np.random.default_rng(2)
    market = Market(symbols=2, degrees=5.0, shift=4.0, own_share=0.1, persistence=0.5)
    found = [errors(market, 0.0, 100, generator) for _ in range(30)]
    assert sum(watched(JUDGES["shadow"], each).verdict == "rolled_back" for each in found) == 0
    assert sum(watched(JUDGES["rmse"], each).verdict == "rolled_back" for each in found) > 10


def test_too_few_predictions_are_never_a_pass() -> None:
    """A window that does not fill before the deadline says nothing."""
    few = Errors(np.ones((BEFORE, 1)), np.ones((9, 1)), np.ones((9, 1)))
    assert {watched(judge, few).verdict for judge in JUDGES.values()} == {"inconclusive"}


def test_the_bound_of_a_rate_that_was_never_seen() -> None:
    """0 of 2,000 is below 0.2 % at 97.5 %; a seen rate lies below its bound."""
    assert 0.0 < upper_bound(0, 2000) < 0.002
    assert upper_bound(20, 2000) > 0.01
