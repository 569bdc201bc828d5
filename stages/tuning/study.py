# SPDX-License-Identifier: MIT
"""The search for better parameters: TPE over the space that one step may reach, measured by walk-forward.

Each batch of candidates is drawn by a sampler that is made anew from the root seed, the batch's number and the trials
before it. So there is no hidden state: a search that was interrupted and resumed draws, bit for bit, what one without
interruption would have drawn; and how many workers measure changes nothing.
Bergstra et al. (2011), Algorithms for Hyper-Parameter Optimization.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from ...config.errors import ConfigError
from ...config.model import ModelConfig
from ...io.mutation_rules import ConfigMutationError
from ...predictor.tuning import Cell, objective
from .space import Dimension, Number, Space, changed, changes_of

BATCH = 8
LEAST_IMPROVEMENT = 1e-4
PATIENCE_TRIALS = 50

Measure = Callable[[Sequence[ModelConfig]], list[list[Cell]]]


class UnlikeRecord(ValueError):
    """A recorded batch is not the one that this search draws."""


class Log(Protocol):
    """Where batches are kept; `batches` are those of an earlier run."""

    @property
    def batches(self) -> list[dict[str, Any]]: ...
    def append(self, document: Mapping[str, Any], /) -> None: ...


@dataclass(frozen=True)
class Plan:
    """What is searched, and when it is enough; batches are always whole, so a few more trials than these may be made.

    Thus a search for fewer trials that is resumed for more is the search for more.
    """

    config: ModelConfig
    space: Space
    objective: str
    trials: int
    patience: int = PATIENCE_TRIALS


@dataclass(frozen=True)
class Trial:
    """One candidate: the values of the searched keys and its objective, infinite if it cannot be used."""

    number: int
    params: Mapping[str, Number]
    values: Mapping[str, Number]
    value: float


@dataclass
class Search:
    """A search in progress: the present configuration's objective, and the trials so far."""

    plan: Plan
    current: float
    trials: list[Trial] = field(default_factory=list[Trial])

    @property
    def best(self) -> Trial | None:
        """The best usable trial; the first of equals."""
        usable = [trial for trial in self.trials if math.isfinite(trial.value)]
        return min(usable, key=lambda trial: trial.value, default=None)

    @property
    def is_over(self) -> bool:
        """All trials are made, or none of the last ones improved enough."""
        return len(self.trials) >= self.plan.trials or self.stale >= self.plan.patience

    @property
    def stale(self) -> int:
        """Trials since the last improvement of more than LEAST_IMPROVEMENT."""
        reference, since = self.current, 0
        for trial in self.trials:
            if trial.value < reference - LEAST_IMPROVEMENT:
                reference, since = trial.value, 0
            else:
                since += 1
        return since


def search(plan: Plan, measure: Measure, log: Log) -> Iterator[Search]:
    """Run the search; yields after the present configuration and after each batch, all of it being recorded by then.

    Batches of an earlier run are taken from the log. UnlikeRecord if they are not those of this search.
    """
    recorded = iter(list(log.batches))
    first = next(recorded, None)
    if first is None:
        value = objective(plan.objective, measure([plan.config])[0])
        first = {"current": value if math.isfinite(value) else None}
        log.append(first)
    if "current" not in first:
        raise UnlikeRecord("found no objective of the present configuration in the first batch; remove the file")
    state = Search(plan, number_of(first["current"]))
    yield state
    while not state.is_over:
        drawn = draw(plan, state)
        stored = next(recorded, None)
        if stored is None:
            stored = measured(plan, drawn, measure, len(state.trials))
            log.append(stored)
        state.trials += taken(stored, drawn, state)
        yield state


