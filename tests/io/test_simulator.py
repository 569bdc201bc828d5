# SPDX-License-Identifier: MIT
"""The simulator repeats itself by seed, plants what it says, and leaves room for a model to beat the last value."""

import hashlib
import math
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import pytest

from usp.io.avro import Undecodable, decode, encode
from usp.io.planted_faults import ALTERING, SimulatedTick, wire_value
from usp.io.simulation_spec import (
    FAULT_KINDS,
    FaultKind,
    SimulationSpec,
    SymbolSpec,
    every_fault,
    market,
    ticks_by_symbol,
)
from usp.io.simulator import Tally, simulate
from usp.schemas.records import Tick

SEED = 7
CLEAN = SimulationSpec(symbols=market(4), ticks=8_000, rate_per_s=400.0)
FAULTY = replace(CLEAN, faults=every_fault(3), oversized_symbol_bytes=1_000_000)


@pytest.fixture(scope="module")
def clean() -> list[SimulatedTick]:
    """A simulation without faults."""
    return list(simulate(CLEAN, SEED))


@pytest.fixture(scope="module")
def faulty() -> list[SimulatedTick]:
    """The same market with three faults of each kind."""
    return list(simulate(FAULTY, SEED))


def by_symbol(ticks: list[SimulatedTick]) -> dict[str, list[SimulatedTick]]:
    """The records of each feed, in order; faults of the symbol itself count to the feed that they were planted in."""
    feeds: dict[str, list[SimulatedTick]] = defaultdict(list)
    for tick in ticks:
        feeds[tick.symbol].append(tick)
    return feeds


def planted(ticks: list[SimulatedTick], fault: FaultKind) -> list[tuple[list[SimulatedTick], SimulatedTick]]:
    """Each record of a fault with the sound or altered records of the same symbol before it, oldest first."""
    found: list[tuple[list[SimulatedTick], SimulatedTick]] = []
    history: dict[str, list[SimulatedTick]] = defaultdict(list)
    for tick in ticks:
        if tick.fault == fault:
            found.append((list(history[tick.symbol]), tick))
        if tick.fault is None or tick.fault in ALTERING:
            history[tick.symbol].append(tick)
    return found


def digest(ticks: list[SimulatedTick]) -> str:
    """A hash over all fields of all records; repr tells NaN, -0.0 and the last bit of a float."""
    return hashlib.sha256("\n".join(map(repr, ticks)).encode()).hexdigest()


def robust_distance(tick: SimulatedTick, history: list[SimulatedTick]) -> float:
    """Distance from the median of the last 251 prices, in the larger of the robust scales of level and increments."""
    prices = np.array([earlier.price for earlier in history[-251:]])
    moves = np.abs(np.diff(prices))
    level = np.median(np.abs(prices - np.median(prices)))
    return float(abs(tick.price - np.median(prices)) / (1.4826 * max(level, np.median(moves[moves > 0]))))


def relative_rmse(prices: np.ndarray, order: int = 5, burn: int = 300) -> float:
    """RMSE of an AR(5) of the increments, fitted online by recursive least squares, over that of the last value."""
    moves = np.diff(prices) / np.sqrt(np.mean(np.diff(prices)[:50] ** 2))
    inverse, weights = np.eye(order + 1) * 1e3, np.zeros(order + 1)
    errors = []
    for now in range(order, moves.size):
        inputs = np.r_[1.0, moves[now - order : now][::-1]]
        errors.append(moves[now] - weights @ inputs)
        gain = inverse @ inputs / (1 + inputs @ inverse @ inputs)
        weights = weights + gain * errors[-1]
        inverse = inverse - np.outer(gain, inputs @ inverse)
    return float(np.sqrt(np.mean(np.square(errors[burn:])) / np.mean(moves[order + burn :] ** 2)))


