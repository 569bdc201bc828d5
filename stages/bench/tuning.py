# SPDX-License-Identifier: MIT
"""`usp bench tuning`: automatic tuning beside none, on markets that change their regime.

Every market is forecast twice on the same ticks: with one configuration throughout, and with what happens when
`[tuning] auto` is on: the trigger, a search on the newest ticks, the new configuration under the eyes of the
governor's judge beside its shadow, and the way back if it does harm. All markets are lanes of one program.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from ...config.deployment import DeploymentSettings
from ...config.model import ModelConfig, packaged_defaults
from ...io.degradation import rmse
from ...io.simulated_market import sound_ticks
from ...io.simulation_spec import Regime, SymbolSpec
from ...io.simulator import MARKET, generator
from ...predictor import INPUT_COUNT, OUTPUTS, Inputs, split_time_ns, structure_of
from ...predictor.tuning import Series, objective
from ..epoch_window import REFERENCE_LENGTH
from ..fingerprint import prepare_jax
from ..judge import JUDGES, Observation
from ..lanes import LaneKey, Pool, ShadowKey, Step
from ..tuning.measure import measure_over, run_here
from ..tuning.space import Tier, changed, space_of
from ..tuning.study import Measure, Plan, essential, search
from ..tuning.ticks import walks_of
from ..tuning.trigger import LEAST_GAIN, Watch, follow, tuned

SEEDS = 20
TICKS = 2500
HISTORY = 700
TRIALS: dict[Tier, int] = {"fast": 10, "deep": 18}
BURN_IN = 500
REGIMES = (
    Regime(volatility=0.7, mean_ticks=300.0),
    Regime(drift=0.3, mean_ticks=300.0),
    Regime(drift=-0.3, mean_ticks=300.0),
    Regime(volatility=3.0, mean_ticks=200.0),
    Regime(reversion=0.15, mean_ticks=300.0),
)
SEASON = 24
SEASON_TICKS = 400
SEASON_NOISE = 0.02


@dataclass
class Kept:
    """The batches of a search that nobody will resume."""

    batches: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def append(self, document: Mapping[str, Any]) -> None:
        """Keep one."""
        self.batches.append(dict(document))


@dataclass
class Market:
    """One market with its governed configuration, and the errors with and without automatic tuning."""

    seed: int
    series: Series
    config: ModelConfig
    params: np.ndarray
    fixed_params: np.ndarray
    errors: list[float] = field(default_factory=list[float])
    fixed_errors: list[float] = field(default_factory=list[float])
    watch: Watch = field(default_factory=Watch)
    before: tuple[ModelConfig, np.ndarray] | None = None
    reference: float = 1.0
    observations: list[Observation] = field(default_factory=list[Observation])
    events: Counter[str] = field(default_factory=Counter[str])

    @property
    def governed(self) -> LaneKey:
        """The lane that is tuned."""
        return self.seed, "governed"

    @property
    def fixed(self) -> LaneKey:
        """The lane that is not."""
        return self.seed, "fixed"

    @property
    def shadow(self) -> LaneKey:
        """The lane of the configuration before, while a change is judged."""
        return ShadowKey(self.seed, "governed")

    @property
    def change(self) -> float:
        """Share by which tuning changed the RMSE; negative is better."""
        return rmse(self.errors[BURN_IN:]) / rmse(self.fixed_errors[BURN_IN:]) - 1.0


def bench_tuning(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """SEEDS markets of TICKS ticks for each scenario."""
    prepare_jax(settings.paths.resolved("cache_dir"))
    found: dict[str, object] = {"markets": SEEDS, "ticks": TICKS}
    fixed: dict[str, list[float]] = {}
    with Progress(console=console) as progress:
        for scenario in SCENARIOS:
            markets = played(scenario, progress)
            found |= figures(scenario.name, markets)
            fixed[scenario.name] = [rmse(market.fixed_errors[BURN_IN:]) for market in markets]
    ratios = [mis_set / packaged - 1.0 for mis_set, packaged in zip(fixed["mis_set"], fixed["packaged"], strict=True)]
    return found | {"mis_set_costs_mean": math.fsum(ratios) / SEEDS, "mis_set_costs_worst": max(ratios)}


def played(scenario: "Scenario", progress: Progress) -> list[Market]:
    """All markets of a scenario, from their first tick to their last."""
    config = changed(packaged_defaults(), scenario.start)
    pool = Pool(structure_of(config, "R"))
    markets = [opened(scenario.market(seed, TICKS), seed, config, pool) for seed in range(SEEDS)]
    for tick in progress.track(range(TICKS), description=scenario.name):
        advance(markets, pool, tick)
    return markets


def opened(series: Series, seed: int, config: ModelConfig, pool: Pool) -> Market:
    """A market at its first tick, in two lanes that begin alike."""
    params = pool.program.params(config, series.symbol)
    market = Market(seed, series, config, params, params)
    for lane in (market.governed, market.fixed):
        pool.put(lane, pool.program.init_column(config, series.symbol))
    return market


def simulated(seed: int, ticks: int) -> Series:
    """A market of bounces, clustered volatility, jumps and regimes, all ticks accepted."""
    spec = SymbolSpec(symbol=f"R{seed}", regimes=REGIMES)
    sound = list(islice(sound_ticks(spec, generator(seed, MARKET, spec.symbol)), ticks))
    return series_of(spec.symbol, [each.price for each in sound], [each.interval for each in sound])


def seasonal(seed: int, ticks: int) -> Series:
    """A market with a season that forecasts learn almost without error, and another one from time to time."""
    random = np.random.default_rng(seed)
    seasons = random.standard_normal((math.ceil(ticks / SEASON_TICKS), SEASON))
    rows = np.arange(ticks)
    prices = 100.0 + seasons[rows // SEASON_TICKS, rows % SEASON] + SEASON_NOISE * random.standard_normal(ticks)
    return series_of(f"R{seed}", prices.tolist(), [1.0] * ticks)


def series_of(symbol: str, prices: Sequence[float], intervals_s: Sequence[float]) -> Series:
    """Accepted ticks at these prices, so many seconds after each other."""
    inputs, time_s = np.zeros((len(prices), INPUT_COUNT)), 0.0
    inputs[:, Inputs.ACTIVE] = inputs[:, Inputs.ACCEPT] = 1.0
    for row, (price, interval_s) in enumerate(zip(prices, intervals_s, strict=True)):
        time_s += interval_s
        inputs[row, Inputs.PRICE] = price
        inputs[row, [Inputs.TIME_S, Inputs.TIME_REMAINDER_NS]] = split_time_ns(round(time_s * 1e9))
    return Series(symbol, inputs)


@dataclass(frozen=True)
class Scenario:
    """A family of markets, and what differs from the packaged configuration when they begin."""

    name: str
    market: Callable[[int, int], Series]
    start: Mapping[str, float]


SCENARIOS = (
    Scenario("packaged", simulated, {}),
    Scenario(
        "mis_set",
        simulated,
        {"orchestration.cusum_k": 0.1, "orchestration.cusum_h": 2.0, "orchestration.grace_period_steps": 100},
    ),
    Scenario(
        "seasonal_mis_set",
        seasonal,
        {"orchestration.cusum_k": 0.25, "orchestration.cusum_h": 4.0, "orchestration.grace_period_steps": 100},
    ),
    Scenario("seasonal_nervous", seasonal, {"orchestration.cusum_k": 0.1, "orchestration.cusum_h": 2.0}),
)


def advance(markets: Sequence[Market], pool: Pool, tick: int) -> None:
    """One tick of every market, then what the watchers make of it."""
    steps: list[Step] = []
    for market in markets:
        inputs = market.series.inputs[tick].tolist()
        steps += [Step(market.governed, market.params, inputs), Step(market.fixed, market.fixed_params, inputs)]
        if market.before is not None:
            steps.append(Step(market.shadow, market.before[1], inputs))
    rows = {step.key: row for step, row in zip(steps, pool.advance(steps), strict=True)}
    for market in markets:
        row = rows[market.governed]
        error = row[OUTPUTS.last_prediction_error]
        if tick:
            market.errors.append(error)
            market.fixed_errors.append(rows[market.fixed][OUTPUTS.last_prediction_error])
        market.watch = follow(market.watch, tick, error, row[OUTPUTS.regime_changed] > 0.5)
        if market.before is not None:
            judged(market, error, rows[market.shadow][OUTPUTS.last_prediction_error], pool)
        elif market.watch.is_due and tick >= HISTORY:
            market.watch = tuned(market.watch)
            tune(market, tick, pool)


def tune(market: Market, tick: int, pool: Pool) -> None:
    """Search on the newest ticks; what is better there goes into force beside its shadow."""
    market.events["tunings"] += 1
    newest = Series(market.series.symbol, market.series.inputs[tick + 1 - HISTORY : tick + 1])
    walk = walks_of([newest], market.config)
    measure, on_newest = measure_over(walk.searched, run_here), measure_over(walk.held_out, run_here)
    config = better(market.config, measure, "fast") or better(market.config, measure, "deep")
    if config is None:
        return
    now, then = (objective("rmse", cells) for cells in on_newest([market.config, config]))
    if then >= now:
        market.events["not_confirmed"] += 1
        return
    market.events["changes"] += 1
    pool.put(market.shadow, pool.columns([market.governed])[market.governed])
    market.before, market.observations = (market.config, market.params), []
    market.reference = rmse(market.errors[-REFERENCE_LENGTH:])
    market.config, market.params = config, pool.program.params(config, market.series.symbol)


def better(config: ModelConfig, measure: Measure, tier: Tier) -> ModelConfig | None:
    """What a search of this tier finds, None if it is no better than what there is."""
    plan = Plan(config, space_of(config, tier, structural=False), "rmse", TRIALS[tier])
    *_, state = search(plan, measure, Kept())
    if state.best is None or state.best.value > state.current * (1.0 - LEAST_GAIN):
        return None
    return changed(config, essential(plan, state.best.values, state.best.value, measure))


def judged(market: Market, error: float, shadow_error: float, pool: Pool) -> None:
    """Ask the governor's default judge; a rollback makes the shadow the live lane."""
    scale = market.reference
    market.observations.append(Observation(market.series.symbol, error / scale, 1.0, shadow_error / scale))
    judgement = JUDGES["shadow"].judge(market.observations[1:], False)  # the first forecast was made before the change
    if judgement is None or market.before is None:
        return
    market.events[judgement.verdict] += 1
    if judgement.verdict == "rolled_back":
        column = pool.columns([market.shadow])[market.shadow]
        pool.remove(market.governed)
        pool.put(market.governed, column)
        market.config, market.params = market.before
    pool.remove(market.shadow)
    market.before = None


def figures(name: str, markets: Sequence[Market]) -> dict[str, object]:
    """What tuning did to the errors, over all markets and at its worst."""
    changes = [market.change for market in markets]
    events = sum((market.events for market in markets), Counter[str]())
    return {
        f"{name}_events": dict(sorted(events.items())),
        f"{name}_mean_change_of_rmse": math.fsum(changes) / len(changes),
        f"{name}_best_change": min(changes),
        f"{name}_worst_change": max(changes),
        f"{name}_never_worse_than_1_percent": max(changes) <= 0.01,
    }
