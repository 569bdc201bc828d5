# SPDX-License-Identifier: MIT
"""When a tuning is worth its while: the market changed its regime, and the error rose.

Either alone is no reason. Errors rise with volatility, which no parameter cures; alarms that cost nothing need none.
"""

import math
from dataclasses import dataclass, field, replace

from ...io.degradation import rmse

RECENT = 50
REFERENCE = 400
LEAST_REFERENCE = 200
LEAST_RISE = 0.2
LEAST_STEPS_BETWEEN = 1000
LEAST_GAIN = 0.01  # what promises less is not worth the risk of being wrong


@dataclass(frozen=True)
class Watch:
    """One symbol: its newest errors, when its regime last changed, and when a tuning was last due, in steps."""

    step: int = 0
    errors: tuple[float, ...] = field(default=(), repr=False)
    changed_step: int | None = None
    tuned_step: int | None = None

    @property
    def rise(self) -> float:
        """Share by which the RMSE of the newest errors exceeds that of those before; 0 until there are enough."""
        before, recent = self.errors[:-RECENT], self.errors[-RECENT:]
        if len(before) < LEAST_REFERENCE or rmse(before) == 0.0:
            return 0.0
        return rmse(recent) / rmse(before) - 1.0

    @property
    def is_due(self) -> bool:
        """A regime change among the newest steps, a rise of the error, and time enough since the last tuning."""
        if self.changed_step is None or self.step - self.changed_step > RECENT:
            return False
        rested = self.tuned_step is None or self.step - self.tuned_step >= LEAST_STEPS_BETWEEN
        return rested and self.rise > LEAST_RISE


def follow(watch: Watch, step: int, error: float | None, regime_changed: bool) -> Watch:
    """After one more prediction of the symbol; one that was seen before, or has no error, changes nothing."""
    if step <= watch.step or error is None or not math.isfinite(error):
        return watch
    return Watch(
        step=step,
        errors=(*watch.errors, error)[-(RECENT + REFERENCE) :],
        changed_step=step if regime_changed else watch.changed_step,
        tuned_step=watch.tuned_step,
    )


def tuned(watch: Watch) -> Watch:
    """A tuning has begun; the next one is due no sooner than the governor would take another change."""
    return replace(watch, tuned_step=watch.step)
