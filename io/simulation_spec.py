# SPDX-License-Identifier: MIT
"""What a simulation is asked for: symbols, rate, length and planted faults, all as plain frozen values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

FaultKind: TypeAlias = Literal[
    "non_finite_price",
    "non_positive_price",
    "crossed_quote",
    "duplicate",
    "out_of_order",
    "sequence_gap",
    "stale",
    "future_stamp",
    "outlier",
    "level_shift",
    "frozen_run",
    "silence",
    "empty_symbol",
    "oversized_symbol",
    "garbage_bytes",
    "unknown_schema",
    "truncated_avro",
    "tombstone",
]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)


@dataclass(frozen=True, kw_only=True)
class Regime:
    """A mood of the market; drift and volatility in units of `SymbolSpec.volatility` per tick."""

    drift: float = 0.0
    volatility: float = 1.0
    reversion: float = 0.0  # share of the way back to where the regime began, per tick
    mean_ticks: float = 600.0  # expected length; lengths are geometric


REGIMES = (
    Regime(volatility=0.7),
    Regime(drift=0.05),
    Regime(drift=-0.05),
    Regime(volatility=2.0, mean_ticks=250.0),
    Regime(reversion=0.05),
)


@dataclass(frozen=True, kw_only=True)
class SymbolSpec:
    """One instrument. The defaults make bounce and grid about as large as the moves of the efficient price."""

    symbol: str
    venue: str = "SIM"
    kind: Literal["trade", "quote"] = "trade"
    start_price: float = 300.0
    tick_size: float = 0.01
    activity: float = 1.0  # share of the ticks, relative to the other symbols
    volatility: float = 1e-4  # standard deviation of a log return per tick, jumps and regimes aside
    trade_half_spread: float = 1.1  # in units of volatility, on average
    quote_half_spread: float = 4.0  # in units of volatility, on average; each side flickers around it
    garch_alpha: float = 0.08
    garch_beta: float = 0.90
    jump_probability: float = 0.001  # per tick
    jump_volatility: float = 8.0  # standard deviation of a jump, in units of volatility
    acd_alpha: float = 0.10
    acd_beta: float = 0.80
    regimes: tuple[Regime, ...] = REGIMES

    def __post_init__(self) -> None:
        require(0 < len(self.symbol.encode()) <= 128, "symbol", self.symbol, "1 to 128 bytes of UTF-8")
        for name in ("start_price", "tick_size", "activity", "volatility"):
            require_positive(name, getattr(self, name))
        require(self.tick_size < self.start_price / 10, "tick_size", self.tick_size, "less than a tenth of start_price")
        for name in ("garch", "acd"):
            alpha, beta = getattr(self, f"{name}_alpha"), getattr(self, f"{name}_beta")
            sound = alpha >= 0 and beta >= 0 and alpha + beta < 1
            require(sound, f"{name}_alpha, {name}_beta", (alpha, beta), ">= 0 with a sum below 1")
        require(0 <= self.jump_probability <= 1, "jump_probability", self.jump_probability, "within 0 and 1")
        require(len(self.regimes) > 0, "regimes", self.regimes, "at least one regime")


@dataclass(frozen=True, kw_only=True)
class SimulationSpec:
    """A whole simulation. Times are real ones: the stream is meant to be published at `rate_per_s` as it is."""

    symbols: tuple[SymbolSpec, ...]
    ticks: int  # sound ticks of all symbols together; records that faults add come on top
    rate_per_s: float  # sound ticks per second of all symbols together, pauses aside
    faults: Mapping[FaultKind, int] = field(default_factory=lambda: MappingProxyType({}))  # how often each is planted
    warm_up_ticks: int = 256  # of each symbol, before its first fault: ingest needs a history to judge by
    stale_s: float = 2.0  # how late a stale tick is published
    future_s: float = 60.0  # how far ahead of its publication a future stamp is
    silence_s: float = 25.0  # longer than ingest waits with its defaults (20 nominal intervals of 1 s)
    outlier_fraction: float = 0.5  # of the price
    level_shift_fraction: float = 0.4  # of the price
    frozen_ticks: int = 12  # ticks that repeat the price of the one before
    sequence_gap: int = 5  # numbers that are skipped
    oversized_symbol_bytes: int = 1_000_000

    def __post_init__(self) -> None:
        names = [symbol.symbol for symbol in self.symbols]
        require(len(names) > 0, "symbols", names, "at least one symbol")
        require(len(set(names)) == len(names), "symbols", names, "each symbol once")
        require(self.ticks >= len(names), "ticks", self.ticks, f"at least one for each of the {len(names)} symbols")
        for name in ("rate_per_s", "stale_s", "future_s", "silence_s", "outlier_fraction", "level_shift_fraction"):
            require_positive(name, getattr(self, name))
        for name in ("outlier_fraction", "level_shift_fraction"):
            require(getattr(self, name) < 1, name, getattr(self, name), "below 1, so that a fall stays above zero")
        require(self.warm_up_ticks >= 2, "warm_up_ticks", self.warm_up_ticks, "at least 2")
        for name in ("frozen_ticks", "sequence_gap", "oversized_symbol_bytes"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for kind, times in self.faults.items():
            require(kind in FAULT_KINDS, "faults", kind, f"one of {', '.join(FAULT_KINDS)}")
            require(times >= 0, f"faults[{kind}]", times, "0 or more")


def ticks_by_symbol(spec: SimulationSpec) -> dict[str, int]:
    """The sound ticks of each symbol, by activity; they add up to `spec.ticks`."""
    total = sum(symbol.activity for symbol in spec.symbols)
    counts: dict[str, int] = {}
    given, reached = 0, 0.0
    for symbol in spec.symbols:
        reached += symbol.activity
        upto = round(spec.ticks * reached / total)
        counts[symbol.symbol], given = upto - given, upto
    return counts


def mean_interval_ns(spec: SimulationSpec, symbol: SymbolSpec) -> float:
    """Expected time between two ticks of a symbol."""
    total = sum(other.activity for other in spec.symbols)
    return 1e9 / spec.rate_per_s * total / symbol.activity


def every_fault(times: int) -> dict[FaultKind, int]:
    """Each kind of fault, planted that often."""
    return dict.fromkeys(FAULT_KINDS, times)


def market(symbols: int) -> tuple[SymbolSpec, ...]:
    """A varied set of symbols: trades and quotes by turns, different prices, grids, venues and activity."""
    return tuple(
        SymbolSpec(
            symbol=f"SIM{number:02d}",
            venue=("SIMX", "SIMY")[number % 3 == 0],
            kind=("trade", "quote")[number % 2],
            start_price=price,
            tick_size=price / 30_000,
            activity=1.0 + (number % 4) / 2,
        )
        for number, price in ((number, (300.0, 60.0, 15_000.0, 3.0)[number % 4]) for number in range(symbols))
    )


def require(sound: bool, name: str, found: object, expected: str) -> None:
    """A ValueError that says what was found and what was expected."""
    if not sound:
        raise ValueError(f"{name} was {found!r}, expected {expected}")


def require_positive(name: str, value: float) -> None:
    """Finite and above zero."""
    require(math.isfinite(value) and value > 0, name, value, "a finite number above 0")