def avro(tick: SimulatedTick) -> bytes:
    """The tick as it goes on the wire, shortest strings that a producer may use included."""
    return encode(
        Tick(
            symbol=tick.symbol,
            venue=tick.venue,
            kind=tick.kind,
            price=tick.price,
            size=tick.size,
            bid=tick.bid,
            ask=tick.ask,
            sequence=tick.sequence,
            ts_event_ns=1_700_000_000_000_000_000 + tick.timestamp_ns,
            ts_publish_ns=1_700_000_000_000_000_000 + tick.publish_ns,
            producer_id="",
        )
    )


def test_the_same_seed_gives_the_same_records_in_every_process(faulty: list[SimulatedTick]) -> None:
    """Two other processes, with hash seeds of their own, make the same records to the last bit."""
    script = (
        "import hashlib\n"
        "from usp.io.simulation_spec import SimulationSpec, every_fault, market\n"
        "from usp.io.simulator import simulate\n"
        f"spec = SimulationSpec(symbols=market(4), ticks={FAULTY.ticks}, rate_per_s={FAULTY.rate_per_s},"
        " faults=every_fault(3))\n"
        f"lines = '\\n'.join(map(repr, simulate(spec, {SEED})))\n"
        "print(hashlib.sha256(lines.encode()).hexdigest())\n"
    )
    digests = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    ]
    assert digests == [digest(faulty)] * 2


def test_another_seed_gives_other_records(clean: list[SimulatedTick]) -> None:
    """The seed matters."""
    assert digest(clean) != digest(list(simulate(CLEAN, SEED + 1)))


def test_a_symbol_does_not_depend_on_its_company() -> None:
    """At the same rate of its own, a symbol's ticks are the same alone and among others."""
    symbol = market(4)[0]
    alone = SimulationSpec(symbols=(symbol,), ticks=500, rate_per_s=100.0)
    twin = replace(symbol, symbol="TWIN")
    together = SimulationSpec(symbols=(symbol, twin), ticks=1_000, rate_per_s=200.0)
    assert list(simulate(alone, SEED)) == by_symbol(list(simulate(together, SEED)))[symbol.symbol]


def test_a_longer_simulation_begins_with_the_shorter_one() -> None:
    """The length changes nothing about the ticks that both have."""
    spec = SimulationSpec(symbols=(market(1)[0],), ticks=300, rate_per_s=100.0)
    longer = replace(spec, ticks=3_000)
    assert list(simulate(spec, SEED)) == list(islice(simulate(longer, SEED), 300))


def test_sound_ticks_are_sound(clean: list[SimulatedTick]) -> None:
    """Without faults: times rise, numbers run without a gap, prices lie on the grid, quotes are not crossed."""
    grids = {symbol.symbol: symbol.tick_size for symbol in CLEAN.symbols}
    assert [tick.publish_ns for tick in clean] == sorted(tick.publish_ns for tick in clean)
    for name, ticks in by_symbol(clean).items():
        assert [tick.sequence for tick in ticks] == list(range(1, len(ticks) + 1))
        assert all(tick.timestamp_ns == tick.publish_ns and tick.fault is None for tick in ticks)
        assert all(early.timestamp_ns < late.timestamp_ns for early, late in pairwise(ticks))
        for tick in ticks:
            on_grid = (tick.price,) if tick.bid is None or tick.ask is None else (tick.bid, tick.ask)
            assert all(price > 0 and math.isclose(price, round(price / grids[name]) * grids[name]) for price in on_grid)
            assert all(len(f"{price!r}".partition(".")[2]) <= 4 for price in on_grid)
            if tick.bid is not None and tick.ask is not None:
                assert tick.kind == "quote" and tick.bid < tick.ask
                assert tick.price == pytest.approx((tick.bid + tick.ask) / 2, rel=1e-12)


def test_sound_ticks_look_sound_to_robust_checks(clean: list[SimulatedTick]) -> None:
    """No sound tick comes near the 20 sigma of an outlier, and runs of five equal prices are rare."""
    for ticks in by_symbol(clean).values():
        distances = [robust_distance(ticks[now], ticks[:now]) for now in range(251, len(ticks), 5)]
        assert max(distances) < 15
        prices = [tick.price for tick in ticks]
        runs = sum(len(set(prices[now - 4 : now + 1])) == 1 for now in range(4, len(prices)))
        assert runs <= len(prices) / 500