def draw(plan: Plan, state: Search) -> list[dict[str, Number]]:
    """The next batch as sampled parameters; a pure function of the trials so far."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    settings, done = plan.config.meta_optimization, len(state.trials)
    sampler = optuna.samplers.TPESampler(
        multivariate=settings.multivariate,
        n_startup_trials=settings.n_startup_trials,
        constant_liar=True,
        seed=batch_seed(plan.config.core.prng_seed, done),
    )
    study = optuna.create_study(sampler=sampler, direction="minimize")
    space = {dimension.key: distribution(dimension) for dimension in plan.space.dimensions}
    states = optuna.trial.TrialState
    for trial in state.trials:
        is_usable = math.isfinite(trial.value)
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(trial.params),
                distributions=space,
                value=trial.value if is_usable else None,
                state=states.COMPLETE if is_usable else states.FAIL,
            )
        )
    # The random start-up is one batch of its own, so that every later draw knows all of it.
    size = settings.n_startup_trials if done == 0 else BATCH
    return [cast("dict[str, Number]", study.ask(space).params) for _ in range(size)]


def batch_seed(root: int, done: int) -> int:
    """32 bits that name a batch of a search."""
    return int.from_bytes(hashlib.sha256(f"{root}/{done}".encode()).digest()[:4], "little")


def distribution(dimension: Dimension) -> Any:
    """The dimension as Optuna knows it; a choice is drawn by its place in the list."""
    from optuna.distributions import FloatDistribution, IntDistribution

    if dimension.choices:
        return IntDistribution(0, len(dimension.choices) - 1)
    if dimension.is_whole:
        return IntDistribution(int(dimension.low), int(dimension.high))
    return FloatDistribution(dimension.low, dimension.high, log=dimension.is_log)


def values_of(space: Space, params: Mapping[str, Number]) -> dict[str, Number]:
    """Configuration values of sampled parameters."""
    return {d.key: d.choices[int(params[d.key])] if d.choices else params[d.key] for d in space.dimensions}


def measured(plan: Plan, drawn: Sequence[Mapping[str, Number]], measure: Measure, first: int) -> dict[str, Any]:
    """A batch with its objectives, ready to be recorded; None stands for a candidate that cannot be used."""
    configs: dict[int, ModelConfig] = {}
    for place, params in enumerate(drawn):
        try:
            configs[place] = changed(plan.config, changes_of(plan.space, values_of(plan.space, params)))
        except (ConfigError, ConfigMutationError):
            continue  # keys that fit one by one and not together
    found = {
        place: objective(plan.objective, cells)
        for place, cells in zip(configs, measure([*configs.values()]), strict=True)
    }
    usable = {place: value for place, value in found.items() if math.isfinite(value)}
    return {"first": first, "trials": [{"params": dict(p), "value": usable.get(i)} for i, p in enumerate(drawn)]}


def taken(batch: Mapping[str, Any], drawn: Sequence[Mapping[str, Number]], state: Search) -> list[Trial]:
    """The trials of a recorded batch, which must be the one that was drawn."""
    trials = batch.get("trials", [])
    if batch.get("first") != len(state.trials) or [trial.get("params") for trial in trials] != [*drawn]:
        raise UnlikeRecord(
            f"the recorded trials from number {len(state.trials)} on are not those that this search draws: the file was"
            " changed, or another version made it. Remove the file and start again"
        )
    space, first = state.plan.space, len(state.trials)
    return [
        Trial(first + place, params, values_of(space, params), number_of(trial["value"]))
        for place, (params, trial) in enumerate(zip(drawn, trials, strict=True))
    ]


def number_of(value: float | None) -> float:
    """JSON has no infinity: null is a candidate that cannot be used."""
    return math.inf if value is None else float(value)


def essential(plan: Plan, best: Mapping[str, Number], value: float, measure: Measure) -> dict[str, Number]:
    """The changes without those that do nothing: each is taken back alone, and what is no worse stays taken back.

    A proposal should name what matters: structural keys cost a migration, and every change must be understood.
    """
    changes = changes_of(plan.space, best)
    without = [{k: v for k, v in changes.items() if k != key} for key in changes]
    values = [objective(plan.objective, cells) for cells in measure([changed(plan.config, w) for w in without])]
    idle = {key for key, other in zip(changes, values, strict=True) if other <= value + LEAST_IMPROVEMENT / 10}
    kept = {key: v for key, v in changes.items() if key not in idle}
    if not idle or not kept:
        return changes
    together = objective(plan.objective, measure([changed(plan.config, kept)])[0])
    return kept if together <= value + LEAST_IMPROVEMENT else changes
