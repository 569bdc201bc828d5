# SPDX-License-Identifier: MIT
"""Ingest: checks each market tick and writes the verdict into the stream, so that all behind it needs no clock.

In: Tick and TickBlock. Out, in the same partition number: a ValidatedTick per accepted tick and per outlier
(accept = false); a DeadLetter per refused tick and per outlier; an Alert where a condition begins or ends.
Heartbeats prove that a feed lives and are not passed on; a symbol that is quiet beyond its limit gives a Silence.

Each origin (partition, offset, row) is handled once: what is not above the highest one handled is dropped.
"""

from ..config.model import ModelConfig
from ..io.avro import adopt
from ..io.ingest_events import FrozenSignalAlarmEvent, IngestionEvent, StaleSignalEvent
from ..io.ingest_rules import IngestRules, ingest_rules
from ..io.loaders import IngestionDecision, judge
from ..io.tick_block import row_count, unpack_ticks
from ..io.validators import is_crossed_quote
from ..schemas.records import Tick, TickBlock, ValidatedTick
from .contract import Batch, Output, Record, Send, Stage
from .ingest_draft import Draft, PartitionDraft
from .ingest_faults import EVENTS, Fault, bad_value, misaddressed, misplaced, sequence_note
from .ingest_silence import silences
from .ingest_snapshot import restore, snapshot
from .ingest_state import CALM_TICKS, NAME, IngestState, SymbolState, content_of
from .topology import ALERTS, MARKET_TICKS, REJECTED, SNAPSHOTS, VALIDATED

CROSSED = "CrossedQuoteEvent"
GAP_GAIN = 0.05


def init(config: ModelConfig) -> IngestState:
    """No partition yet; the rules are fixed for the life of the process."""
    own = {symbol: ingest_rules(config, symbol) for symbol in config.symbols}
    return IngestState(config.content_hash, config.io.symbol_max_bytes, ingest_rules(config), own)


def handle(batch: Batch, state: IngestState) -> tuple[list[Output], IngestState]:
    """Judge every record that is new; the state changes only when all of them went well."""
    draft = Draft(state, batch.now_ns)
    for record in batch.records:
        share = draft.partition(record.partition.number)
        if record.offset > share.handled:
            share.handled = record.offset
            take(record, share, draft)
    if batch.timer is not None:
        draft.outputs += silences(batch.timer, draft)
    return draft.outputs, draft.applied()


def take(record: Record, share: PartitionDraft, draft: Draft) -> None:
    """The ticks of one record, or its refusal as a whole."""
    value = record.value
    fault = unusable(record, draft.state.symbol_max_bytes)
    if fault is not None:
        share.steps += 1
        if share.trouble != fault.reason:
            draft.alert_fault(record, None, fault, draft.now_ns)
        share.trouble = fault.reason
        draft.refuse(record, None, fault, None)
        return
    share.trouble = ""
    if isinstance(value, Tick):
        take_tick(value, 0, record, share, draft)
    elif isinstance(value, TickBlock):
        for row, tick in enumerate(unpack_ticks(value)):
            take_tick(tick, row, record, share, draft)


def unusable(record: Record, symbol_max_bytes: int) -> Fault | None:
    """Why no tick can be taken from a record at all."""
    value = record.value
    if not isinstance(value, (Tick, TickBlock)):
        return Fault("unexpected_record", f"found a {type(value).__name__}; expected a Tick or a TickBlock")
    fault = misaddressed(value.symbol, record.key, symbol_max_bytes)
    if fault is None and isinstance(value, TickBlock):
        try:
            row_count(value)
        except ValueError as broken:
            return Fault("broken_block", str(broken))
    return fault


