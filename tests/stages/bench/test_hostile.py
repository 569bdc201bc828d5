# SPDX-License-Identifier: MIT
"""Ticks that no market sends; `usp bench hostile` is the same with a million of them."""

from itertools import islice

import numpy as np
import pytest

from usp.stages.bench.hostile import PIECES, faults_of, hostile_prices
from usp.stages.bench.step import BANKS, config_of


def test_hostile_prices_are_finite_reproducible_and_wild() -> None:
    """The same seed gives the same prices; all magnitudes occur; lanes differ."""
    prices = np.array(list(islice(hostile_prices(3, 16), 2000)))
    assert np.isfinite(prices).all()
    np.testing.assert_array_equal(prices, np.array(list(islice(hostile_prices(3, 16), 2000))))
    assert np.abs(prices).max() >= 1e280 and len(np.unique(prices[-1])) > 8


@pytest.mark.parametrize("name", PIECES)
def test_every_piece_is_finite(name: str) -> None:
    """From any start, pieces of one and of many ticks."""
    rng = np.random.default_rng(0)
    for at in (0.0, 1e280, -1e280):
        for length in (1, 600):
            piece = PIECES[name](rng, length, at)
            assert (length,) == piece.shape and np.isfinite(piece).all()


@pytest.mark.slow
@pytest.mark.parametrize("bank", BANKS)
def test_nothing_breaks_on_hostile_ticks(bank: str) -> None:
    """Thirty thousand ticks: outputs and state finite, lo <= hi, weights on the simplex."""
    faults = faults_of(config_of(bank), 30_000, 7, lambda done: None)
    assert dict.fromkeys(faults, 0) == faults
