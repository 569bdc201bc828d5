# SPDX-License-Identifier: MIT
"""What the live page can show: the newest forecasts of each symbol, and where the pipeline stands.

One thread adds, the threads of the page's readers look. Memory is bounded: so many points per symbol, so many
symbols; what does not fit is counted and told.
"""

import json
import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from threading import Condition
from typing import Any

from ...io.dashboard_rows import FLAG_FIELDS
from ...io.live_server import Rows
from ...schemas.records import Alert, ConfigEpoch, DeadLetter, Prediction
from .scoreboard import Scoreboard

POINTS = 10_000
MOST_SYMBOLS = 32
MOST_ALERTS = 30
MOST_EPOCHS = 20
RATE_NS = 5_000_000_000
COLUMNS = (
    "time_ms",
    "value",
    "mean",
    "lo",
    "hi",
    "error",
    "a",
    "b",
    "c",
    "d",
    "flags",
    "accepted",
    "epoch",
    "free_energy",
    "holder_exponent",
    "kurtosis",
    "dgm_entropy",
    "latency_ms",
)
FLAGS = tuple(name for name in FLAG_FIELDS if name in Prediction.__dataclass_fields__)


@dataclass
class Points:
    """The newest points of one symbol as JSON; `count` is the running number of the next one."""

    count: int = 0
    newest: deque[str] = field(default_factory=deque[str])


class LiveWindow:
    """Fed by one thread with what it reads; asked by many."""

    def __init__(self, points: int = POINTS, most_symbols: int = MOST_SYMBOLS) -> None:
        self.points = points
        self.most_symbols = most_symbols
        self.changed = Condition()
        self.version = 0
        self.run = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything; readers notice by the number of the run."""
        with self.changed:
            self.run += 1
            self.board = Scoreboard(burn_in=0)
            self.series: dict[str, Points] = {}
            self.hidden: Counter[str] = Counter()
            self.alerts: deque[dict[str, Any]] = deque(maxlen=MOST_ALERTS)
            self.epochs: deque[dict[str, Any]] = deque(maxlen=MOST_EPOCHS)
            self.reads: deque[tuple[int, int]] = deque()
            self.tell()

    def tell(self) -> None:
        """Wake whoever waits for news."""
        self.version += 1
        self.changed.notify_all()

    def add(self, values: Sequence[tuple[Any, int]], now_ns: int) -> None:
        """Records with the time at which the broker had them (ns), as read at `now_ns`."""
        if not values:
            return
        with self.changed:
            before = self.board.predictions
            for value, logged_ns in values:
                self.take(value, logged_ns)
            self.reads.append((now_ns, self.board.predictions - before))
            while self.reads and self.reads[0][0] < now_ns - RATE_NS:
                self.reads.popleft()
            self.tell()

    def take(self, value: Any, logged_ns: int) -> None:
        """One record; other kinds are not shown."""
        match value:
            case Prediction():
                self.take_prediction(value, logged_ns)
            case DeadLetter():
                self.board.add_letter(value)
            case Alert():
                self.board.alerts[value.event] += 1
                self.alerts.append(alert_shown(value, logged_ns))
            case ConfigEpoch():
                self.epochs.append(
                    {"epoch": value.epoch, "time_ms": logged_ns // 1_000_000, "rollback": value.rollback}
                )
            case _:
                pass

    def take_prediction(self, value: Prediction, logged_ns: int) -> None:
        """One more point of its symbol; a symbol that is too many is only counted."""
        points = self.series.get(value.symbol)
        if points is None:
            if len(self.series) >= self.most_symbols:
                self.hidden[value.symbol] += 1
                return
            points = self.series[value.symbol] = Points(newest=deque[str](maxlen=self.points))
        self.board.add_prediction(value, logged_ns)
        points.newest.append(point(value, (logged_ns - value.ts_event_ns) / 1e6))
        points.count += 1

    def wait(self, version: int, timeout_s: float) -> int:
        """The number of the newest change, as soon as it is not `version`, or after the timeout."""
        with self.changed:
            self.changed.wait_for(lambda: self.version != version, timeout_s)
            return self.version

    def rows(self, symbol: str, run: int, after: int, most: int) -> Rows:
        """The points of a symbol behind running number `after`, the newest `most` of them."""
        with self.changed:
            points = self.series.get(symbol, Points())
            first = max(after if run == self.run else 0, points.count - min(most, len(points.newest)))
            kept = islice(points.newest, len(points.newest) - (points.count - first), None)
            return Rows(self.run, first, points.count, f"[{','.join(kept)}]")

    def overview(self, now_ns: int) -> str:
        """Everything but the points, as JSON."""
        with self.changed:
            board = self.board
            recent = sum(count for at, count in self.reads if at >= now_ns - RATE_NS)
            document = {
                "run": self.run,
                "columns": COLUMNS,
                "flags": FLAGS,
                "points": self.points,
                "totals": {
                    "predictions": board.predictions,
                    "rate": recent / (RATE_NS / 1e9),
                    "rejected": sum(board.rejected.values()),
                    "outliers": board.outliers,
                    "latency_p50_ms": plain(board.latency_ms(0.5)),
                    "latency_p99_ms": plain(board.latency_ms(0.99)),
                },
                "symbols": [self.symbol_shown(name) for name in sorted(self.series)],
                "rejected": dict(board.rejected.most_common()),
                "alerts": list(self.alerts),
                "epochs": list(self.epochs),
                "hidden": len(self.hidden),
            }
        return json.dumps(document, separators=(",", ":"), allow_nan=False)

    def symbol_shown(self, name: str) -> dict[str, Any]:
        """Where one symbol stands."""
        row = self.board.symbols[name]
        newest = row.newest
        return {
            "name": name,
            "value": plain(newest.value),
            "mean": plain(newest.mean),
            "lo": plain(newest.lo),
            "hi": plain(newest.hi),
            "weights": [plain(weight) for weight in newest.weights],
            "flags": [flag for flag in FLAGS if getattr(newest, flag)],
            "relative_rmse": plain(row.relative_rmse()) if row.judged else None,
            "coverage": row.inside / row.judged if row.judged else None,
            "count": self.series[name].count,
        }


def point(p: Prediction, latency_ms: float) -> str:
    """One point as a JSON array in the order of COLUMNS."""
    flags = sum(1 << place for place, name in enumerate(FLAGS) if getattr(p, name))
    numbers = (
        *(number(level, 12) for level in (p.value, p.mean, p.lo, p.hi, p.error)),
        *(number(weight, 6) for weight in [*p.weights, *[math.nan] * 4][:4]),
        str(flags),
        str(int(p.accepted)),
        str(p.config_epoch),
        *(number(each, 6) for each in (p.free_energy, p.holder_exponent, p.kurtosis, p.dgm_entropy, latency_ms)),
    )
    return f"[{p.ts_event_ns // 1_000_000},{','.join(numbers)}]"


def number(value: float | None, digits: int) -> str:
    """JSON of a number; `null` for what is none."""
    return f"{value:.{digits}g}" if value is not None and math.isfinite(value) else "null"


def plain(value: float) -> float | None:
    """A number that JSON has; None for the others."""
    return value if math.isfinite(value) else None


def alert_shown(alert: Alert, logged_ns: int) -> dict[str, Any]:
    """An alert as the page lists it."""
    return {
        "event": alert.event,
        "severity": alert.severity,
        "stage": alert.stage,
        "symbol": alert.symbol,
        "time_ms": logged_ns // 1_000_000,
        "detail": alert.detail,
    }
