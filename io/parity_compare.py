# SPDX-License-Identifier: MIT
"""Two parity logs side by side: did two runs compute the same numbers?

Steps are paired by record id, which names the tick and the configuration. Two steps of one build must agree bit for
bit: their hashes are equal, and so are their values. Between builds (another jaxlib, device, instruction set) bits may
differ, and the relative L2 distance of each quantity over all such steps must stay within a tolerance.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from .parity import canonical_float64

TOLERANCE = 1e-6
QUANTITIES = ("weights", "ot_cost", "prediction", "free_energy")
FLAGS = ("mode_collapse_warning", "degraded_mode", "emergency_mode")
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Difference(NamedTuple):
    """One step at which two logs say different things."""

    symbol: str
    step: int
    record_id: str
    what: str
    a: str
    b: str


class Log(NamedTuple):
    """The steps of one log by record id, in order, and the steps that it says are missing."""

    steps: Mapping[str, Mapping[str, Any]]
    missing: int


@dataclass
class Distance:
    """Squares for the relative L2 distance of one quantity, and its worst step."""

    difference: float = 0.0
    size: float = 0.0
    worst: float = 0.0
    at: Difference | None = None

    def relative(self) -> float:
        """||a - b|| / ||a||; for all zeros the plain distance."""
        return math.sqrt(self.difference / self.size) if self.size > 0.0 else math.sqrt(self.difference)


@dataclass
class Comparison:
    """What two logs have in common. `equal` is the verdict."""

    tolerance: float
    exact: int = 0
    within: int = 0
    only_a: int = 0
    only_b: int = 0
    missing_a: int = 0
    missing_b: int = 0
    builds_a: set[str] = field(default_factory=set[str])
    builds_b: set[str] = field(default_factory=set[str])
    different: int = 0
    first: Difference | None = None
    first_only: Difference | None = None
    distances: dict[str, Distance] = field(default_factory=lambda: {name: Distance() for name in QUANTITIES})

    def beyond(self) -> list[str]:
        """Quantities whose distance between builds is beyond the tolerance."""
        return [name for name, each in self.distances.items() if not each.relative() <= self.tolerance]

    def equal(self) -> bool:
        """No step differs, all distances are within the tolerance, and there was something to compare."""
        return not self.different and not self.beyond() and self.exact + self.within > 0

    def note(self, found: Difference) -> None:
        """A step that differs; the first is kept."""
        self.different += 1
        self.first = self.first or found


def log_of(lines: Iterable[Mapping[str, Any]]) -> Log:
    """The steps among the lines of a log; the first of equal ids counts."""
    steps: dict[str, Mapping[str, Any]] = {}
    missing = 0
    for line in lines:
        if "gap" in line:
            missing += missing_steps(line["gap"])
        elif isinstance(line.get("record_id"), str):
            steps.setdefault(line["record_id"], line)
    return Log(steps, missing)


def missing_steps(gap: Any) -> int:
    """How many steps a gap line stands for."""
    try:
        return max(0, int(gap["before_step"]) - int(gap["after_step"]) - 1)
    except (TypeError, KeyError, ValueError):
        return 0


def compare(a: Log, b: Log, tolerance: float = TOLERANCE) -> Comparison:
    """Pair the steps and compare each pair by the rule of its builds."""
    found = Comparison(tolerance, missing_a=a.missing, missing_b=b.missing)
    for record_id, ours in a.steps.items():
        theirs = b.steps.get(record_id)
        found.builds_a.add(str(ours.get("build")))
        if theirs is None:
            found.only_a += 1
            found.first_only = found.first_only or difference(ours, "step", "there", "not there")
        else:
            pair(found, ours, theirs)
    for record_id, theirs in b.steps.items():
        found.builds_b.add(str(theirs.get("build")))
        if record_id not in a.steps:
            found.only_b += 1
            found.first_only = found.first_only or difference(theirs, "step", "not there", "there")
    return found


def pair(found: Comparison, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """One step of both logs."""
    other = first_difference(ours, theirs, ("symbol", "step", "origin_partition", "origin_offset", "timestamp_ns"))
    if other is not None:
        found.note(other)
    elif ours.get("build") is not None and ours.get("build") == theirs.get("build"):
        found.exact += 1
        other = unequal(ours, theirs)
        if other is not None:
            found.note(other)
    else:
        found.within += 1
        other = first_difference(ours, theirs, FLAGS)
        if other is not None:
            found.note(other)
        for name, distance in found.distances.items():
            measure(distance, name, ours, theirs)


def unequal(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Difference | None:
    """The first thing in which two steps of one build differ: hashes, bits of values, flags."""
    for name in QUANTITIES:
        if bits(ours.get(name)) != bits(theirs.get(name)):
            return difference(ours, name, str(ours.get(name)), str(theirs.get(name)))
    return first_difference(ours, theirs, ("parity_hashes", "snapshot_hash", *FLAGS))


def first_difference(ours: Mapping[str, Any], theirs: Mapping[str, Any], names: Iterable[str]) -> Difference | None:
    """The first of these fields that is not equal; one that only one log names is not compared."""
    for name in names:
        a, b = ours.get(name), theirs.get(name)
        if a != b and a is not None and b is not None:
            return difference(ours, name, str(a), str(b))
    return None


def measure(distance: Distance, name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Add one step to the distance of a quantity. Equal places that are not finite are equal."""
    a, b = numbers(ours.get(name)), numbers(theirs.get(name))
    if len(a) != len(b):
        distance.difference = math.inf
        distance.at = difference(ours, name, f"{len(a)} numbers", f"{len(b)} numbers")
        return
    for left, right in zip(a, b, strict=True):
        if left == right or (math.isnan(left) and math.isnan(right)):
            distance.size += left * left if math.isfinite(left) else 0.0
            continue
        apart = abs(left - right)
        apart = apart if math.isfinite(apart) else math.inf
        distance.difference += apart * apart
        distance.size += left * left if math.isfinite(left) else 0.0
        if apart > distance.worst:
            distance.worst, distance.at = apart, difference(ours, name, repr(left), repr(right))


def difference(step: Mapping[str, Any], what: str, a: str, b: str) -> Difference:
    """A difference at this step."""
    number = step.get("step")
    return Difference(
        str(step.get("symbol")), number if isinstance(number, int) else -1, str(step.get("record_id")), what, a, b
    )


def bits(value: Any) -> bytes:
    """Canonical bytes of a number or a list of them."""
    return canonical_float64(numbers(value))


def numbers(value: Any) -> list[float]:
    """The numbers of a field; none for what holds none."""
    values = cast("list[Any]", value) if isinstance(value, list) else [value]
    known = [NOT_FINITE.get(each, each) if isinstance(each, str) else each for each in values]
    return [float(each) for each in known if isinstance(each, int | float)]
