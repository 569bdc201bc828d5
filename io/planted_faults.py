# SPDX-License-Identifier: MIT
"""Where a simulation's faults go, and what each of them does to the stream of one symbol.

Two sorts. *Added* faults are records of their own between two sound ticks, without a sequence number: taking them out
leaves the stream that would have been without them. *Altering* faults change sound ticks (`ALTERING`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from .price_grid import Grid
from .simulation_spec import FAULT_KINDS, FaultKind, SimulationSpec, ticks_by_symbol

SPACING = 32  # ticks between two faults of a symbol, so that each can be told from the one before
ALTERING: frozenset[FaultKind] = frozenset({"sequence_gap", "stale", "level_shift", "frozen_run", "silence"})
SINGLE_OBJECT_MAGIC = b"\xc3\x01"  # Avro 1.11 specification, "Single-object encoding"


@dataclass(frozen=True, slots=True)
class SimulatedTick:
    """One record to publish. Times are nanoseconds relative to the start of the simulation.

    `publish_ns` never falls along the stream; it equals `timestamp_ns`, the event time, except for what is late or
    stamped ahead. `fault` names the planted fault that this record carries. `raw` replaces the encoded tick where it is
    not None; `tombstone` means no value at all; `cut_bytes` are taken off the end of the encoded tick.
    """

    timestamp_ns: int
    publish_ns: int
    key: bytes
    symbol: str
    venue: str
    kind: Literal["trade", "quote"]
    price: float
    size: float | None
    bid: float | None
    ask: float | None
    sequence: int | None
    fault: FaultKind | None = None
    raw: bytes | None = None
    cut_bytes: int = 0
    tombstone: bool = False


def wire_value(tick: SimulatedTick, encode: Callable[[SimulatedTick], bytes]) -> bytes | None:
    """The value to publish, with the byte-level faults done; `encode` makes the Avro single object of a tick."""
    if tick.tombstone:
        return None
    if tick.raw is not None:
        return tick.raw
    value = encode(tick)
    return value[: len(value) - tick.cut_bytes]


CONFINED: frozenset[FaultKind] = frozenset({"level_shift", "outlier"})  # not all places fit, so these choose first
Plan: TypeAlias = dict[int, FaultKind]  # position of a sound tick -> the fault just before it, or of itself


def plan_faults(spec: SimulationSpec, generator: np.random.Generator) -> dict[str, Plan]:
    """A place for each fault that `spec` asks for, by symbol; ValueError if there is too little room.

    Outliers and at most one level shift per symbol: a shift in its last quarter, outliers before, because a history
    that holds two levels has no scale to measure an outlier by.
    """
    plans: dict[str, Plan] = {symbol.symbol: {} for symbol in spec.symbols}
    room = {name: shuffled_slots(spec, count, generator) for name, count in ticks_by_symbol(spec).items()}
    for kind in sorted(FAULT_KINDS, key=lambda kind: kind not in CONFINED):
        for _ in range(spec.faults.get(kind, 0)):
            name, slot = find_room(kind, spec, plans, room)
            room[name].remove(slot)
            plans[name][slot] = kind
    return plans


def shuffled_slots(spec: SimulationSpec, count: int, generator: np.random.Generator) -> list[int]:
    """Positions of one symbol that a fault may take, in random order; the last one leaves room for a frozen run."""
    spacing = max(SPACING, spec.frozen_ticks + 8)
    slots = np.arange(spec.warm_up_ticks, count - spacing, spacing)
    return [int(slot) for slot in generator.permutation(slots)]


def find_room(
    kind: FaultKind, spec: SimulationSpec, plans: dict[str, Plan], room: dict[str, list[int]]
) -> tuple[str, int]:
    """The first fitting slot of the symbol that has the fewest faults so far."""
    counts = ticks_by_symbol(spec)
    for symbol in sorted(spec.symbols, key=lambda symbol: len(plans[symbol.symbol])):
        name = symbol.symbol
        if kind == "crossed_quote" and symbol.kind != "quote":
            continue
        if kind == "level_shift" and kind in plans[name].values():
            continue
        late = spec.warm_up_ticks + (counts[name] - spec.warm_up_ticks) * 3 // 4
        for slot in room[name]:
            if kind not in CONFINED or (kind == "level_shift") == (slot >= late):
                return name, slot
    wanted = sum(spec.faults.values())
    raise ValueError(
        f"faults: no room for {kind} among {wanted} faults, expected more ticks (found {spec.ticks}; a fault takes"
        f" {SPACING} of its symbol after {spec.warm_up_ticks} of warm-up), a quote symbol for a crossed quote,"
        " and at most one level shift per symbol"
    )


def added_record(
    kind: FaultKind,
    spec: SimulationSpec,
    grid: Grid,
    before: SimulatedTick,
    last: SimulatedTick,
    publish_ns: int,
    generator: np.random.Generator,
) -> SimulatedTick:
    """The record of an added fault, published between the sound tick `last` and the next; `before` precedes `last`."""
    fresh = replace(last, timestamp_ns=publish_ns, publish_ns=publish_ns, sequence=None, fault=kind)
    match kind:
        case "non_finite_price":
            return replace(fresh, price=float(generator.choice([np.nan, np.inf, -np.inf])))
        case "non_positive_price":
            return replace(fresh, price=float(generator.choice([0.0, -last.price])))
        case "crossed_quote":
            return replace(fresh, bid=last.ask, ask=last.bid)
        case "duplicate":
            return replace(last, publish_ns=publish_ns, fault=kind)
        case "out_of_order":
            return replace(fresh, timestamp_ns=(before.timestamp_ns + last.timestamp_ns) // 2)
        case "future_stamp":
            return replace(fresh, timestamp_ns=publish_ns + seconds(spec.future_s))
        case "outlier":
            return moved(fresh, grid, either_way(last, grid, spec.outlier_fraction, generator))
        case "empty_symbol":
            return replace(fresh, symbol="", key=b"")
        case "oversized_symbol":
            # The key stays short: the record must pass the size limit of a broker for ingest to see it.
            return replace(fresh, symbol="X" * spec.oversized_symbol_bytes)
        case "garbage_bytes":
            return replace(fresh, raw=b"\xff" + generator.bytes(int(generator.integers(0, 200))))
        case "unknown_schema":
            return replace(fresh, raw=SINGLE_OBJECT_MAGIC + generator.bytes(8 + 64))
        case "truncated_avro":
            return replace(fresh, cut_bytes=int(generator.integers(8, 25)))
        case "tombstone":
            return replace(fresh, tombstone=True)
        case "sequence_gap" | "stale" | "level_shift" | "frozen_run" | "silence":
            raise ValueError(f"fault was {kind}, expected one that adds a record")


def either_way(tick: SimulatedTick, grid: Grid, fraction: float, generator: np.random.Generator) -> int:
    """A move by that fraction of the price, up or down, in grid steps."""
    return round(tick.price * fraction / grid.tick_size) * int(generator.choice([-1, 1]))


def moved(tick: SimulatedTick, grid: Grid, steps: int) -> SimulatedTick:
    """The tick with all of its prices moved by whole grid steps."""
    bid = None if tick.bid is None else grid.moved(tick.bid, steps)
    ask = None if tick.ask is None else grid.moved(tick.ask, steps)
    return replace(tick, price=grid.moved(tick.price, steps), bid=bid, ask=ask)


def seconds(value: float) -> int:
    """Seconds as nanoseconds."""
    return round(value * 1e9)