def take_tick(tick: Tick, row: int, record: Record, share: PartitionDraft, draft: Draft) -> None:
    """One tick: refused, or judged and passed on; and what its symbol is from now on."""
    share.steps += 1
    symbol = tick.symbol
    seen = share.symbol(symbol)
    if tick.kind == "heartbeat":
        if seen is not None:
            share.changed[symbol] = heard(tick, record, seen, draft)
        return
    if seen is None:
        seen = met(symbol, record, draft)
    rules = draft.state.rules(symbol)
    fault = misplaced(tick, seen, record.timestamp_ns, rules)
    if fault is not None:
        share.changed[symbol] = seen._replace(refusal=refuse(fault, tick, row, record, seen, draft), calm=0)
        return
    note = sequence_note(tick, seen)
    if note is not None and note != seen.note:
        draft.alert(record, symbol, note, "warning", tick.ts_event_ns, numbers(tick, seen))
    fault = bad_value(tick, rules)
    if fault is not None:
        refusal = refuse(fault, tick, row, record, seen, draft)
        share.changed[symbol] = seen._replace(
            ts_event_ns=tick.ts_event_ns,
            sequence=seen.sequence if tick.sequence is None else tick.sequence,
            content=(),
            offset=record.offset,
            note=note or "",
            refusal=refusal,
            calm=0,
        )
        return
    share.changed[symbol] = pass_on(tick, row, record, seen, rules, note or "", draft)


def met(symbol: str, record: Record, draft: Draft) -> SymbolState:
    """A symbol that is new to its partition; nobody else should have met it."""
    homes = draft.homes(symbol)
    if homes:
        facts = {"also_in_partitions": ", ".join(map(str, homes)), "advice": "set partitioner=murmur2_random"}
        draft.alert(record, symbol, "SymbolInTwoPartitionsEvent", "critical", draft.now_ns, facts)
    return SymbolState()


def heard(tick: Tick, record: Record, seen: SymbolState, draft: Draft) -> SymbolState:
    """The symbol after a heartbeat, which may have a number of the same count as the ticks."""
    if tick.sequence is None or (seen.sequence is not None and tick.sequence <= seen.sequence):
        return seen
    note = sequence_note(tick, seen)
    if note is not None and note != seen.note:
        draft.alert(record, tick.symbol, note, "warning", tick.ts_event_ns, numbers(tick, seen))
    return seen._replace(sequence=tick.sequence)


def refuse(fault: Fault, tick: Tick, row: int, record: Record, seen: SymbolState, draft: Draft) -> str:
    """The dead letter of a tick, and the alert unless the same was said of late; gives the event's name.

    Some real feeds have a fault in every tenth tick: one alert says so, dead letters and their counter say how many.
    """
    event, _ = EVENTS[fault.reason]
    if event != seen.refusal:
        draft.alert_fault(record, tick.symbol, fault, tick.ts_event_ns)
    draft.refuse(record, row, fault, tick.symbol)
    return event


def numbers(tick: Tick, seen: SymbolState) -> dict[str, str]:
    """The facts of a sequence that has a gap or has begun anew."""
    return {"sequence": str(tick.sequence), "previous_sequence": str(seen.sequence)}


def pass_on(
    tick: Tick, row: int, record: Record, seen: SymbolState, rules: IngestRules, note: str, draft: Draft
) -> SymbolState:
    """Publish the verdict on a sound tick; its symbol after it."""
    stamp_ns = tick.ts_event_ns
    decision, history = judge(seen.history, tick.price, stamp_ns, draft.now_ns, rules)
    events = decision.events
    if events:
        draft.alert_events(record, tick.symbol, worth_an_alert(events, seen))
    arrival_age_ns = record.timestamp_ns - stamp_ns
    late = arrival_age_ns > rules.ttl_ns or (seen.late and arrival_age_ns >= rules.recovered_ns)
    if late != seen.late:
        alert_lateness(late, arrival_age_ns, tick, record, rules, draft)
    names = [type(event).__name__ for event in events]
    calm = min(seen.calm + 1, CALM_TICKS)
    refusal = seen.refusal if calm < CALM_TICKS else ""
    if is_crossed_quote(tick.bid, tick.ask):
        names.insert(0, CROSSED)
        if refusal != CROSSED:
            facts = {"bid": str(tick.bid), "ask": str(tick.ask)}
            draft.alert(record, tick.symbol, CROSSED, "warning", stamp_ns, facts)
        calm, refusal = 0, CROSSED
    if note:
        names.insert(0, note)
    verdict = validated(tick, row, record, decision, names, draft)
    draft.outputs.append(Send(VALIDATED, verdict, tick.symbol, record.partition.number))
    if not decision.accept_observation:
        draft.refuse(record, row, outlier_fault(events[0]), tick.symbol)
    sequence = seen.sequence if tick.sequence is None else tick.sequence
    return SymbolState(
        history,
        stamp_ns,
        sequence,
        content_of(tick),
        record.offset,
        late,
        note,
        refusal,
        calm,
        usual_gap(seen, stamp_ns),
    )


