# SPDX-License-Identifier: MIT
"""Forecasts over a file of past ticks, made exactly as the pipeline makes them.

Ingest judges each row with now = publish time = event time and no timers; rejected rows keep the held forecast. One
output row per input row from each symbol's second row on: the forecast that stood before the row came.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import inf, isfinite, nan, sqrt

from ..config.model import ModelConfig
from ..io.tick_files import PredictionRow, TickRow
from ..predictor.records import KERNELS
from ..schemas.records import Prediction
from .contract import Record
from .library import Predictor, tick_of

CHUNK_ROWS = 512


@dataclass
class Errors:
    """Running sums of squared errors of one symbol, over rows with a forecast and a finite value."""

    rows: int = 0
    ours: float = 0.0
    last_value: float = 0.0
    kernels: list[float] = field(default_factory=lambda: [0.0] * len(KERNELS))
    inside: int = 0
    previous: float = nan

    def add(self, held: Prediction | None, price: float, burn_in: int) -> None:
        """Count one row against the forecast that stood before it."""
        if held is not None and isfinite(price) and isfinite(self.previous):
            self.rows += 1
            if self.rows > burn_in:
                self.ours += (price - held.mean) ** 2
                self.last_value += (price - self.previous) ** 2
                self.kernels = [
                    total + (price - mean) ** 2 for total, mean in zip(self.kernels, held.kernel_means, strict=True)
                ]
                self.inside += held.lo <= price <= held.hi
        if isfinite(price):
            self.previous = price


@dataclass
class Summary:
    """What a backtest found: rejections by reason, RMSE against the last value and coverage per symbol."""

    rows: int = 0
    rejected: Counter[str] = field(default_factory=Counter[str])
    errors: dict[str, Errors] = field(default_factory=dict[str, Errors])
    burn_in: int = 500

    def relative_rmse(self, symbol: str) -> float:
        """RMSE of the forecasts divided by that of the last value; infinite if only the last value was perfect."""
        found = self.errors[symbol]
        if found.last_value > 0.0:
            return sqrt(found.ours / found.last_value)
        return inf if found.ours > 0.0 else 1.0

    def regret(self, symbol: str) -> float:
        """Mean squared error beyond that of the best kernel in hindsight, in those of the last value.

        Negative if the mixture beats each of its kernels; infinite if the last value alone was perfect.
        """
        found = self.errors[symbol]
        excess = found.ours - min(found.kernels)
        if found.last_value > 0.0:
            return excess / found.last_value
        return inf if excess > 0.0 else 0.0

    def coverage(self, symbol: str) -> float:
        """Share of values inside the 95 % interval."""
        found = self.errors[symbol]
        return found.inside / max(found.rows - self.burn_in, 1)


class Backtest:
    """One pass over the rows of a file; `summary` grows while `run` yields."""

    def __init__(self, config: ModelConfig | None = None, burn_in: int = 500) -> None:
        self.predictor = Predictor(config)
        self.held: dict[str, Prediction | None] = {}
        self.summary = Summary(burn_in=burn_in)

    def run(self, rows: Iterable[TickRow]) -> Iterator[PredictionRow]:
        """The forecasts, in the order of the rows."""
        stream = iter(rows)
        while chunk := list(islice(stream, CHUNK_ROWS)):
            yield from self.chunk(chunk)

    def chunk(self, rows: Sequence[TickRow]) -> Iterator[PredictionRow]:
        """Many rows in one call of the predictor: how they are grouped changes no bit."""
        admitted: dict[int, list[Record]] = {row.index: self.admit(row) for row in rows}
        records = [record for group in admitted.values() for record in group]
        made = dict(zip([r.offset for r in records], self.predictor.predict(records), strict=True))
        for row in rows:
            yield from self.row(row)
            for record in admitted[row.index]:
                self.held[row.symbol] = made[record.offset]

    def admit(self, row: TickRow) -> list[Record]:
        """The row through ingest, and the reasons if it was refused."""
        refused_before = len(self.predictor.rejected)
        tick = tick_of(row.symbol, row.timestamp_ns, row.price, row.bid, row.ask, row.size)
        records = self.predictor.admit(tick, row.timestamp_ns)
        self.summary.rejected.update(letter.reason for letter in self.predictor.rejected[refused_before:])
        del self.predictor.rejected[refused_before:]
        return records

    def row(self, row: TickRow) -> Iterator[PredictionRow]:
        """The forecast that stood before this row; nothing for a symbol's first row."""
        self.summary.rows += 1
        errors = self.summary.errors.setdefault(row.symbol, Errors())
        first = row.symbol not in self.held
        held = self.held.setdefault(row.symbol, None)
        errors.add(held, row.price, self.summary.burn_in)
        if not first:
            numbers = (held.mean, held.median, held.lo, held.hi) if held else (nan, nan, nan, nan)
            yield PredictionRow(row.index, row.timestamp_ns, row.symbol, *numbers, y=row.price)
