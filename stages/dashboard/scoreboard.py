# SPDX-License-Identifier: MIT
"""What a run amounts to, seen from the topics: per symbol the newest forecast and running errors, in all a summary."""

from collections import Counter, deque
from dataclasses import dataclass, field
from math import inf, sqrt

import numpy as np

from ...schemas.records import DeadLetter, Prediction

RATE_WINDOW_NS = 5_000_000_000
LATENCY_BINS_MS = np.geomspace(0.1, 100_000.0, 1201)
HISTORY = 600


@dataclass
class SymbolRow:
    """One symbol's line of the live table."""

    newest: Prediction
    steps: int = 0
    burn_in: int = 0
    ours: float = 0.0
    last_value: float = 0.0
    inside: int = 0
    judged: int = 0
    arrivals_ns: deque[int] = field(default_factory=deque[int])
    latency_ms: float = 0.0
    history: deque[Prediction] = field(default_factory=lambda: deque[Prediction](maxlen=HISTORY))

    def add(self, prediction: Prediction, seen_ns: int) -> None:
        """The next prediction of this symbol."""
        if prediction.error is not None and prediction.accepted:
            self.steps += 1
            if self.steps > self.burn_in:
                self.judge(prediction)
        if prediction.accepted:
            self.newest = prediction
        self.history.append(prediction)
        self.latency_ms = (seen_ns - prediction.ts_event_ns) / 1e6
        self.arrivals_ns.append(seen_ns)
        while self.arrivals_ns[0] < seen_ns - RATE_WINDOW_NS:
            self.arrivals_ns.popleft()

    def judge(self, prediction: Prediction) -> None:
        """Count the error of the forecast that stood, beside that of the last value."""
        self.ours += (prediction.error or 0.0) ** 2
        self.last_value += (prediction.value - self.newest.value) ** 2
        self.inside += self.newest.lo <= prediction.value <= self.newest.hi
        self.judged += 1

    def relative_rmse(self) -> float:
        """RMSE divided by that of the last value."""
        if self.last_value > 0.0:
            return sqrt(self.ours / self.last_value)
        return inf if self.ours > 0.0 else 1.0

    def rate_per_s(self, now_ns: int) -> float:
        """Predictions per second over the last seconds."""
        recent = sum(at >= now_ns - RATE_WINDOW_NS for at in self.arrivals_ns)
        return recent / (RATE_WINDOW_NS / 1e9)


@dataclass
class Scoreboard:
    """Fed with what is read from the topics; read by the live table, the summary and the report."""

    burn_in: int
    symbols: dict[str, SymbolRow] = field(default_factory=dict[str, SymbolRow])
    predictions: int = 0
    outliers: int = 0
    rejected: Counter[str] = field(default_factory=Counter[str])
    alerts: Counter[str] = field(default_factory=Counter[str])
    latencies: np.ndarray = field(default_factory=lambda: np.zeros(len(LATENCY_BINS_MS) + 1, dtype=np.int64))

    def add_prediction(self, prediction: Prediction, seen_ns: int) -> None:
        """A prediction, and when it was seen (ns)."""
        self.predictions += 1
        self.outliers += not prediction.accepted
        row = self.symbols.get(prediction.symbol)
        if row is None:
            row = self.symbols[prediction.symbol] = SymbolRow(prediction, burn_in=self.burn_in)
        row.add(prediction, seen_ns)
        self.latencies[np.searchsorted(LATENCY_BINS_MS, row.latency_ms)] += 1

    def add_letter(self, letter: DeadLetter) -> None:
        """A refused record."""
        self.rejected[letter.reason] += 1

    def latency_ms(self, quantile: float) -> float:
        """Event time to reader, from the histogram (bins are 1.2 % wide)."""
        total = int(self.latencies.sum())
        if total == 0:
            return float("nan")
        place = int(np.searchsorted(np.cumsum(self.latencies), quantile * total))
        return float(LATENCY_BINS_MS[min(place, len(LATENCY_BINS_MS) - 1)])

    def summary(self, ticks_in: int) -> dict[str, object]:
        """The figures of the run, for tables, the report and `--json`."""
        return {
            "ticks_in": ticks_in,
            "predictions_out": self.predictions,
            "of_these_outliers_held": self.outliers,
            "rejected": dict(sorted(self.rejected.items())),
            "alerts": dict(sorted(self.alerts.items())),
            "latency_p50_ms": self.latency_ms(0.50),
            "latency_p99_ms": self.latency_ms(0.99),
            "relative_rmse": {name: row.relative_rmse() for name, row in sorted(self.symbols.items()) if row.judged},
            "coverage": {name: row.inside / row.judged for name, row in sorted(self.symbols.items()) if row.judged},
        }
