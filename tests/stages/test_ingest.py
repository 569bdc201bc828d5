# SPDX-License-Identifier: MIT
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest

from usp.config.model import ModelConfig, load, packaged_defaults
from usp.io.avro import decode, encode
from usp.io.bus import Partition
from usp.io.ingest_rules import ingest_rules, quiet_limit_ns
from usp.io.tick_block import pack_rows
from usp.schemas.records import Alert, AnyRecord, DeadLetter, Silence, Tick, TickBlock, ValidatedTick
from usp.stages.contract import Batch, Output, Record, Send, Timer
from usp.stages.ingest import STAGE
from usp.stages.ingest_state import CALM_TICKS, IngestState
from usp.stages.topology import ALERTS, MARKET_TICKS, REJECTED, VALIDATED

NOW_NS = 1_700_000_000_000_000_000
MS = 1_000_000
TICK = Tick(
    symbol="EURUSD",
    venue="X",
    kind="quote",
    price=1.10,
    size=None,
    bid=1.09,
    ask=1.11,
    sequence=None,
    ts_event_ns=NOW_NS,
    ts_publish_ns=NOW_NS,
    producer_id="p",
)


def record(
    value: AnyRecord, offset: int, *, key: bytes | None = b"EURUSD", partition: int = 3, at_ns: int | None = None
) -> Record:
    """A record as the runner hands it over; the broker takes it at its event time unless told otherwise."""
    at = getattr(value, "ts_event_ns", NOW_NS) if at_ns is None else at_ns
    return Record(Partition(MARKET_TICKS.name, partition), offset, key, value, at, (), encode(value))


def run(
    records: Sequence[Record], state: IngestState | None = None, now_ns: int = NOW_NS
) -> tuple[list[Output], IngestState]:
    return STAGE.handle(Batch(now_ns, records), state or STAGE.init(packaged_defaults()))


def flags(verdict: ValidatedTick) -> tuple[bool, bool, bool, bool]:
    """accept, suspend, degraded, freeze."""
    return (verdict.accept, verdict.suspend_jko_update, verdict.degraded_mode, verdict.freeze_kernel_d)


def sent(outputs: Sequence[Output], topic: Any) -> list[Any]:
    return [output.value for output in outputs if isinstance(output, Send) and output.topic is topic]


def events(outputs: Sequence[Output]) -> list[str]:
    return [alert.event for alert in sent(outputs, ALERTS)]


def stream(prices: Sequence[float], step_ns: int = MS, **changes: Any) -> list[Tick]:
    """Ticks of rising event time; bid and ask are left out."""
    base = replace(TICK, kind="trade", bid=None, ask=None, **changes)
    return [replace(base, price=price, ts_event_ns=NOW_NS + i * step_ns) for i, price in enumerate(prices)]


def recorded(ticks: Sequence[Tick], first: int = 0) -> list[Record]:
    return [record(tick, first + i, key=tick.symbol.encode()) for i, tick in enumerate(ticks)]


def configured(symbols: Mapping[str, Mapping[str, Any]]) -> ModelConfig:
    mapping = packaged_defaults().to_mapping()
    return load({**mapping, "symbols": {**mapping["symbols"], **symbols}})


WALK = [100.0 + 0.01 * ((i * 7) % 5) for i in range(60)]

