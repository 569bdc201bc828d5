# SPDX-License-Identifier: MIT
"""Whether a bank keeps the promise: no single model beats it, and where the laws are known little is left to gain.

Each line is a number with the bar that it should not pass. Differences under half a percent are noise.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .families import FAMILIES
from .metrics import geometric_mean
from .table import Row

PEER_BAR = 1.01
BAYES_BAR = 1.01
MEAN_BAR, RECORDED_BAR = 0.495, 0.978
ROOM_BAR = 0.5
COVERAGE_BAND = (0.945, 0.955)
LEAST_COVERAGE = 0.93
SMALLEST_RATIO = 1e-3  # a noise-free series counts as a thousandth, or one of them would decide the mean
PLAIN_LAWS = ("white", "rw", "ar1", "ar2", "ou", "garch", "merton", "fbm07")
ROOMY_LAWS = ("regime_ar", "seasonal", "lorenz")


class Line(NamedTuple):
    """One number of the verdict; `met` compares it to `bar`, None where there is none. `where` is its series."""

    name: str
    found: float
    bar: str
    met: bool | None
    where: str = ""


def verdict(rows: Sequence[Row], model: str) -> list[Line]:
    """All lines about `model` for which there are rows."""
    ours = [row for row in rows if row.model == model]
    parts = (worst_to_peer, means, worst_to_bayes, intervals, regrets)
    return [line for part in parts for line in part(ours)] + rooms(rows, ours)


def worst_by(rows: Sequence[Row], value: Callable[[Row], float | None]) -> tuple[float, str] | None:
    """The largest number and its series."""
    known = [(number, row.label) for row in rows if (number := value(row)) is not None]
    return max(known) if known else None


def worst_to_peer(ours: Sequence[Row]) -> list[Line]:
    """No single peer is better by more than a percent on any series."""
    worst = worst_by(ours, lambda row: row.to_best_peer)
    if worst is None or all(row.best_peer == row.model for row in ours):
        return []
    number, where = worst
    return [Line("worst / best peer", number, f"<= {PEER_BAR}", number <= PEER_BAR, where)]


def means(ours: Sequence[Row]) -> list[Line]:
    """Geometric mean of the error relative to the last value, over everything and over recorded prices alone."""
    lines: list[Line] = []
    recorded = [row for row in ours if row.series not in FAMILIES]
    for name, group, bar in (("", ours, MEAN_BAR), (", recorded", recorded, RECORDED_BAR)):
        ratios = [max(row.to_last_value, SMALLEST_RATIO) for row in group if row.to_last_value is not None]
        if ratios:
            number = geometric_mean(ratios)
            lines.append(Line(f"geo-mean / last value{name}", number, f"<= {bar}", number <= bar))
    return lines


def worst_to_bayes(ours: Sequence[Row]) -> list[Line]:
    """Next to the Bayes forecast where the law is plain."""
    worst = worst_by([row for row in ours if row.series in PLAIN_LAWS], lambda row: row.to_bayes)
    if worst is None:
        return []
    number, where = worst
    return [Line("worst / Bayes, plain laws", number, f"<= {BAYES_BAR}", number <= BAYES_BAR, where)]


def intervals(ours: Sequence[Row]) -> list[Line]:
    """Coverage of the 95 % interval, and its score against conformal intervals around the last value."""
    if not ours:
        return []
    low, high = COVERAGE_BAND
    mean = sum(row.coverage for row in ours) / len(ours)
    least, where = min((row.coverage, row.label) for row in ours)
    lines = [
        Line("mean coverage", mean, f"{low} to {high}", low <= mean <= high),
        Line("least coverage", least, f">= {LEAST_COVERAGE}", least >= LEAST_COVERAGE, where),
    ]
    worst = worst_by(ours, lambda row: row.winkler_to_last_value)
    if worst is not None:
        lines.append(Line("worst interval score / last value", worst[0], "<= 1", worst[0] <= 1.0, worst[1]))
    return lines


def regrets(ours: Sequence[Row]) -> list[Line]:
    """What the mixing costs against the best kernel and expert in hindsight, in squared errors of the last value."""
    worst = {
        "worst regret, best kernel": worst_by(ours, lambda row: row.regret_kernel),
        "worst regret, best expert": worst_by(ours, lambda row: row.regret_expert),
    }
    return [Line(name, found[0], "", None, found[1]) for name, found in worst.items() if found is not None]


def rooms(rows: Sequence[Row], ours: Sequence[Row]) -> list[Line]:
    """Where peers leave room: how much of the way from the best of them to the Bayes forecast is gone."""
    lines: list[Line] = []
    for row in ours:
        peers = [each for each in rows if each.label == row.label and each.model == row.best_peer]
        if row.series in ROOMY_LAWS and row.to_bayes and peers and peers[0].to_bayes:
            room = peers[0].to_bayes - 1.0
            closed = (peers[0].to_bayes - row.to_bayes) / room if room > 0.0 else 1.0
            lines.append(Line(f"room closed, {row.label}", closed, f">= {ROOM_BAR}", closed >= ROOM_BAR, row.best_peer))
    return lines
