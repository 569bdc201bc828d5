# SPDX-License-Identifier: MIT
"""Was a change of the configuration for the worse? A judge is a pure function of what was observed since."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
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

    @property
    def is_paired(self) -> bool:
        """True if an observation without its shadow's error is of no use."""
        ...

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
    is_paired: bool = False

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


@dataclass(frozen=True)
class PairedShadow:
    """The configuration before made a forecast of the very same ticks: whatever the market does, both meet it.

    *Effect size* is the increase of the mean absolute error over that of the shadow. *Significance* is that of the
    signed ranks of the pairs' differences (Wilcoxon 1945, Biometrics Bulletin 1), which heavy tails do not move,
    summed in blocks of neighbours, since differences of forecasts persist: z = sum B / sqrt(sum B^2) over the block
    sums B. Worse by `least_increase` and significant is a rollback; worse and not significant is inconclusive. An error
    `gross` times that of the shadow needs a lesser `gross_z`: such damage may come in a few stretches, of which a
    window holds too little for significance, and harmless changes do not raise errors so far.

    Before the window is full only damage beyond doubt counts: the error is `gross` times that of the shadow, and it
    is the larger one in nearly all pairs.
    """

    least_increase: float = 0.1
    least_z: float = 2.5
    block: int = 5
    window: int = WINDOW
    gross: float = 2.0
    gross_z: float = 1.5
    least_pairs: int = 10
    nearly_all: float = 0.9
    is_paired: bool = True

    @property
    def threshold(self) -> float:
        """The increase that the audit log names."""
        return self.least_increase

    def judge(self, observations: Sequence[Observation], overdue: bool) -> Judgement | None:
        """See `Judge.judge`."""
        broken = sum(not math.isfinite(o.error) for o in observations)
        pairs = [(abs(o.error), abs(o.shadow_error)) for o in observations if o.shadow_error is not None]
        pairs = [pair for pair in pairs if all(map(math.isfinite, pair))]
        if broken:
            found = f"{broken} errors that are not finite among {len(observations)}"
            return Judgement("rolled_back", math.inf, len(observations), None, math.inf, found)
        if self.is_beyond_doubt(pairs):
            return self.decided(pairs, "rolled_back", "beyond doubt")
        if len(pairs) >= self.window:
            return self.weighed(pairs)
        if not overdue:
            return None
        found = f"{len(pairs)} of {self.window} pairs before the deadline"
        return Judgement("inconclusive", None, len(pairs), None, None, found)

    def is_beyond_doubt(self, pairs: Sequence[tuple[float, float]]) -> bool:
        """Grossly larger errors in nearly all pairs."""
        worse = sum(ours > before for ours, before in pairs)
        enough = len(pairs) >= self.least_pairs and worse >= self.nearly_all * len(pairs)
        return enough and sum(ours for ours, _ in pairs) > self.gross * sum(before for _, before in pairs)

    def weighed(self, pairs: Sequence[tuple[float, float]]) -> Judgement:
        """The verdict of a full window."""
        z = blocked_rank_z([ours - before for ours, before in pairs], self.block)
        increase = relative_increase_of_means(pairs)
        needed = self.gross_z if increase >= self.gross - 1.0 else self.least_z
        note = f"z {z:.2f}, limit {needed}"
        if increase <= self.least_increase:
            return self.decided(pairs, "passed", note)
        return self.decided(pairs, "rolled_back" if z > needed else "inconclusive", note)

    def decided(self, pairs: Sequence[tuple[float, float]], verdict: Verdict, note: str) -> Judgement:
        """The verdict with its numbers."""
        increase = relative_increase_of_means(pairs)
        after, before = rmse([ours for ours, _ in pairs]), rmse([old for _, old in pairs])
        words = (
            f"mean absolute error {increase:+.1%} (limit +{self.least_increase:.0%}) beside the configuration before"
        )
        words = f"{words}, {note}"
        return Judgement(verdict, increase, len(pairs), before, after, words)


def relative_increase_of_means(pairs: Sequence[tuple[float, float]]) -> float:
    """Increase of the mean of the first over that of the second; infinite from 0 to more."""
    ours, before = (math.fsum(side) for side in zip(*pairs, strict=True))
    if before == 0:
        return 0.0 if ours == 0 else math.inf
    return ours / before - 1


def blocked_rank_z(differences: Sequence[float], block: int) -> float:
    """Signed ranks summed in blocks of neighbours: their sum in units of its standard deviation; 0 for no difference.

    Equal sizes share their mean rank, and no difference has none, so the order among equals does not matter.
    """
    sizes = sorted(abs(d) for d in differences)
    ranks = {size: (bisect_left(sizes, size) + bisect_right(sizes, size) + 1) / 2 for size in set(sizes)}
    signed = [math.copysign(ranks[abs(d)], d) if d else 0.0 for d in differences]
    sums = [math.fsum(signed[start : start + block]) for start in range(0, len(signed), block)]
    spread = math.sqrt(math.fsum(total * total for total in sums))
    return math.fsum(sums) / spread if spread > 0 else 0.0


JUDGES: Mapping[str, Judge] = {"shadow": PairedShadow(), "rmse": RmseRule()}
