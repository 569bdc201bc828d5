# SPDX-License-Identifier: MIT
"""One tuning from ticks to an answer: search, keep what matters, confirm on rows that the search never saw."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...io.trial_log import opened
from ...predictor.tuning import Series, objective
from ..fingerprint import build_fingerprint
from .measure import measure_over, runner
from .space import Number, Tier, changed
from .study import LEAST_IMPROVEMENT, Measure, Plan, Search, essential, search
from .ticks import Walk, digest


@dataclass(frozen=True)
class Tuning:
    """What a tuning is asked to do."""

    plan: Plan
    tier: Tier
    walk: Walk
    series: Sequence[Series]
    workers: int
    study: Path
    cache_dir: Path
    resume: bool


@dataclass(frozen=True)
class Found:
    """The answer. `changes` are worth a proposal exactly if `is_better`."""

    tuning: Tuning
    search: Search
    changes: Mapping[str, Number]
    value: float
    held_out_current: float
    held_out: float

    @property
    def gain(self) -> float:
        """Share by which the objective falls in the search."""
        return 1.0 - self.value / self.search.current if self.search.current > 0.0 else 0.0

    @property
    def is_better(self) -> bool:
        """Better by enough in the search, and better on the newest rows too, which played no part in it."""
        enough = self.value < self.search.current - LEAST_IMPROVEMENT
        return bool(self.changes) and enough and self.held_out < self.held_out_current

    def document(self) -> dict[str, Any]:
        """For people, machines and files."""
        plan, walk = self.tuning.plan, self.tuning.walk
        return {
            "tier": self.tuning.tier,
            "objective": plan.objective,
            "trials": len(self.search.trials),
            "symbols": [series.symbol for series, _ in walk.held_out],
            "left_out": {**walk.left_out, **plan.space.left_out},
            "current": self.search.current,
            "best": self.value,
            "held_out_current": self.held_out_current,
            "held_out_best": self.held_out,
            "is_better": self.is_better,
            "changes": dict(self.changes),
            "config_hash": plan.config.content_hash,
            "study": str(self.tuning.study),
        }


def header_of(plan: Plan, tier: Tier, walk: Walk, series: Sequence[Series]) -> dict[str, Any]:
    """What must be equal for two runs to be one search; the number of trials is not part of it."""
    return {
        "tier": tier,
        "objective": plan.objective,
        "config_hash": plan.config.content_hash,
        "ticks": digest(series),
        "walks": len(walk.searched),
        "space": [[d.key, d.low, d.high, d.is_log, list(d.choices)] for d in plan.space.dimensions],
        "optuna": version("optuna"),
        "build": build_fingerprint(True, plan.config.core.lane_width),
    }


def study_name(header: Mapping[str, Any]) -> str:
    """A file name of its own for each search."""
    return f"{header['tier']}-{sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()[:12]}.jsonl"


def run(tuning: Tuning) -> Iterator[Search | Found]:
    """Progress after each batch, then the answer as the last item."""
    plan, walk = tuning.plan, tuning.walk
    header = header_of(plan, tuning.tier, walk, tuning.series)
    with (
        opened(tuning.study, header, resume=tuning.resume) as log,
        runner(tuning.workers, tuning.cache_dir) as run_groups,
    ):
        measure, on_newest = measure_over(walk.searched, run_groups), measure_over(walk.held_out, run_groups)
        state: Search | None = None
        for state in search(plan, measure, log):
            yield state
        if state is not None:
            yield concluded(tuning, state, measure, on_newest)


def concluded(tuning: Tuning, state: Search, measure: Measure, on_newest: Measure) -> Found:
    """The best trial without what does nothing, and its objective on the rows that were held out."""
    plan, best = tuning.plan, state.best
    changes: Mapping[str, Number] = {}
    if best is not None and best.value < state.current - LEAST_IMPROVEMENT:
        changes = essential(plan, best.values, best.value, measure)
    candidates = [plan.config, changed(plan.config, changes)]
    newest = [objective(plan.objective, cells) for cells in on_newest(candidates)]
    value = objective(plan.objective, measure(candidates[1:])[0]) if changes else state.current
    return Found(tuning, state, changes, value, newest[0], newest[1])
