# SPDX-License-Identifier: MIT
"""Changes of configuration whose effect is known, seen through the eyes of the governor's judge.

Errors have Student tails and GARCH volatility, and the market's volatility shifts somewhere in the window: the judge
must not take a market that turned wild for a configuration that turned bad. Old and new configuration err on the same
ticks; their errors share what nobody can forecast and differ by what each does by itself.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ...io.degradation import rmse
from ..epoch_window import Window, widened
from ..judge import Judge, Judgement, Observation

BEFORE = 100
GARCH_ALPHA, GARCH_BETA = 0.10, 0.85
LARGEST_SHIFT = 4.0
OWN_SHARE = (0.0, 0.2)  # of an error's variance: what one configuration does and the other does not
DEGREES = (3.0, 5.0, math.inf)
SYMBOLS = (1, 2, 4, 8)
PERSISTENCE = (0.0, 0.5, 0.9)  # of what one configuration does by itself: forecasts differ for a while, not for a tick


class Market(NamedTuple):
    """What one simulated change meets."""

    symbols: int
    degrees: float
    shift: float
    own_share: float
    persistence: float


class Errors(NamedTuple):
    """Errors [ticks, symbols] before the change, and of both configurations on the same ticks after it."""

    before: np.ndarray
    old: np.ndarray
    new: np.ndarray


def markets(generator: np.random.Generator) -> Iterator[Market]:
    """Endless: one to eight symbols, light to heavy tails, volatility shifts by up to a factor of four either way."""
    while True:
        shift = float(np.exp(generator.uniform(-1.0, 1.0) * math.log(LARGEST_SHIFT)))
        yield Market(
            symbols=int(generator.choice(SYMBOLS)),
            degrees=float(generator.choice(DEGREES)),
            shift=shift if generator.random() < 0.75 else 1.0,
            own_share=float(generator.uniform(*OWN_SHARE)),
            persistence=float(generator.choice(PERSISTENCE)),
        )


def errors(market: Market, damage: float, ticks: int, generator: np.random.Generator) -> Errors:
    """Errors of a change that raises the RMSE by the share `damage`; 0 is another configuration that is as good."""
    shape = (BEFORE + ticks, market.symbols)
    sigma = volatility(shape, generator)
    turn = BEFORE + int(generator.integers(0, ticks))
    sigma[turn:] *= market.shift
    common = math.sqrt(1.0 - market.own_share) * tailed(market.degrees, shape, generator)
    own, others, harm = (persistent(tailed(market.degrees, shape, generator), market.persistence) for _ in range(3))
    own, others = math.sqrt(market.own_share) * own, math.sqrt(market.own_share) * others
    harm = math.sqrt((1.0 + damage) ** 2 - 1.0) * harm
    old, new = sigma * (common + own), sigma * (common + others + harm)
    return Errors(old[:BEFORE], old[BEFORE:], new[BEFORE:])


def tailed(degrees: float, shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Random numbers of variance 1 with Student tails; infinite degrees are Gaussian."""
    if math.isinf(degrees):
        return generator.standard_normal(shape)
    return generator.standard_t(degrees, shape) * math.sqrt((degrees - 2.0) / degrees)


def persistent(shocks: np.ndarray, persistence: float) -> np.ndarray:
    """The shocks as a stationary first-order autoregression of the same variance."""
    result = shocks.copy()
    for t in range(1, len(shocks)):
        result[t] = persistence * result[t - 1] + math.sqrt(1.0 - persistence**2) * shocks[t]
    return result


def volatility(shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Clustered volatility around 1, GARCH(1,1), each symbol with its own scale."""
    shocks = generator.standard_normal(shape)
    variance = np.ones(shape)
    for t in range(1, shape[0]):
        pushed = GARCH_ALPHA * variance[t - 1] * shocks[t - 1] ** 2
        variance[t] = 1.0 - GARCH_ALPHA - GARCH_BETA + pushed + GARCH_BETA * variance[t - 1]
    return np.sqrt(variance) * np.exp(generator.uniform(-3.0, 3.0, shape[1]))


def watched(judge: Judge, found: Errors) -> Judgement:
    """What the judge says when it is asked after every prediction, as the governor asks it."""
    ticks, symbols = found.new.shape
    scales = [rmse(found.before[:, s].tolist()) for s in range(symbols)]
    window = Window(1, 0)
    for t in range(ticks):
        for s in range(symbols):
            scale = scales[s]
            seen = Observation(f"S{s}", float(found.new[t, s] / scale), 1.0, float(found.old[t, s] / scale))
            before, window = window, widened(window, seen, judge.window, symbols)
            judgement = None if window is before else judge.judge(window.observations, False)
            if judgement is not None:
                return judgement
    judgement = judge.judge(window.observations, True)
    return judgement or Judgement("inconclusive", None, 0, None, None, "no verdict")
