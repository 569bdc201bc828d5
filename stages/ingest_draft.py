# SPDX-License-Identifier: MIT
"""The work of one batch before it counts: outputs and changed symbols, apart from the state until all went well."""

from collections.abc import Iterable, Mapping

from ..io.avro import encode
from ..io.ingest_events import IngestionEvent
from ..io.tick_block import single_row
from ..schemas.records import Alert, DeadLetter, Severity, TickBlock
from .contract import Output, Record, Reply, Send
from .ingest_faults import EVENTS, Fault
from .ingest_state import NAME, IngestState, PartitionState, SymbolState
from .topology import ALERTS, MARKET_TICKS, REJECTED

SEVERITIES: dict[str, Severity] = {
    "OutlierRejectedEvent": "critical",
    "FrozenSignalRecoveredEvent": "info",
}


class PartitionDraft:
    """One partition's share as it will be; symbols that the batch has not touched are read from `known`."""

    def __init__(self, share: PartitionState) -> None:
        self.handled, self.steps, self.trouble = share.handled, share.steps, share.trouble
        self.known = share.symbols
        self.changed: dict[str, SymbolState] = {}

    def symbol(self, name: str) -> SymbolState | None:
        """The symbol as it is by now; None if it is new."""
        return self.changed.get(name) or self.known.get(name)


class Draft:
    """What a batch has brought so far; `applied` is the only place where the state changes."""

    def __init__(self, state: IngestState, now_ns: int) -> None:
        self.state = state
        self.now_ns = now_ns
        self.outputs: list[Output] = []
        self.partitions: dict[int, PartitionDraft] = {}

    def partition(self, number: int) -> PartitionDraft:
        """The draft of a partition, begun on first use."""
        draft = self.partitions.get(number)
        if draft is None:
            draft = PartitionDraft(self.state.partitions.get(number) or PartitionState())
            self.partitions[number] = draft
        return draft

    def homes(self, symbol: str) -> list[int]:
        """The partitions in which a symbol has been seen, among those that this process owns."""
        numbers = self.state.partitions.keys() | self.partitions.keys()
        return sorted(number for number in numbers if self.find(number, symbol) is not None)

    def find(self, number: int, symbol: str) -> SymbolState | None:
        """The symbol as a partition knows it by now; looks only."""
        draft, share = self.partitions.get(number), self.state.partitions.get(number)
        if draft is not None:
            return draft.symbol(symbol)
        return share.symbols.get(symbol) if share is not None else None

    def applied(self) -> IngestState:
        """The state with everything that the batch changed."""
        for number, draft in self.partitions.items():
            share = self.state.partitions.setdefault(number, PartitionState())
            share.handled, share.steps, share.trouble = draft.handled, draft.steps, draft.trouble
            share.symbols.update(draft.changed)
        return self.state

    def refuse(self, record: Record, row: int | None, fault: Fault, symbol: str | None) -> None:
        """A dead letter for one row of a record, or for all of it (None)."""
        letter = DeadLetter(
            stage=NAME,
            reason=fault.reason,
            detail=fault.detail,
            source_topic=MARKET_TICKS.name,
            source_partition=record.partition.number,
            source_offset=record.offset,
            source_row=row or 0,
            symbol=symbol,
            key=record.key,
            value=refused_bytes(record, row),
            refused_ns=self.now_ns,
        )
        self.outputs.append(Send(REJECTED, letter, symbol or NAME, record.partition.number))

    def alert(
        self,
        record: Record,
        symbol: str | None,
        event: str,
        severity: Severity,
        timestamp_ns: int,
        detail: Mapping[str, str],
    ) -> None:
        """An event for the people on call."""
        alert = Alert(
            event=event,
            severity=severity,
            stage=NAME,
            symbol=symbol,
            origin_partition=record.partition.number,
            origin_offset=record.offset,
            timestamp_ns=timestamp_ns,
            detail=dict(detail),
        )
        self.outputs.append(Send(ALERTS, alert, symbol or NAME))

    def alert_fault(self, record: Record, symbol: str | None, fault: Fault, timestamp_ns: int) -> None:
        """The event of a refusal."""
        event, severity = EVENTS[fault.reason]
        self.alert(record, symbol, event, severity, timestamp_ns, {"reason": fault.reason, "found": fault.detail})

    def alert_events(self, record: Record, symbol: str, events: Iterable[IngestionEvent]) -> None:
        """Events of the gate, with their facts."""
        for event in events:
            facts = {name: str(value) for name, value in event._asdict().items() if name != "timestamp_ns"}
            name = type(event).__name__
            self.alert(record, symbol, name, SEVERITIES.get(name, "warning"), event.timestamp_ns, facts)


def refused_bytes(record: Record, row: int | None) -> bytes | None:
    """The bytes as they came. A row of a block comes as a block of that row alone: it can be replayed by itself."""
    value = record.value
    if isinstance(value, TickBlock) and row is not None:
        return encode(single_row(value, row))
    if record.raw is None and not isinstance(value, Reply):
        return encode(value)
    return record.raw
