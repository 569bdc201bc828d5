# SPDX-License-Identifier: MIT
"""A seeded market with planted faults: the same spec and seed give the same records in every process.

No clock and no hidden randomness; equal also means the same numpy, which does not promise its streams across versions.
A symbol's sound ticks depend on the seed, its own spec and its rate alone, not on the other symbols.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from .planted_faults import ALTERING, Plan, SimulatedTick, added_record, either_way, moved, plan_faults, seconds
from .price_grid import Grid
from .simulated_market import SoundTick, sound_ticks
from .simulation_spec import FaultKind, SimulationSpec, SymbolSpec, mean_interval_ns, ticks_by_symbol

MARKET, PLACES, FAULTS = range(3)  # separate random streams, so that faults never disturb the market
SHORTEST_INTERVAL_NS = 1_000  # keeps event times of a symbol apart, and leaves room for a record in between


def simulate(spec: SimulationSpec, seed: int) -> Iterator[SimulatedTick]:
    """All symbols' records in the order in which they are to be published.

    Raises ValueError at once where the spec leaves too little room for its faults, or for a negative seed.
    """
    if seed < 0:
        raise ValueError(f"seed was {seed}, expected 0 or more")
    plans = plan_faults(spec, generator(seed, PLACES))
    feeds = [feed(spec, symbol, plans[symbol.symbol], seed) for symbol in spec.symbols]
    return heapq.merge(*feeds, key=publish_ns)


class Tally:
    """Counts the records that pass; right at any moment, so also when publishing stops half-way."""

    def __init__(self) -> None:
        self.records = 0
        self.planted: Counter[FaultKind] = Counter()  # faults; a frozen run counts once, at its first tick
        self.faulty_records: Counter[FaultKind] = Counter()
        self.frozen: set[str] = set()

    def watch(self, ticks: Iterable[SimulatedTick]) -> Iterator[SimulatedTick]:
        """The same ticks, each counted when it is taken."""
        for tick in ticks:
            self.count(tick)
            yield tick

    def count(self, tick: SimulatedTick) -> None:
        """Adds one record."""
        self.records += 1
        if tick.fault is not None:
            self.faulty_records[tick.fault] += 1
            self.planted[tick.fault] += tick.fault != "frozen_run" or tick.symbol not in self.frozen
        if tick.fault == "frozen_run":
            self.frozen.add(tick.symbol)
        else:
            self.frozen.discard(tick.symbol)


def feed(spec: SimulationSpec, symbol: SymbolSpec, plan: Plan, seed: int) -> Iterator[SimulatedTick]:
    """The records of one symbol."""
    market = sound_ticks(symbol, generator(seed, MARKET, symbol.symbol))
    state = FeedState(spec, symbol, generator(seed, FAULTS, symbol.symbol))
    for position, sound in enumerate(islice(market, ticks_by_symbol(spec)[symbol.symbol])):
        yield from state.advance(sound, plan.get(position))


class FeedState:
    """What the faults of one symbol need to remember between ticks."""

    def __init__(self, spec: SimulationSpec, symbol: SymbolSpec, generator: np.random.Generator) -> None:
        self.spec, self.symbol, self.generator = spec, symbol, generator
        self.grid = Grid(symbol.tick_size)
        self.mean_interval_ns = mean_interval_ns(spec, symbol)
        self.now_ns = 0  # when the last sound tick was published
        self.sequence = 0
        self.shift = 0  # grid steps
        self.frozen_left = 0
        self.last: SimulatedTick | None = None
        self.before: SimulatedTick | None = None

    def advance(self, sound: SoundTick, fault: FaultKind | None) -> Iterator[SimulatedTick]:
        """The next sound tick, with its fault if it has one, after the record that a fault adds if it adds one."""
        wait_ns = max(SHORTEST_INTERVAL_NS, round(sound.interval * self.mean_interval_ns))
        if fault is not None and fault not in ALTERING and self.last is not None and self.before is not None:
            between_ns = self.now_ns + wait_ns // 2
            yield added_record(fault, self.spec, self.grid, self.before, self.last, between_ns, self.generator)
        tick = self.altered(self.sound_tick(sound, wait_ns, fault), fault if fault in ALTERING else None)
        self.now_ns, self.before = tick.publish_ns, self.last
        self.last = tick if tick.fault is None else replace(tick, fault=None)
        yield tick

    def sound_tick(self, sound: SoundTick, wait_ns: int, fault: FaultKind | None) -> SimulatedTick:
        """The market's tick with the time and the number that it has in this feed."""
        self.now_ns += wait_ns + (seconds(self.spec.silence_s) if fault == "silence" else 0)
        self.sequence += 1 + (self.spec.sequence_gap if fault == "sequence_gap" else 0)
        symbol = self.symbol
        tick = SimulatedTick(
            timestamp_ns=self.now_ns,
            publish_ns=self.now_ns,
            key=symbol.symbol.encode(),
            symbol=symbol.symbol,
            venue=symbol.venue,
            kind=symbol.kind,
            price=sound.price,
            size=sound.size,
            bid=sound.bid,
            ask=sound.ask,
            sequence=self.sequence,
        )
        return moved(tick, self.grid, self.shift) if self.shift else tick

    def altered(self, tick: SimulatedTick, fault: FaultKind | None) -> SimulatedTick:
        """The tick with its altering fault, or with the frozen run that goes on."""
        if fault is not None:
            tick = replace(tick, fault=fault)
        if fault == "stale":
            # The feed stalls: what comes after is later still, so that a stale tick is not out of order as well.
            return replace(tick, publish_ns=tick.timestamp_ns + seconds(self.spec.stale_s))
        if fault == "level_shift":
            steps = either_way(tick, self.grid, self.spec.level_shift_fraction, self.generator)
            self.shift += steps
            return moved(tick, self.grid, steps)
        if fault == "frozen_run":
            self.frozen_left = self.spec.frozen_ticks
        if self.frozen_left and self.last is not None:
            self.frozen_left -= 1
            return replace(tick, price=self.last.price, bid=self.last.bid, ask=self.last.ask, fault="frozen_run")
        return tick


def generator(seed: int, role: int, symbol: str = "") -> np.random.Generator:
    """A random stream of its own for each use and symbol."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(role, *symbol.encode()))))


def publish_ns(tick: SimulatedTick) -> int:
    """The merge order."""
    return tick.publish_ns