REFUSALS = {
    "empty_symbol": (replace(TICK, symbol=""), b"", "EmptySymbolEvent"),
    "oversized_symbol": (replace(TICK, symbol="X" * 129), b"X" * 129, "OversizedSymbolEvent"),
    "key_mismatch": (TICK, b"GBPUSD", "KeyMismatchEvent"),
    "future_stamp": (replace(TICK, ts_event_ns=NOW_NS + 2_000 * MS), b"EURUSD", "FutureStampEvent"),
    "past_drift": (replace(TICK, ts_event_ns=NOW_NS - 86_400_001 * MS), b"EURUSD", "PastDriftEvent"),
    "out_of_order": (replace(TICK, ts_event_ns=NOW_NS - 1), b"EURUSD", "OutOfOrderEvent"),
    "duplicate": (TICK, b"EURUSD", "DuplicateTickEvent"),
    "non_finite_price": (replace(TICK, price=nan), b"EURUSD", "NonFiniteObservationEvent"),
    "non_positive_price": (replace(TICK, price=0.0), b"EURUSD", "NonPositivePriceEvent"),
    "unexpected_record": (
        Silence(symbol="EURUSD", origin_partition=0, after_offset=0, quiet_limit_ns=1),
        b"EURUSD",
        "UnexpectedRecordEvent",
    ),
    "broken_block": (
        TickBlock(symbol="EURUSD", venue="X", kind="trade", rows=b"abc", ts_publish_ns=NOW_NS, producer_id="p"),
        b"EURUSD",
        "BrokenBlockEvent",
    ),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_a_bad_tick_is_refused_with_its_reason(reason: str) -> None:
    """It goes to the dead letters alone, raw and with its position, raises its event, and the next tick is sound."""
    value, key, event = REFUSALS[reason]
    bad = record(value, 1, key=key, at_ns=NOW_NS)
    after = record(replace(TICK, ts_event_ns=NOW_NS + 1), 2)
    outputs, state = run([record(TICK, 0), bad, after])
    (letter,) = sent(outputs, REJECTED)
    assert [tick.origin_offset for tick in sent(outputs, VALIDATED)] == [0, 2]
    assert (letter.reason, letter.stage, letter.key, letter.value) == (reason, "ingest", key, bad.raw)
    assert (letter.source_topic, letter.source_partition) == (MARKET_TICKS.name, 3)
    assert (letter.source_offset, letter.source_row, letter.refused_ns) == (1, 0, NOW_NS)
    assert "found" in letter.detail
    assert "expected" in letter.detail
    assert [event] == events(outputs)
    assert STAGE.steps
    assert STAGE.steps(state, 3) == 3


@pytest.mark.parametrize(
    "tick",
    [
        replace(TICK, price=inf),
        replace(TICK, price=-inf),
        replace(TICK, size=nan),
        replace(TICK, bid=-inf),
        replace(TICK, ask=nan),
    ],
)
def test_no_number_may_be_infinite(tick: Tick) -> None:
    """Price, size, bid and ask alike."""
    outputs, _ = run([record(tick, 0)])
    assert [letter.reason for letter in sent(outputs, REJECTED)] == ["non_finite_price"]


@pytest.mark.parametrize("stamp_ns", [-(2**63), -1, 0, 2**63 - 1])
def test_absurd_time_stamps_are_refused_and_can_be_written(stamp_ns: int) -> None:
    """The ends of 64 bits neither pass nor break the encoder."""
    outputs, _ = run([record(replace(TICK, ts_event_ns=stamp_ns), 0, at_ns=NOW_NS)])
    assert not sent(outputs, VALIDATED)
    assert len(sent(outputs, REJECTED)) == 1
    assert all(decode(encode(output.value)) == output.value for output in outputs if isinstance(output, Send))


def test_a_missing_key_is_a_mismatch() -> None:
    """Without a key the symbol would wander over the partitions."""
    outputs, _ = run([record(TICK, 0, key=None)])
    assert [letter.reason for letter in sent(outputs, REJECTED)] == ["key_mismatch"]


def test_a_huge_symbol_gives_a_small_key_and_no_symbol() -> None:
    """A megabyte of symbol stands in the raw value alone, once."""
    outputs, _ = run([record(replace(TICK, symbol="X" * 1_000_000), 0, key=b"x")])
    (output,) = [output for output in outputs if isinstance(output, Send) and output.topic is REJECTED]
    assert isinstance(output.value, DeadLetter)
    assert (output.key, output.value.symbol, output.partition) == ("ingest", None, 3)
    assert len(output.value.detail) < 200


def test_spreads_and_rates_may_be_zero_or_below() -> None:
    """The kind of the symbol in the configuration decides."""
    state = STAGE.init(configured({"EURUSD": {"kind": "spread"}}))
    outputs, _ = run([record(replace(TICK, price=-37.63, bid=None, ask=None), 0)], state)
    assert [tick.price for tick in sent(outputs, VALIDATED)] == [-37.63]


def test_a_symbol_may_expect_one_kind_of_ticks() -> None:
    """Quotes in a series of trades are refused; heartbeats are welcome."""
    state = STAGE.init(configured({"EURUSD": {"kind": "trade"}}))
    outputs, _ = run([record(TICK, 0), record(replace(TICK, kind="heartbeat"), 1)], state)
    assert [letter.reason for letter in sent(outputs, REJECTED)] == ["unexpected_kind"]


SEQUENCES = [
    ("next", 6, 1, True, None),
    ("repeated", 5, 1, False, "duplicate"),
    ("repeated with its time", 5, 0, False, "duplicate"),
    ("overtaken", 4, -1, False, "out_of_order"),
    ("lower at the same time", 4, 0, False, "out_of_order"),
    ("next with an older time", 6, -1, False, "out_of_order"),
    ("gap", 9, 1, True, "SequenceGapEvent"),
    ("counting anew", 0, 1, True, "SequenceResetEvent"),
    ("without a number", None, 1, True, None),
]


@pytest.mark.parametrize(("name", "sequence", "later_ns", "passes", "expected"), SEQUENCES)
def test_sequence_numbers_put_ticks_in_order(
    name: str, sequence: int | None, later_ns: int, passes: bool, expected: str | None
) -> None:
    """Repeated and overtaken ticks are refused; gaps and new counts are events of a tick that passes."""
    first = replace(TICK, sequence=5)
    second = replace(TICK, sequence=sequence, ts_event_ns=NOW_NS + later_ns, price=1.101)
    outputs, _ = run([record(first, 0), record(second, 1, at_ns=NOW_NS)])
    said = [letter.reason for letter in sent(outputs, REJECTED)]
    said += [event for tick in sent(outputs, VALIDATED) for event in tick.events]
    assert (len(sent(outputs, VALIDATED)), said) == (1 + passes, [expected] if expected else [])
    assert len(events(outputs)) == (expected is not None)


def test_equal_times_with_other_contents_are_two_ticks() -> None:
    """Several trades may carry the same time stamp."""
    outputs, _ = run([record(TICK, 0), record(replace(TICK, price=1.101), 1)])
    assert len(sent(outputs, VALIDATED)) == 2


def test_a_refused_value_does_not_look_like_a_gap() -> None:
    """A tick in order whose price is broken still counts in the sequence."""
    ticks = [replace(t, sequence=i) for i, t in enumerate(stream([1.0, nan, 1.1]))]
    outputs, _ = run(recorded(ticks))
    assert events(outputs) == ["NonFiniteObservationEvent"]


def test_an_accepted_tick_keeps_its_fields_origin_and_partition() -> None:
    """The verdict is added, nothing is lost, and the output has the partition number of the input."""
    tick = replace(TICK, sequence=9, size=3.0)
    outputs, state = run([record(tick, 17, partition=5)], now_ns=NOW_NS + 7)
    (output,) = outputs
    assert isinstance(output, Send)
    assert isinstance(output.value, ValidatedTick)
    assert (output.topic, output.key, output.partition) == (VALIDATED, "EURUSD", 5)
    verdict = output.value
    assert tick.__dict__ == {name: getattr(verdict, name) for name in tick.__dict__}
    assert (verdict.origin_partition, verdict.origin_offset, verdict.origin_row) == (5, 17, 0)
    assert flags(verdict) == (True, False, False, False)
    assert (verdict.staleness_ns, verdict.validated_ns, verdict.events) == (7, NOW_NS + 7, [])
    assert verdict.ingest_config_hash == packaged_defaults().content_hash == state.config_hash
    assert decode(encode(verdict)) == verdict


def test_an_outlier_goes_to_both_topics() -> None:
    """accept = false for the orchestrator, a dead letter and a critical alert for people."""
    outputs, _ = run(recorded([*stream(WALK), replace(stream(WALK)[-1], price=5_000.0, ts_event_ns=NOW_NS + 99 * MS)]))
    verdict = sent(outputs, VALIDATED)[-1]
    assert (verdict.price, *flags(verdict)) == (5_000.0, False, True, True, False)
    assert verdict.events == ["OutlierRejectedEvent"]
    assert [(letter.reason, letter.source_offset) for letter in sent(outputs, REJECTED)] == [("outlier", 60)]
    assert [(a.event, a.severity) for a in sent(outputs, ALERTS)] == [("OutlierRejectedEvent", "critical")]


def test_a_level_shift_is_accepted_and_announced() -> None:
    """The fifth consistent outlier passes with an event; what follows is normal."""
    outputs, _ = run(recorded(stream([*WALK, *[900.0 + 0.01 * i for i in range(8)]])))
    accepts = [tick.accept for tick in sent(outputs, VALIDATED)]
    assert accepts == [True] * 60 + [False] * 4 + [True] * 4
    assert events(outputs) == ["OutlierRejectedEvent"] * 4 + ["LevelShiftAcceptedEvent"]


def test_a_frozen_signal_alerts_once_when_it_begins_and_once_when_it_ends() -> None:
    """The flag is on every tick of the run, the alert on its edges."""
    outputs, _ = run(recorded(stream([*WALK, *[100.05] * 50, 100.09, 100.05, 100.08, 100.06])))
    verdicts = sent(outputs, VALIDATED)
    assert sum(tick.freeze_kernel_d for tick in verdicts) == 47
    assert all("FrozenSignalAlarmEvent" in tick.events for tick in verdicts if tick.freeze_kernel_d)
    assert events(outputs) == ["FrozenSignalAlarmEvent", "FrozenSignalRecoveredEvent"]


def test_a_price_grid_may_have_its_own_frozen_limit() -> None:
    """A symbol whose trades repeat the price raises no alarm before its own number of steps."""
    state = STAGE.init(configured({"EURUSD": {"frozen_signal_min_steps": 60}}))
    outputs, _ = run(recorded(stream([*WALK, *[100.05] * 59])), state)
    assert events(outputs) == []
    assert not any(tick.freeze_kernel_d for tick in sent(outputs, VALIDATED))


def test_a_stale_tick_is_accepted_but_suspends_the_weights() -> None:
    """Age by the stage's clock gives the flags."""
    outputs, _ = run([record(TICK, 0)], now_ns=NOW_NS + 501 * MS)
    (verdict,) = sent(outputs, VALIDATED)
    assert flags(verdict) == (True, True, True, False)
    assert (verdict.staleness_ns, verdict.events) == (501 * MS, ["StaleSignalEvent"])


def test_lateness_alerts_when_it_begins_and_when_it_ends() -> None:
    """By the broker's time stamp, with hysteresis, once each; lag of the stage itself raises no alert."""
    ages_ms = [0, 501, 900, 450, 399, 450, 0]
    ticks = stream([*WALK[: len(ages_ms)]], step_ns=1_000 * MS)
    late = enumerate(zip(ticks, ages_ms, strict=True))
    records = [record(tick, i, at_ns=tick.ts_event_ns + age_ms * MS) for i, (tick, age_ms) in late]
    outputs, _ = run(records, now_ns=NOW_NS + 3_600_000 * MS)
    assert [(alert.event, alert.origin_offset) for alert in sent(outputs, ALERTS)] == [
        ("StaleSignalEvent", 1),
        ("NormalOperationRestoredEvent", 4),
    ]


def test_the_same_trouble_alerts_once() -> None:
    """Every refused tick has its dead letter; people hear of it when it begins, not each time it returns."""
    outputs, _ = run(recorded(stream([1.0, nan, nan, nan, 1.1, nan])))
    assert len(sent(outputs, REJECTED)) == 4
    assert events(outputs) == ["NonFiniteObservationEvent"]


def test_trouble_that_returns_after_a_calm_time_alerts_again() -> None:
    """Sixty-four sound ticks in a row end a trouble; another trouble is said at once."""
    sound = [WALK[i % 60] for i in range(CALM_TICKS)]
    outputs, _ = run(recorded(stream([nan, *sound[1:], nan, *sound, nan, 0.0])))
    assert len(sent(outputs, REJECTED)) == 4
    assert events(outputs) == ["NonFiniteObservationEvent"] * 2 + ["NonPositivePriceEvent"]


def test_misaddressed_records_alert_once_per_run() -> None:
    """A producer without keys does not flood the alerts."""
    outputs, _ = run([record(TICK, i, key=None) for i in range(5)])
    assert (len(sent(outputs, REJECTED)), events(outputs)) == (5, ["KeyMismatchEvent"])


def test_a_heartbeat_is_not_forwarded() -> None:
    """It needs no price, leaves the history alone, and takes part in the count of the sequence."""
    first, last = (replace(tick, sequence=seq) for tick, seq in zip(stream([1.0, 1.1]), (1, 3), strict=True))
    beat = replace(TICK, kind="heartbeat", price=nan, sequence=2, ts_event_ns=NOW_NS + 1)
    outputs, _ = run(recorded([first, beat, last]))
    assert [tick.origin_offset for tick in sent(outputs, VALIDATED)] == [0, 2]
    assert len(outputs) == 2


def test_a_heartbeat_can_reveal_a_gap() -> None:
    """Numbers that were skipped before a heartbeat are missing too."""
    beat = replace(TICK, kind="heartbeat", sequence=5, ts_event_ns=NOW_NS + 1)
    outputs, _ = run(recorded([replace(TICK, sequence=1), beat]))
    assert events(outputs) == ["SequenceGapEvent"]


def test_a_symbol_in_two_partitions_is_an_alert() -> None:
    """Once, when the second partition meets it, in one batch or in two."""
    first, second = record(TICK, 0, partition=1), record(TICK, 0, partition=2)
    third = record(replace(TICK, ts_event_ns=NOW_NS + 1), 1, partition=2)
    outputs, _ = run([first, second, third])
    early, state = run([first])
    late, _ = run([second, third], state)
    assert events(outputs) == ["SymbolInTwoPartitionsEvent"]
    assert outputs == early + late


def block(ticks: Sequence[Tick], **changes: Any) -> TickBlock:
    fields = {"symbol": "EURUSD", "venue": "X", "kind": "trade", "ts_publish_ns": NOW_NS, "producer_id": "p"}
    return TickBlock(rows=pack_rows(ticks), **{**fields, **changes})


def test_a_block_is_its_ticks() -> None:
    """Same verdicts as single ticks, told apart by the row of their origin."""
    ticks = stream([*WALK, 5_000.0, *[100.0] * 6], ts_publish_ns=NOW_NS)
    outputs, _ = run([record(block(ticks), 4, at_ns=ticks[-1].ts_event_ns)])
    singles, _ = run([record(tick, i, at_ns=ticks[-1].ts_event_ns) for i, tick in enumerate(ticks)])
    rows, ones = sent(outputs, VALIDATED), sent(singles, VALIDATED)
    assert [(4, i) for i in range(len(ticks))] == [(tick.origin_offset, tick.origin_row) for tick in rows]
    assert [replace(tick, origin_offset=tick.origin_row, origin_row=0) for tick in rows] == ones


def test_a_bad_row_is_refused_alone_and_can_be_replayed() -> None:
    """The dead letter of a row is a block of that row, with its position."""
    ticks = stream([1.0, nan, 1.1])
    outputs, _ = run([record(block(ticks), 4, at_ns=NOW_NS)])
    (letter,) = sent(outputs, REJECTED)
    assert (letter.reason, letter.source_offset, letter.source_row) == ("non_finite_price", 4, 1)
    assert decode(letter.value) == block(ticks[1:2])
    assert [tick.origin_row for tick in sent(outputs, VALIDATED)] == [0, 2]


def test_silence_is_written_once_on_the_edge() -> None:
    """When the limit is crossed between two looks: an in-band record and an alert, in the symbol's partition."""
    _, state = run([record(TICK, 8)])
    limit_ns = quiet_limit_ns(state.default_rules, 0.0)
    seen = {(3, "EURUSD"): NOW_NS, (3, "UNKNOWN"): NOW_NS, (7, "EURUSD"): NOW_NS}
    looks = [(0, limit_ns - 1), (limit_ns - 1, limit_ns), (limit_ns, limit_ns + 1), (limit_ns + 1, 9 * limit_ns)]
    said = [STAGE.handle(Batch(NOW_NS + b, (), Timer(NOW_NS + a, seen)), state)[0] for a, b in looks]
    assert [len(outputs) for outputs in said] == [0, 2, 0, 0]
    assert isinstance(said[1][0], Send)
    assert (said[1][0].topic, said[1][0].partition, said[1][0].key) == (VALIDATED, 3, "EURUSD")
    expected = Silence(symbol="EURUSD", origin_partition=3, after_offset=8, quiet_limit_ns=limit_ns)
    assert said[1][0].value == expected
    assert events(said[1]) == ["SilenceEvent"]


def test_a_slow_symbol_may_be_quiet_for_longer() -> None:
    """The limit is counted in the symbol's own nominal intervals."""
    config = configured({"WTI": {"nominal_interval_ns": 86_400_000 * MS}})
    rules = STAGE.init(config).rules("WTI")
    assert quiet_limit_ns(rules, 0.0) == config.io.silence_limit_factor * 86_400_000 * MS


def test_every_output_can_be_written() -> None:
    """Whatever the stage sends has its place in the schemas, and alerts carry text alone."""
    values = [value for value, _, _ in REFUSALS.values()]
    outputs, _ = run([record(value, i, at_ns=NOW_NS) for i, value in enumerate([TICK, *values])])
    for output in outputs:
        assert isinstance(output, Send)
        assert type(output.value) in output.topic.records
        again = decode(encode(output.value))
        assert type(again) is type(output.value)
        assert not isinstance(again, Alert) or again == output.value


def test_a_crossed_quote_is_told_and_passes() -> None:
    """Real feeds have them by the hundred and their mid is sound: the verdict names each, one alert says it began."""
    crossed = [replace(TICK, bid=1.12, ts_event_ns=NOW_NS + i) for i in range(1, 4)]
    outputs, _ = run(recorded([TICK, *crossed]))
    verdicts = sent(outputs, VALIDATED)
    assert [[], *[["CrossedQuoteEvent"]] * 3] == [verdict.events for verdict in verdicts]
    assert all(verdict.accept for verdict in verdicts)
    assert ["CrossedQuoteEvent"] == events(outputs)
    assert [] == sent(outputs, REJECTED)


def test_the_quiet_limit_is_learned_from_the_symbols_own_gaps() -> None:
    """Without a nominal interval a daily series may be quiet for days, a fast one for seconds."""
    rules = ingest_rules(packaged_defaults())
    day_ns = 86_400 * 10**9
    assert quiet_limit_ns(rules, float(day_ns)) == 20 * day_ns
    assert quiet_limit_ns(rules, 1e6) == 10 * rules.ttl_ns
