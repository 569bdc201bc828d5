# SPDX-License-Identifier: MIT
"""Why a tick is refused: every reason code of the ingest stage, its event, and the check that finds it.

Stamps are compared with the time at which the broker took the record, not with the clock of the stage: a replay must
refuse the same ticks.
"""

from typing import NamedTuple

from ..io.ingest_rules import ANY_TICK_KIND, IngestRules
from ..io.validators import is_finite_observation, is_future_stamp, is_impossible_price, is_past_drift
from ..schemas.records import Severity, Tick
from .ingest_state import SymbolState, content_of


class Fault(NamedTuple):
    """A reason code, and what was found and expected."""

    reason: str
    detail: str


# reason code: (event, severity)
EVENTS: dict[str, tuple[str, Severity]] = {
    "unexpected_record": ("UnexpectedRecordEvent", "warning"),
    "empty_symbol": ("EmptySymbolEvent", "warning"),
    "oversized_symbol": ("OversizedSymbolEvent", "warning"),
    "key_mismatch": ("KeyMismatchEvent", "warning"),
    "broken_block": ("BrokenBlockEvent", "warning"),
    "future_stamp": ("FutureStampEvent", "warning"),
    "past_drift": ("PastDriftEvent", "warning"),
    "unexpected_kind": ("UnexpectedKindEvent", "warning"),
    "duplicate": ("DuplicateTickEvent", "info"),
    "out_of_order": ("OutOfOrderEvent", "info"),
    "non_finite_price": ("NonFiniteObservationEvent", "warning"),
    "non_positive_price": ("NonPositivePriceEvent", "warning"),
    "outlier": ("OutlierRejectedEvent", "critical"),
}


def misaddressed(symbol: str, key: bytes | None, symbol_max_bytes: int) -> Fault | None:
    """A symbol or key that would send a tick to the wrong state."""
    encoded = symbol.encode()
    if key == encoded and 0 < len(encoded) <= symbol_max_bytes:
        return None
    if not encoded:
        return Fault("empty_symbol", "found an empty symbol; expected the name of the instrument")
    if len(encoded) > symbol_max_bytes:
        found = f"found a symbol of {len(encoded)} bytes"
        return Fault("oversized_symbol", f"{found}; expected at most {symbol_max_bytes} (io.symbol_max_bytes)")
    found = "found no key" if key is None else f"found the key {key[:64]!r}"
    return Fault("key_mismatch", f"{found}; expected the symbol {symbol!r} in UTF-8, so that its ticks stay in order")


def misplaced(tick: Tick, seen: SymbolState, arrived_ns: int, rules: IngestRules) -> Fault | None:
    """A tick that does not belong here and now: wrong time, wrong kind, seen before, or overtaken."""
    stamp_ns = tick.ts_event_ns
    if is_future_stamp(stamp_ns, arrived_ns, rules.max_future_drift_ns):
        ahead = f"found ts_event_ns {stamp_ns - arrived_ns} ns ahead of the broker's time stamp"
        limit_ns = rules.max_future_drift_ns
        return Fault("future_stamp", f"{ahead}; expected at most {limit_ns}. Check the producer's clock.")
    if is_past_drift(stamp_ns, arrived_ns, rules.max_past_drift_ns):
        behind = f"found ts_event_ns {arrived_ns - stamp_ns} ns behind the broker's time stamp"
        limit_ns = rules.max_past_drift_ns
        return Fault("past_drift", f"{behind}; expected at most {limit_ns}. Restamp old data to publish it.")
    if tick.kind != rules.kind and rules.kind not in ANY_TICK_KIND:
        return Fault("unexpected_kind", f"found a {tick.kind} of {tick.symbol}; expected a {rules.kind} ([symbols])")
    return disordered(tick, seen)


def disordered(tick: Tick, seen: SymbolState) -> Fault | None:
    """A repeated or overtaken tick.

    A lower sequence number with a newer event time is neither: the producer has begun to count anew.
    """
    newer_ns = tick.ts_event_ns - seen.ts_event_ns
    if tick.sequence is not None and seen.sequence is not None:
        if tick.sequence == seen.sequence:
            return Fault("duplicate", f"found sequence {tick.sequence} again; expected a higher one")
        if tick.sequence < seen.sequence and newer_ns <= 0:
            return Fault("out_of_order", f"found sequence {tick.sequence} after {seen.sequence}; expected a higher one")
    elif newer_ns == 0 and content_of(tick) == seen.content:
        return Fault("duplicate", f"found the tick of ts_event_ns {tick.ts_event_ns} again; expected another one")
    if newer_ns < 0:
        return Fault("out_of_order", f"found ts_event_ns {-newer_ns} ns before the newest; expected a later one")
    return None


def bad_value(tick: Tick, rules: IngestRules) -> Fault | None:
    """Numbers that no market has."""
    if not is_finite_observation(tick.price, tick.size, tick.bid, tick.ask):
        found = f"found price {tick.price}, size {tick.size}, bid {tick.bid}, ask {tick.ask}"
        return Fault("non_finite_price", f"{found}; expected finite numbers")
    if is_impossible_price(tick.price, rules.must_be_positive):
        advice = 'or kind = "spread" under [symbols] where such a price can be'
        return Fault("non_positive_price", f"found price {tick.price}; expected one above 0, {advice}")
    return None


def sequence_note(tick: Tick, seen: SymbolState) -> str | None:
    """What a tick's sequence number says about the ticks before it, as the name of an event."""
    if tick.sequence is None or seen.sequence is None or tick.sequence == seen.sequence + 1:
        return None
    return "SequenceGapEvent" if tick.sequence > seen.sequence else "SequenceResetEvent"
