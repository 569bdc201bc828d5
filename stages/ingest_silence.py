# SPDX-License-Identifier: MIT
"""Silence is an event, not an absence: what a timer says about symbols that have gone quiet.

When each symbol was last seen stands outside the state, with the runner; the record names the newest tick of the
symbol, so a silence that is written twice after a restart is the same silence.
"""

from collections.abc import Iterator

from ..io.ingest_rules import quiet_limit_ns
from ..schemas.records import Alert, Silence
from .contract import Output, Send, Timer
from .ingest_draft import Draft
from .ingest_state import NAME, SymbolState
from .topology import ALERTS, VALIDATED


def silences(timer: Timer, draft: Draft) -> Iterator[Output]:
    """A Silence and an alert for each symbol whose quiet time crossed its limit since the last look."""
    for (partition, symbol), seen_ns in timer.last_seen_ns.items():
        known = draft.find(partition, symbol)
        if known is None or known.offset < 0:
            continue
        limit_ns = quiet_limit_ns(draft.state.rules(symbol), known.usual_gap_ns)
        if timer.previous_ns < seen_ns + limit_ns <= draft.now_ns:
            yield from silence(partition, symbol, known, limit_ns, seen_ns)


def silence(partition: int, symbol: str, known: SymbolState, limit_ns: int, seen_ns: int) -> Iterator[Output]:
    """The in-band record, and the same for people."""
    record = Silence(symbol=symbol, origin_partition=partition, after_offset=known.offset, quiet_limit_ns=limit_ns)
    yield Send(VALIDATED, record, symbol, partition)
    alert = Alert(
        event="SilenceEvent",
        severity="warning",
        stage=NAME,
        symbol=symbol,
        origin_partition=partition,
        origin_offset=known.offset,
        timestamp_ns=seen_ns,
        detail={"quiet_limit_ns": str(limit_ns), "last_seen_ns": str(seen_ns)},
    )
    yield Send(ALERTS, alert, symbol)
