# SPDX-License-Identifier: MIT
"""`usp bench governor`: how often the judges roll back a harmless change, and how surely a harmful one.

The judges are the governor's own, asked after every prediction, so that what early stopping costs is in the figures.
"""

import math
from collections import Counter
from collections.abc import Mapping
from itertools import islice

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ...config.deployment import DeploymentSettings
from ..judge import JUDGES, Judge
from .simulated_mutations import errors, markets, watched

SEED = 20_240_229
HARMLESS = 5_000
HARMFUL = 300
DAMAGES = (0.05, 0.10, 0.20, 0.30, 0.50, 1.00, 2.00)
BAR = 24
CONFIDENCE_Z = 1.96


def bench_governor(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """A/A over HARMLESS changes that are as good as what they replace, A/B over HARMFUL per known damage."""
    del settings
    found: dict[str, object] = {"harmless_changes": HARMLESS, "harmful_changes_per_damage": HARMFUL}
    with Progress(console=console) as progress:
        for name, judge in JUDGES.items():
            bar = progress.add_task(name, total=HARMLESS + HARMFUL * len(DAMAGES))
            harmless = verdicts(judge, 0.0, HARMLESS, SEED)
            progress.advance(bar, HARMLESS)
            power: dict[float, Counter[str]] = {}
            for place, damage in enumerate(DAMAGES, start=1):
                power[damage] = verdicts(judge, damage, HARMFUL, SEED + place)
                progress.advance(bar, HARMFUL)
            found |= figures(name, harmless, power)
            console.print(curve(name, {0.0: harmless, **power}))
    return found


def verdicts(judge: Judge, damage: float, count: int, seed: int) -> Counter[str]:
    """How many of so many changes with this damage had which verdict; the changes are the same for every judge."""
    generator = np.random.default_rng(seed)
    found: Counter[str] = Counter()
    for market in islice(markets(generator), count):
        found[
            watched(judge, errors(market, damage, math.ceil(2 * judge.window / market.symbols), generator)).verdict
        ] += 1
    return found


def figures(name: str, harmless: Counter[str], power: Mapping[float, Counter[str]]) -> dict[str, object]:
    """The figures of one judge."""
    return {
        f"{name}_false_rollback": share(harmless),
        f"{name}_false_rollback_at_most": upper_bound(harmless["rolled_back"], harmless.total()),
        f"{name}_harmless": dict(sorted(harmless.items())),
        f"{name}_power": {f"{damage:.0%}": round(share(counts), 4) for damage, counts in power.items()},
    }


def share(counts: Counter[str]) -> float:
    """Share that was rolled back."""
    return counts["rolled_back"] / counts.total()


def upper_bound(hits: int, total: int) -> float:
    """The rate that is exceeded with a probability of 2.5 % at most. Wilson (1927), J. Am. Stat. Assoc. 22."""
    rate, z2 = hits / total, CONFIDENCE_Z**2
    centre = rate + z2 / (2 * total)
    spread = CONFIDENCE_Z * math.sqrt(rate * (1 - rate) / total + z2 / (4 * total**2))
    return (centre + spread) / (1 + z2 / total)


def curve(name: str, power: Mapping[float, Counter[str]]) -> Table:
    """The power curve: for each damage the share of changes that was rolled back."""
    table = Table("true RMSE", "rolled back", "", "passed", "inconclusive", title=f"judge: {name}")
    for damage, counts in power.items():
        rate, total = share(counts), counts.total()
        words = (f"{counts[verdict] / total:.1%}" for verdict in ("passed", "inconclusive"))
        table.add_row(f"+{damage:.0%}", f"{rate:.1%}", "█" * round(rate * BAR), *words)
    return table