def usual_gap(seen: SymbolState, stamp_ns: int) -> float:
    """The moving average of the time between two events of the symbol, by which its silence is measured."""
    if seen.offset < 0:
        return 0.0
    gap_ns = float(stamp_ns - seen.ts_event_ns)
    return gap_ns if seen.usual_gap_ns == 0.0 else seen.usual_gap_ns + GAP_GAIN * (gap_ns - seen.usual_gap_ns)


def worth_an_alert(events: tuple[IngestionEvent, ...], seen: SymbolState) -> list[IngestionEvent]:
    """Events that begin or end something: not each tick of a frozen run, and not the age, which is the clock's."""
    repeated = (StaleSignalEvent, FrozenSignalAlarmEvent) if seen.history.frozen else (StaleSignalEvent,)
    return [event for event in events if not isinstance(event, repeated)]


def alert_lateness(
    late: bool, arrival_age_ns: int, tick: Tick, record: Record, rules: IngestRules, draft: Draft
) -> None:
    """Ticks begin or cease to reach the broker stale; lag of this stage itself is a metric, not an event."""
    facts = {"staleness_ns": str(arrival_age_ns), "max_ttl_ns": str(rules.ttl_ns)}
    if late:
        draft.alert(record, tick.symbol, "StaleSignalEvent", "warning", tick.ts_event_ns, facts)
    else:
        draft.alert(record, tick.symbol, "NormalOperationRestoredEvent", "info", tick.ts_event_ns, facts)


def outlier_fault(event: IngestionEvent) -> Fault:
    """The reason of the outlier's dead letter."""
    facts = ", ".join(f"{name} {value}" for name, value in event._asdict().items() if name != "timestamp_ns")
    return Fault("outlier", f"found {facts}; expected a value within sigma_bound of the centre of its history")


def validated(
    tick: Tick, row: int, record: Record, decision: IngestionDecision, events: list[str], draft: Draft
) -> ValidatedTick:
    """The record for everything behind ingest."""
    fields: dict[str, object] = {
        **tick.__dict__,
        "origin_partition": record.partition.number,
        "origin_offset": record.offset,
        "origin_row": row,
        "accept": decision.accept_observation,
        "suspend_jko_update": decision.suspend_jko_update,
        "degraded_mode": decision.degraded_mode,
        "freeze_kernel_d": decision.freeze_kernel_d,
        "staleness_ns": decision.staleness_ns,
        "validated_ns": draft.now_ns,
        "events": events,
        "ingest_config_hash": draft.state.config_hash,
    }
    return adopt(ValidatedTick, fields)


def release(state: IngestState, partition: int) -> IngestState:
    """Forget a partition that another process owns now."""
    state.partitions.pop(partition, None)
    return state


def steps(state: IngestState, partition: int) -> int:
    """Ticks of a partition so far."""
    share = state.partitions.get(partition)
    return share.steps if share is not None else 0


STAGE = Stage(
    name=NAME,
    consumes=(MARKET_TICKS,),
    produces=(VALIDATED, REJECTED, ALERTS, SNAPSHOTS),
    dead_letters=REJECTED,
    init=init,
    handle=handle,
    snapshot=snapshot,
    restore=restore,
    release=release,
    steps=steps,
    watches_silence=True,
)