def test_rate_and_shares_are_the_wanted_ones(clean: list[SimulatedTick]) -> None:
    """The whole stream has the wanted rate, each symbol its share by activity, all symbols interleaved."""
    counts = ticks_by_symbol(CLEAN)
    assert {name: len(ticks) for name, ticks in by_symbol(clean).items()} == counts
    assert sum(counts.values()) == CLEAN.ticks
    total = sum(symbol.activity for symbol in CLEAN.symbols)
    for symbol in CLEAN.symbols:
        assert counts[symbol.symbol] == pytest.approx(CLEAN.ticks * symbol.activity / total, abs=1)
    body = clean[: CLEAN.ticks * 3 // 4]
    assert len(body) / (body[-1].publish_ns / 1e9) == pytest.approx(CLEAN.rate_per_s, rel=0.15)
    assert len({tick.symbol for tick in clean[:40]}) == len(CLEAN.symbols)


def test_arrivals_and_volatility_are_clustered() -> None:
    """Intervals vary at least like exponential ones and large moves follow large moves."""
    calm_grid = SymbolSpec(symbol="A", tick_size=0.001, trade_half_spread=0.0)
    ticks = list(simulate(SimulationSpec(symbols=(calm_grid,), ticks=8_000, rate_per_s=100.0), SEED))
    intervals = np.diff([tick.timestamp_ns for tick in ticks])
    moves = np.abs(np.diff([math.log(tick.price) for tick in ticks]))
    assert np.std(intervals) / np.mean(intervals) > 1.0
    assert np.corrcoef(intervals[1:], intervals[:-1])[0, 1] > 0.03
    assert np.corrcoef(moves[1:], moves[:-1])[0, 1] > 0.1
    assert np.max(moves) > 6 * np.std(moves)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_model_beats_the_last_value(seed: int) -> None:
    """Bounce and grid leave an AR(5) at most 0.975 of the last value's RMSE on every symbol of a fault-free market."""
    spec = SimulationSpec(symbols=market(4), ticks=8_000, rate_per_s=400.0)
    feeds = by_symbol(list(simulate(spec, seed)))
    ratios = {name: relative_rmse(np.array([tick.price for tick in ticks])) for name, ticks in feeds.items()}
    assert max(ratios.values()) <= 0.975, ratios
    assert min(ratios.values()) >= 0.85, ratios


def test_every_kind_of_fault_is_planted_as_often_as_asked() -> None:
    """The tally, counted while the records pass, is what the spec asks for; a frozen run has all of its ticks."""
    tally = Tally()
    records = sum(1 for _ in tally.watch(simulate(FAULTY, SEED)))
    assert dict(tally.planted) == dict.fromkeys(FAULT_KINDS, 3)
    assert dict(tally.faulty_records) == {**dict.fromkeys(FAULT_KINDS, 3), "frozen_run": 3 * FAULTY.frozen_ticks}
    added = [kind for kind in FAULT_KINDS if kind not in ALTERING]
    assert tally.records == records == FAULTY.ticks + 3 * len(added)


def test_added_faults_leave_the_market_as_it_was(clean: list[SimulatedTick]) -> None:
    """Without the faulty records, the stream is the one that would have been."""
    added = {kind: 5 for kind in FAULT_KINDS if kind not in ALTERING}
    records = list(simulate(replace(CLEAN, faults=added), SEED))
    assert [tick for tick in records if tick.fault is None] == clean


def test_faults_wait_for_the_warm_up(faulty: list[SimulatedTick]) -> None:
    """Ingest has a history of every symbol before its first fault."""
    feeds = by_symbol(faulty)
    for symbol in FAULTY.symbols:
        first = next(place for place, tick in enumerate(feeds[symbol.symbol]) if tick.fault is not None)
        assert first >= FAULTY.warm_up_ticks


def test_records_are_in_the_order_of_publication(faulty: list[SimulatedTick]) -> None:
    """Publication times never fall, late and stalled records included."""
    assert [tick.publish_ns for tick in faulty] == sorted(tick.publish_ns for tick in faulty)


def test_sound_ticks_of_a_faulty_stream_stay_in_event_order(faulty: list[SimulatedTick]) -> None:
    """What is not planted as out of order, a duplicate or a future stamp is in order, by time and by number."""
    for ticks in by_symbol([tick for tick in faulty if tick.fault is None or tick.fault in ALTERING]).values():
        times = [tick.timestamp_ns for tick in ticks]
        numbers = [tick.sequence or 0 for tick in ticks]
        assert all(early < late for early, late in pairwise(times))
        gaps = [late - early - 1 for early, late in pairwise(numbers)]
        wanted = [FAULTY.sequence_gap if tick.fault == "sequence_gap" else 0 for tick in ticks[1:]]
        assert gaps == wanted


def test_impossible_prices_and_quotes_are_impossible(faulty: list[SimulatedTick]) -> None:
    """Non-finite, non-positive and crossed are what their names say."""
    assert all(not math.isfinite(tick.price) for _, tick in planted(faulty, "non_finite_price"))
    assert all(tick.price <= 0 for _, tick in planted(faulty, "non_positive_price"))
    for _, tick in planted(faulty, "crossed_quote"):
        assert tick.bid is not None and tick.ask is not None and tick.bid > tick.ask


def test_misplaced_ticks_are_misplaced(faulty: list[SimulatedTick]) -> None:
    """Duplicates repeat the last tick, late ones are older than it, future stamps lie ahead, stale ones are late."""
    for history, tick in planted(faulty, "duplicate"):
        assert replace(tick, publish_ns=0, fault=None) == replace(history[-1], publish_ns=0)
    for history, tick in planted(faulty, "out_of_order"):
        assert history[-2].timestamp_ns < tick.timestamp_ns < history[-1].timestamp_ns
    for _, tick in planted(faulty, "future_stamp"):
        assert tick.timestamp_ns - tick.publish_ns == 60_000_000_000
    for history, tick in planted(faulty, "stale"):
        assert tick.publish_ns - tick.timestamp_ns == 2_000_000_000
        assert tick.timestamp_ns > history[-1].timestamp_ns
    for history, tick in planted(faulty, "silence"):
        assert tick.publish_ns - history[-1].publish_ns >= 25_000_000_000


def test_outliers_are_isolated_and_level_shifts_stay(faulty: list[SimulatedTick]) -> None:
    """Both lie far beyond 20 robust sigmas; after an outlier the old level goes on, after a shift the new one does."""
    feeds = by_symbol([tick for tick in faulty if tick.fault is None or tick.fault in ALTERING | {"outlier"}])
    for fault in ("outlier", "level_shift"):
        for history, tick in planted(faulty, fault):
            assert robust_distance(tick, history) > 40
            feed = feeds[tick.symbol]
            after = feed[feed.index(tick) + 1 :][:10]
            assert len(after) == 10
            level = history[-1].price if fault == "outlier" else tick.price
            assert all(abs(later.price / level - 1) < 0.05 for later in after)


def test_frozen_runs_repeat_one_price(faulty: list[SimulatedTick]) -> None:
    """All ticks of a run carry the price of the tick before it, with times and numbers that go on."""
    for history, tick in planted(faulty, "frozen_run"):
        assert tick.price == history[-1].price
        assert (tick.bid, tick.ask) == (history[-1].bid, history[-1].ask)
        assert tick.timestamp_ns > history[-1].timestamp_ns


def test_byte_faults_break_the_decoder_as_named(faulty: list[SimulatedTick]) -> None:
    """Garbage, unknown schema, truncated Avro and tombstones do not decode, each for its own reason; the rest does."""
    reasons = {
        "garbage_bytes": "not_single_object",
        "unknown_schema": "unknown_schema",
        "truncated_avro": "truncated_avro",
        "tombstone": "tombstone",
    }
    for tick in faulty:
        record = decode(wire_value(tick, avro))
        if tick.fault in reasons:
            assert isinstance(record, Undecodable) and record.reason == reasons[tick.fault]
        else:
            assert isinstance(record, Tick) and record.symbol == tick.symbol


def test_a_cut_of_any_length_breaks_the_shortest_tick() -> None:
    """One-letter names and absent fields still leave more bytes than a cut takes."""
    symbol = SymbolSpec(symbol="A", venue="V")
    spec = SimulationSpec(symbols=(symbol,), ticks=40_000, rate_per_s=100.0, faults={"truncated_avro": 300})
    cuts = [tick for tick in simulate(spec, SEED) if tick.fault == "truncated_avro"]
    assert {tick.cut_bytes for tick in cuts} == set(range(8, 25))
    for tick in cuts:
        record = decode(wire_value(replace(tick, size=None), avro))
        assert isinstance(record, Undecodable) and record.reason == "truncated_avro"


def test_symbols_may_be_empty_or_huge(faulty: list[SimulatedTick]) -> None:
    """The empty symbol has an empty key; the huge one has a short key, so that the record passes a broker's limit."""
    assert [(tick.symbol, tick.key) for _, tick in planted(faulty, "empty_symbol")] == [("", b"")] * 3
    for _, tick in planted(faulty, "oversized_symbol"):
        assert len(tick.symbol) == 1_000_000
        assert len(tick.key) + len(avro(tick)) < 1_048_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbols": ()}, r"symbols was \[\], expected at least one symbol"),
        ({"symbols": market(1) * 2}, r"symbols was .*, expected each symbol once"),
        ({"ticks": 3}, r"ticks was 3, expected at least one for each of the 4 symbols"),
        ({"rate_per_s": math.nan}, r"rate_per_s was nan, expected a finite number above 0"),
        ({"outlier_fraction": 1.0}, r"outlier_fraction was 1.0, expected below 1"),
        ({"faults": {"typo": 1}}, r"faults was 'typo', expected one of non_finite_price, "),
        ({"faults": {"stale": -1}}, r"faults\[stale\] was -1, expected 0 or more"),
    ],
)
def test_a_senseless_spec_is_refused(changes: dict[str, object], message: str) -> None:
    """The message names the field, what was found and what was expected."""
    with pytest.raises(ValueError, match=message):
        replace(CLEAN, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbol": ""}, r"symbol was '', expected 1 to 128 bytes of UTF-8"),
        ({"tick_size": 0.0}, r"tick_size was 0.0, expected a finite number above 0"),
        ({"garch_beta": 0.95}, r"garch_alpha, garch_beta was \(0.08, 0.95\), expected >= 0 with a sum below 1"),
        ({"regimes": ()}, r"regimes was \(\), expected at least one regime"),
    ],
)
def test_a_senseless_symbol_is_refused(changes: dict[str, object], message: str) -> None:
    """The message names the field, what was found and what was expected."""
    with pytest.raises(ValueError, match=message):
        replace(SymbolSpec(symbol="A"), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"faults": every_fault(100)},
        {"faults": {"level_shift": 5}},
        {"faults": {"crossed_quote": 1}, "symbols": (SymbolSpec(symbol="A"),)},
    ],
)
def test_faults_that_find_no_room_are_refused_at_once(changes: dict[str, object]) -> None:
    """A fault is never left out in silence: the call fails before the first record."""
    with pytest.raises(ValueError, match=r"faults: no room for \w+ among \d+ faults, expected more ticks"):
        simulate(replace(CLEAN, **changes), SEED)


def test_a_negative_seed_is_refused() -> None:
    """The message says what was found and what was expected."""
    with pytest.raises(ValueError, match="seed was -1, expected 0 or more"):
        simulate(CLEAN, -1)
