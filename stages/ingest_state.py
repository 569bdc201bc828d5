# SPDX-License-Identifier: MIT
"""What ingest remembers, per input partition and symbol. Nothing in here may depend on the clock."""

from dataclasses import dataclass, field
from typing import NamedTuple

from ..io.ingest_rules import IngestRules
from ..io.signal_history import SignalHistory
from ..schemas.records import Tick

Content = tuple[float | None, ...]

NAME = "ingest"
BEGINNING_NS = -(2**63)
CALM_TICKS = 64


class SymbolState(NamedTuple):
    """One symbol: where its stream stands, and the history that its next value is judged by.

    `content` is the newest tick's, empty if its numbers were refused; `offset` is that of the newest tick in order;
    `late` says that ticks reach the broker stale; `note` is the sequence event of the newest tick, "" without one;
    `refusal` the event of the newest refused tick, forgotten after `CALM_TICKS` sound ones in a row, which `calm`
    counts; `usual_gap_ns` is the moving average of the time between two events. Never changed in place.
    """

    history: SignalHistory = SignalHistory()
    ts_event_ns: int = BEGINNING_NS
    sequence: int | None = None
    content: Content = ()
    offset: int = -1
    late: bool = False
    note: str = ""
    refusal: str = ""
    calm: int = 0
    usual_gap_ns: float = 0.0


@dataclass
class PartitionState:
    """One input partition: highest offset handled, ticks counted, event of the newest misaddressed record, symbols."""

    handled: int = -1
    steps: int = 0
    trouble: str = ""
    symbols: dict[str, SymbolState] = field(default_factory=dict[str, SymbolState])


@dataclass
class IngestState:
    """Rules of the configuration, and the partitions that this process owns."""

    config_hash: str
    symbol_max_bytes: int
    default_rules: IngestRules
    own_rules: dict[str, IngestRules]
    partitions: dict[int, PartitionState] = field(default_factory=dict[int, PartitionState])

    def rules(self, symbol: str) -> IngestRules:
        """The rules of one symbol."""
        return self.own_rules.get(symbol, self.default_rules)


def content_of(tick: Tick) -> Content:
    """By what a tick without a sequence number is known again, besides its time."""
    return (tick.price, tick.size, tick.bid, tick.ask)
