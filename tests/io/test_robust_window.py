# SPDX-License-Identifier: MIT
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usp.io.robust_window import MEDIAN_TO_SIGMA, RobustWindow, newest, push, settle

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def pushed(values: list[float], size: int = 64) -> RobustWindow:
    window = RobustWindow()
    for value in values:
        window = push(window, value, size)
    return window


@settings(deadline=None)
@given(st.lists(FINITE, min_size=1, max_size=40))
def test_centre_and_scale_are_median_and_mad(values: list[float]) -> None:
    """The statistics of a settled window are those that numpy computes."""
    window = settle(np.array(values))
    with np.errstate(all="ignore"):
        centre = float(np.median(values))
        if np.isfinite(centre):
            mad = float(np.median(np.abs(np.array(values) - centre)))
            assert window.centre == pytest.approx(centre, rel=1e-12)
            assert window.level_scale == pytest.approx(MEDIAN_TO_SIGMA * mad, rel=1e-9, abs=1e-300)


def test_repeated_prices_do_not_hide_the_scale_of_the_moves() -> None:
    """With most increments zero the scale is that of the others; a signal that stops moving keeps it."""
    window = pushed([100.0 + 0.01 * (i // 3 % 2) for i in range(60)])
    assert window.move_scale == pytest.approx(0.014826)
    assert pushed_on(window, [100.0] * 200).move_scale == window.move_scale


def pushed_on(window: RobustWindow, values: list[float]) -> RobustWindow:
    for value in values:
        window = push(window, value, 64)
    return window


def test_bursts_count() -> None:
    """A twentieth of large moves raises the burst scale above the usual one."""
    values = np.cumsum([10.0 if i % 10 == 0 else 0.01 for i in range(64)])
    window = settle(values)
    assert window.burst_scale > 100 * window.move_scale


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(16, 64))
def test_statistics_are_never_older_than_a_sixteenth(count: int, size: int) -> None:
    """The window forgets old values, and what is not in the statistics yet is less than a sixteenth."""
    random = Random(count)
    values = [random.random() for _ in range(count)]
    window = pushed(values, size)
    kept = [*window.settled.tolist(), *window.recent]
    assert values[-len(kept) :] == kept
    assert len(window.settled) <= size
    assert len(window.recent) * 16 < max(1, len(window.settled))


@settings(deadline=None)
@given(st.integers(0, 80), st.integers(1, 20))
def test_newest_gives_the_last_values(count: int, wanted: int) -> None:
    """In order, across the seam between settled and recent."""
    values = [float(i) for i in range(count)]
    assert values[-wanted:] == newest(pushed(values), wanted)


def test_extreme_values_do_not_raise() -> None:
    """Differences beyond the largest float are infinite scales, which reject nothing."""
    assert pushed([1e308, -1e308] * 20).move_scale > 0
