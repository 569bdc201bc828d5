# SPDX-License-Identifier: MIT
"""Was a change of the configuration for the better? A judge is a pure function of what was observed since."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..io.degradation import THRESHOLD, WINDOW, is_beyond_doubt, relative_increase, rmse
from ..schemas.records import Verdict


class Observation(NamedTuple):
    """One error under the watched epoch, in units of its symbol's own reference scale.

    `baseline` is that symbol's RMSE before the change, `shadow_error` the error that the previous configuration made
    on the same tick; both in the same units.
    """

    symbol: str
    error: float
    baseline: float
    shadow_error: float | None = None


class Judgement(NamedTuple):
    """The verdict and the numbers that it rests on."""

    verdict: Verdict
    relative_increase: float | None
    predictions: int
    before: float | None
    after: float | None
    reason: str


class Judge(Protocol):
    """Decides when it can, with at most `window` observations; when `overdue` it must."""

    @property
    def window(self) -> int: ...

    def judge(self, observations: Sequence[Observation], overdue: bool) -> Judgement | None:
        """None: not yet. Without data the verdict is never "passed"."""
        ...


@dataclass(frozen=True)
class RmseRule:
    """The stated rule: RMSE over the window more than `threshold` above that of the same symbols before the change.

    A baseline with the window's own mix of symbols compares like with like. It cannot tell a worse configuration from
    a more volatile market.
    """

    threshold: float = THRESHOLD
    window: int = WINDOW

    def judge(self, observations: Sequence[Observation], overdue: bool) -> Judgement | None:
        """See `Judge.judge`."""
        errors = [o.error for o in observations]
        baselines = [o.baseline for o in observations]
        highest = max(baselines, default=0.0)
        if observations and is_beyond_doubt(highest, errors, self.threshold, self.window):
            return self.decided(errors, rmse(baselines))
        if len(observations) >= self.window:
            return self.decided(errors, rmse(baselines))
        if not overdue:
            return None
        found = f"{len(errors)} of {self.window} predictions before the deadline"
        return Judgement("inconclusive", None, len(errors), None, None, found)

    def decided(self, errors: Sequence[float], before: float) -> Judgement:
        """Pass or roll back."""
        increase, after = relative_increase(before, errors), rmse(errors)
        is_worse = increase > self.threshold or math.isnan(increase)
        numbers = f"{after:.4g} after, {before:.4g} before, in reference scales"
        words = f"RMSE {numbers} ({increase:+.1%}, limit +{self.threshold:.0%})"
        return Judgement("rolled_back" if is_worse else "passed", increase, len(errors), before, after, words)
