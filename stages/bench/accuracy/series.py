# SPDX-License-Identifier: MIT
"""What is forecast: values with their times, and what is known about the best forecast of them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.resources.abc import Traversable
from math import isfinite
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ....io.tick_files import TickFileError, TickRow, read_ticks

Numbers: TypeAlias = NDArray[np.float64]
Metric = Literal["rmse", "mae"]

BURN_IN = 500
SPACING_NS = 1_000_000_000
START_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True, eq=False)
class Series:
    """Values [n] and event times [n]. `bayes` [n] is the forecast of who knows the law and the past, where known.

    `seed` is None for recorded prices. Scored by mean absolute error where the law has no variance.
    """

    name: str
    seed: int | None
    values: Numbers
    times_ns: NDArray[np.int64]
    note: str
    bayes: Numbers | None = None
    metric: Metric = "rmse"

    @property
    def label(self) -> str:
        """Name and seed, as files and tables show them."""
        return self.name if self.seed is None else f"{self.name}.{self.seed}"

    @property
    def content(self) -> str:
        """Hexadecimal hash of values and times: two series with the same one get the same forecasts."""
        return sha256(self.values.tobytes() + self.times_ns.tobytes()).hexdigest()


def evenly_spaced(count: int) -> NDArray[np.int64]:
    """Event times [count], a second apart."""
    return START_NS + SPACING_NS * np.arange(count, dtype=np.int64)


def recorded(path: Path | Traversable, rows: int, newest: bool = False) -> Iterator[Series]:
    """One series per symbol of a tick file: its first (or newest) `rows` readable prices, named by the symbol.

    Raises OSError or TickFileError. Rows that are no ticks are left out, as are prices that are not finite: the
    pipeline would refuse them too.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    for row in read_ticks(path):
        if isinstance(row, TickRow) and isfinite(row.price):
            found.setdefault(row.symbol, []).append((row.timestamp_ns, row.price))
    longest = max((len(ticks) for ticks in found.values()), default=0)
    if longest <= BURN_IN:
        raise TickFileError(
            f"{path}: found at most {longest} prices of one symbol, expected more than the burn-in of {BURN_IN}"
        )
    for symbol, ticks in found.items():
        if len(ticks) > BURN_IN:
            chosen = ticks[-rows:] if newest else ticks[:rows]
            times, prices = zip(*chosen, strict=True)
            yield Series(symbol, None, np.array(prices), np.array(times, np.int64), f"recorded: {path.name}")


def distinct(series: Iterable[Series]) -> list[Series]:
    """The series with their labels made different: the second of a name is called name#2."""
    seen: Counter[str] = Counter()
    found: list[Series] = []
    for each in series:
        seen[each.label] += 1
        again = seen[each.label]
        found.append(each if again == 1 else replace(each, name=f"{each.name}#{again}"))
    return found
