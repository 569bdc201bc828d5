# SPDX-License-Identifier: MIT
"""Centre and scales of a signal from its last accepted values, robust against the values one wants to detect.

The statistics are recomputed from a full sort each time the newest values make up a sixteenth of the window, so that
one value costs about a microsecond. When that happens depends on the number of values alone, never on how they were
batched.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

MEDIAN_TO_SIGMA = 1.4826  # 1 / 0.6745, the upper quartile of the standard normal distribution
TAIL_SHARE = 0.95
TAIL_TO_SIGMA = 1 / 1.96  # 1.96 sigma hold 95 % of a normal distribution
REFRESH_SHARE = 16
NO_VALUES: Values = np.empty(0, dtype=np.float64)


class RobustWindow(NamedTuple):
    """`settled` (oldest first) is what the statistics were computed from; `recent` has arrived since.

    All in units of the signal; a scale of 0 is not known yet. Increments of zero are left out: on a price grid most
    trades repeat the price, and a scale of zero would make every move an outlier. `move_scale` is that of the usual
    increments, `burst_scale` minds the largest twentieth too: real moves come in bursts. Never changed in place.
    """

    settled: Values = NO_VALUES
    recent: tuple[float, ...] = ()
    centre: float = 0.0
    level_scale: float = 0.0
    move_scale: float = 0.0
    burst_scale: float = 0.0


def push(window: RobustWindow, value: float, size: int) -> RobustWindow:
    """The window after one more accepted value, which must be finite."""
    settled, recent, centre, level_scale, move_scale, burst_scale = window
    recent = (*recent, value)
    if len(recent) * REFRESH_SHARE < len(settled):
        return RobustWindow(settled, recent, centre, level_scale, move_scale, burst_scale)
    return settle(np.concatenate((settled, recent))[-size:], move_scale, burst_scale)


def settle(values: Values, move_scale: float = 0.0, burst_scale: float = 0.0) -> RobustWindow:
    """A window with the statistics of exactly these values, one at least.

    The scales of the increments that are passed in hold on while the signal does not move at all.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        centre = middle(np.sort(values))
        level_scale = MEDIAN_TO_SIGMA * middle(np.sort(np.abs(values - centre)))
        moves = np.abs(values[1:] - values[:-1])
        moves = np.sort(moves[moves > 0.0])
        if moves.size:
            move_scale = MEDIAN_TO_SIGMA * middle(moves)
            burst_scale = max(move_scale, TAIL_TO_SIGMA * float(moves[int(TAIL_SHARE * (moves.size - 1))]))
    return RobustWindow(values, (), centre, level_scale, move_scale, burst_scale)


def middle(ordered: Values) -> float:
    """The median of sorted values; several times faster than numpy's on a few hundred."""
    half = ordered.size // 2
    if ordered.size % 2:
        return float(ordered[half])
    return 0.5 * float(ordered[half - 1]) + 0.5 * float(ordered[half])


def newest(window: RobustWindow, count: int) -> list[float]:
    """The last `count` accepted values or fewer, oldest first."""
    recent = list(window.recent[-count:])
    missing = count - len(recent)
    return [*window.settled[-missing:].tolist(), *recent] if missing and window.settled.size else recent
