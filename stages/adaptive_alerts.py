# SPDX-License-Identifier: MIT
"""When the adaptive parts of the predictor are in trouble: levels over telemetry, one alert each time one is crossed.

The levels are those of the specification: stiffness above 2000 is suspicious, more than 10 Newton iterations are
anomalous, an explicit share below one half is a crisis, and kurtosis above 20 counts once it has lasted for a window.
Coverage is drifting when it is 5 points off its nominal value, four to five standard deviations of its running mean.
A level that was crossed is told again only after the measure came back well inside.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from ..io.telemetry_block import Telemetry
from ..schemas.records import Severity

KURTOSIS_LIMIT = 20.0
COVERAGE = "interval_coverage"


class Level(NamedTuple):
    """An event, and the measure whose crossing it is: above `limit`, or below it."""

    event: str
    severity: Severity
    measure: str
    limit: float
    back: float
    is_ceiling: bool = True

    def crossed(self, value: float, was_crossed: bool) -> bool:
        """Beyond the limit, or not yet back from it."""
        bound = self.back if was_crossed else self.limit
        return value > bound if self.is_ceiling else value < bound


LEVELS = (
    Level("StiffnessWarning", "warning", "max_stiffness_metric", 2000.0, 1800.0),
    Level("NewtonIterationsWarning", "warning", "num_internal_iterations_mean", 10.0, 9.0),
    Level("ExplicitShareWarning", "critical", "scheme_frequency_explicit", 0.5, 0.55, is_ceiling=False),
    Level("CoverageDriftWarning", "warning", "coverage_drift", 0.05, 0.04),
    Level("KurtosisWarning", "warning", "lasting_kurtosis", KURTOSIS_LIMIT, KURTOSIS_LIMIT),
)


class Watch(NamedTuple):
    """What is known of one symbol: events that are on, and steps in a row with a kurtosis above its limit."""

    on: frozenset[str] = frozenset()
    high_kurtosis: int = 0


class Crossing(NamedTuple):
    """A level that was crossed just now: its event, and what was measured."""

    event: str
    severity: Severity
    measure: str
    value: float
    limit: float


class Levels(NamedTuple):
    """What the levels depend on: the nominal coverage, and how many steps in a row make a high kurtosis persistent."""

    nominal_coverage: float
    window: int


def watched(watch: Watch, telemetry: Telemetry, levels: Levels) -> tuple[Watch, list[Crossing]]:
    """The symbol after one more step, and the levels that this step crossed."""
    high = watch.high_kurtosis + 1 if telemetry.kurtosis > KURTOSIS_LIMIT else 0
    on = set(watch.on)
    crossings: list[Crossing] = []
    for level, value in measures(telemetry, high, levels):
        was_crossed = level.event in on
        if level.crossed(value, was_crossed):
            on.add(level.event)
            crossings += (
                [] if was_crossed else [Crossing(level.event, level.severity, level.measure, value, level.limit)]
            )
        else:
            on.discard(level.event)
    return Watch(frozenset(on), high), crossings


def measures(telemetry: Telemetry, high_kurtosis: int, levels: Levels) -> list[tuple[Level, float]]:
    """The measures that this step has; those of the adaptive window come with its last step only."""
    adaptive: Mapping[str, float] = telemetry.adaptive or {}
    lasts = high_kurtosis >= levels.window
    known = {**adaptive, "lasting_kurtosis": telemetry.kurtosis if lasts else 0.0}
    if COVERAGE in adaptive:
        known["coverage_drift"] = abs(adaptive[COVERAGE] - levels.nominal_coverage)
    return [(level, known[level.measure]) for level in LEVELS if not math.isnan(known.get(level.measure, math.nan))]
