# SPDX-License-Identifier: MIT
"""The sound ticks of one simulated symbol, before any fault is planted.

log m(k) = log m(k-1) + drift + regime volatility * r(k) - reversion + jump(k)     efficient price, by tick
r(k) = sqrt(h(k)) z(k),   h(k) = 1 - a - b + a r(k-1)^2 + b h(k-1)                 volatility clusters
trade price = m (1 +- half spread), on the grid                                    bid-ask bounce
bid, ask = m (1 -+ half spread), each side flickering by itself, on the grid       noise of the mid
interval(k) = psi(k) e(k),  psi(k) = 1 - a - b + a interval(k-1) + b psi(k-1)      clustered arrivals

Bollerslev (1986) for h; Merton (1976) for jumps; Roll (1984) for the bounce; Engle and Russell (1998), ACD(1,1).
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .price_grid import Grid
from .simulation_spec import Regime, SymbolSpec

BLOCK = 1024  # ticks whose random numbers are drawn at once
HOMING = 1e-5  # pull towards the start price per tick, so that endless runs keep prices of a sane size


class SoundTick(NamedTuple):
    """A tick on the grid; `price` is the trade or the mid, and `interval` the time since the last, 1 on average."""

    interval: float
    price: float
    bid: float | None
    ask: float | None
    size: float | None


class Draws(NamedTuple):
    """The random numbers of one tick: standard normal, exponential of mean 1, or uniform on [0, 1)."""

    shock: float
    wait: float
    jumps: float
    jump: float
    switches: float
    regime: float
    side: float
    near: float
    far: float
    size: float


class Arrivals:
    """Clustered waiting times, ACD(1,1) with exponential innovations and mean 1."""

    def __init__(self, spec: SymbolSpec) -> None:
        self.alpha, self.beta = spec.acd_alpha, spec.acd_beta
        self.expected = self.interval = 1.0

    def advance(self, draws: Draws) -> float:
        """The next interval."""
        self.expected = 1 - self.alpha - self.beta + self.alpha * self.interval + self.beta * self.expected
        self.interval = self.expected * draws.wait
        return self.interval


class EfficientPrice:
    """What the instrument is worth: GARCH returns, jumps, and regimes of drift, volatility and reversion."""

    def __init__(self, spec: SymbolSpec) -> None:
        self.spec = spec
        self.regime: Regime = spec.regimes[0]
        self.deviation = self.anchor = 0.0  # of the log price from its start; anchor: where the regime began
        self.variance, self.shock = 1.0, 0.0

    def advance(self, draws: Draws) -> float:
        """The next price, in units of the start price."""
        spec = self.spec
        if draws.switches * self.regime.mean_ticks < 1:
            self.regime = spec.regimes[int(draws.regime * len(spec.regimes))]
            self.anchor = self.deviation
        alpha, beta = spec.garch_alpha, spec.garch_beta
        self.variance = 1 - alpha - beta + alpha * self.shock**2 + beta * self.variance
        self.shock = math.sqrt(self.variance) * draws.shock
        move = self.regime.drift + self.regime.volatility * self.shock
        if draws.jumps < spec.jump_probability:
            move += spec.jump_volatility * draws.jump
        pull = self.regime.reversion * (self.deviation - self.anchor) + HOMING * self.deviation
        self.deviation += spec.volatility * move - pull
        return math.exp(self.deviation)


def sound_ticks(spec: SymbolSpec, generator: np.random.Generator) -> Iterator[SoundTick]:
    """An endless stream; the ticks do not depend on how many of them are read."""
    grid, arrivals, efficient = Grid(spec.tick_size), Arrivals(spec), EfficientPrice(spec)
    show = trade if spec.kind == "trade" else quote
    for draws in random_numbers(generator):
        yield show(spec, grid, draws, arrivals.advance(draws), spec.start_price * efficient.advance(draws))


def trade(spec: SymbolSpec, grid: Grid, draws: Draws, interval: float, efficient: float) -> SoundTick:
    """A trade at the bid or at the ask, by the flip of a coin; how deep it reaches varies."""
    side = 1 if draws.side < 0.5 else -1
    reach = spec.trade_half_spread * spec.volatility * (0.5 + draws.near)
    steps = max(1, round(efficient * (1 + side * reach) / spec.tick_size))
    return SoundTick(interval, grid.price(steps), None, None, lot(draws))


def quote(spec: SymbolSpec, grid: Grid, draws: Draws, interval: float, efficient: float) -> SoundTick:
    """Both sides of the book, each at its own flickering distance."""
    width = spec.quote_half_spread * spec.volatility
    bid = max(1, math.floor(efficient * (1 - width * (0.2 + 1.6 * draws.near)) / spec.tick_size))
    ask = max(bid + 1, math.ceil(efficient * (1 + width * (0.2 + 1.6 * draws.far)) / spec.tick_size))
    return SoundTick(interval, grid.mid(bid, ask), grid.price(bid), grid.price(ask), None)


def lot(draws: Draws) -> float:
    """A log-normal size in thousandths."""
    return max(0.001, round(math.exp(draws.size), 3))


def random_numbers(generator: np.random.Generator) -> Iterator[Draws]:
    """Endless draws, made in blocks of one length whatever the length of the simulation."""
    while True:
        normal = {name: generator.standard_normal(BLOCK).tolist() for name in ("shock", "jump", "size")}
        uniform = {
            name: generator.random(BLOCK).tolist() for name in ("jumps", "switches", "regime", "side", "near", "far")
        }
        columns = {**normal, **uniform, "wait": generator.standard_exponential(BLOCK).tolist()}
        yield from map(Draws, *(columns[name] for name in Draws._fields))
