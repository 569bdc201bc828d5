# SPDX-License-Identifier: MIT
"""`usp chaos`: a pipeline of real processes is fed and hurt for some time; then three witnesses are heard.

1. `verifier.py`, which shares no code with the pipeline: nothing lost, doubled, out of order or misnamed.
2. A replay of each partition from its first offset in this undisturbed process: every prediction has the same bytes,
   and so has the state at every snapshot that is on disk.
3. The hash chain of the parity log.

The faults follow from the seed; when they strike follows from the machine.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ...config.deployment import DeploymentSettings
from .faults import FAULTS, OF_THE_NETWORK, drawn
from .feed import Feed
from .growth import Growth, Peaks
from .pipeline import compare_bits, hurtable_pipeline, parity_problems, settled, wait_ready, watching
from .scene import Scene
from .verifier import Verdict

CALM_S = (0.2, 3.0)
OVERLAP = 0.25
RATE_PER_S = 100.0
SOAK_SYMBOLS, SOAK_RATE_PER_S, SOAK_EVERY_S = 64, 2000.0, 30.0


@dataclass(frozen=True)
class ChaosPlan:
    """How long, with which seed, what is fed, and which faults (all of them without names).

    It ends after `minutes`, after `most_faults`, or when `ticks` are published. With `every_s` faults strike at that
    interval, else after a short calm.
    """

    minutes: float = 5.0
    seed: int = 1
    symbols: int = 8
    rate_per_s: float = RATE_PER_S
    faults: tuple[str, ...] = ()
    most_faults: int = 100_000
    ticks: int | None = None
    every_s: float | None = None

    @property
    def fault_names(self) -> list[str]:
        """Those that may strike."""
        return list(self.faults or FAULTS)

    @property
    def hurts_network(self) -> bool:
        """Whether the stages must reach the broker through a proxy."""
        return not OF_THE_NETWORK.isdisjoint(self.fault_names)


def soak_plan(ticks: int, seed: int, rate_per_s: float = SOAK_RATE_PER_S) -> ChaosPlan:
    """Many ticks of many symbols, and a stage killed every half minute."""
    return ChaosPlan(
        minutes=float("inf"), seed=seed, symbols=SOAK_SYMBOLS, rate_per_s=rate_per_s, faults=("kill",),
        ticks=ticks, every_s=SOAK_EVERY_S,
    )  # fmt: skip


@dataclass
class Outcome:
    """What was done and what was found. `recovery_s` are times from a kill to all stages ready; `restarts` counts
    the processes that were started in the place of dead ones."""

    seed: int
    published: int = 0
    faults: dict[str, int] = field(default_factory=dict[str, int])
    restarts: int = 0
    told: list[str] = field(default_factory=list[str])
    failpoints_reached: list[str] = field(default_factory=list[str])
    recovery_s: list[float] = field(default_factory=list[float])
    verdict: Verdict = field(default_factory=Verdict)
    predictions_replayed: int = 0
    states_compared: int = 0
    parity_lines: int = 0
    differences: list[str] = field(default_factory=list[str])
    growth: dict[str, Peaks] = field(default_factory=dict[str, Peaks])

    @property
    def good(self) -> bool:
        """The witnesses are content, and every tick that the broker took was seen."""
        return self.verdict.good and not self.differences and self.verdict.ticks >= self.published > 0

    def document(self) -> dict[str, Any]:
        """For machines."""
        times = np.quantile(self.recovery_s, [0.5, 0.99]).tolist() if self.recovery_s else [None, None]
        grown = {name: peaks._asdict() | {"flat": peaks.flat} for name, peaks in self.growth.items()}
        own = asdict(self) | {"growth": grown}
        return own | {"good": self.good, "recovery_p50_s": times[0], "recovery_p99_s": times[1]}


def fresh_folder(settings: DeploymentSettings) -> Path:
    """An empty folder for the pipeline that is hurt."""
    data_dir = (settings.paths.resolved("data_dir") / "chaos").absolute()
    shutil.rmtree(data_dir, ignore_errors=True)
    return data_dir


def run_chaos(settings: DeploymentSettings, plan: ChaosPlan, console: Console) -> Outcome:
    """Feed, hurt, settle, judge."""
    data_dir = fresh_folder(settings)
    outcome, growth = Outcome(plan.seed), Growth()
    with hurtable_pipeline(settings, data_dir, console, plan.hurts_network) as (services, supervisor, network):

        def look() -> None:
            growth.look({name: child.process.pid for name, child in supervisor.children.items()})

        pause = watching(supervisor, look)
        scene = Scene(services, supervisor, data_dir, np.random.default_rng(plan.seed), pause, network)
        servers = services.broker.bootstrap_servers
        feed = Feed(servers, settings, plan.symbols, plan.rate_per_s, plan.ticks)
        feed.thread.start()
        hurt(scene, plan, outcome, console, lambda: feed.done)
        outcome.growth = growth.peaks()
        outcome.failpoints_reached = sorted(scene.reached)
        outcome.published = feed.finish()
        console.print(f"{outcome.published} ticks are in; waiting until all are answered")
        outcome.verdict = settled(supervisor, pause, servers, settings)
        outcome.restarts = sum(child.restarts for child in supervisor.children.values())
        console.print("all are answered; computing every prediction again")
        bits = compare_bits(settings, servers, data_dir, services.broker.delivery)
    outcome.predictions_replayed, outcome.states_compared = bits.predictions, bits.states
    outcome.parity_lines, broken = parity_problems(data_dir)
    outcome.differences = bits.differences + broken
    return outcome


def hurt(scene: Scene, plan: ChaosPlan, outcome: Outcome, console: Console, fed: Callable[[], bool]) -> None:
    """One fault after another until the plan is fulfilled; some overlap."""
    started_s = struck_s = time.monotonic()
    end = started_s + plan.minutes * 60
    while time.monotonic() < end and sum(outcome.faults.values()) < plan.most_faults:
        calm_s = float(scene.generator.uniform(*CALM_S))
        rest(scene, calm_s if plan.every_s is None else struck_s + plan.every_s - time.monotonic(), fed)
        if fed():
            return
        name = drawn(scene, plan.fault_names)
        told = FAULTS[name][1](scene)
        outcome.faults[name] = outcome.faults.get(name, 0) + 1
        struck_s = time.monotonic()
        outcome.told.append(f"{struck_s - started_s:6.1f} s  {name}: {told}")
        console.print(outcome.told[-1], markup=False, highlight=False)
        if scene.generator.random() >= OVERLAP and wait_ready(scene.supervisor, scene.pause) and "kill" in name:
            outcome.recovery_s.append(time.monotonic() - struck_s)


def rest(scene: Scene, seconds: float, fed: Callable[[], bool]) -> None:
    """Let so much time pass, or less if everything is fed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not fed():
        scene.pause(min(0.5, max(0.0, end - time.monotonic())))
