# SPDX-License-Identifier: MIT
"""`usp chaos --stops`: stages are asked to end at random moments under load. None may hang, nothing may be lost.

Round by round all five get SIGTERM, each after a random while of its own; some rounds strike while the stages still
start. Some stages get a second SIGTERM, which must end them at once.
"""

import signal
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.console import Console

from ...config.deployment import DeploymentSettings
from ...io.local_process import LocalProcess
from ..supervisor import FIRST_BACKOFF_S
from .feed import Feed
from .pipeline import hurtable_pipeline, settled, wait_ready, watching
from .run import fresh_folder
from .scene import ChaosSupervisor, tell
from .verifier import Verdict

SPREAD_S, SECOND_WITHIN_S = 2.0, 0.3
SECOND_SHARE, EARLY_SHARE = 0.2, 0.2
DEADLINE_S, AT_ONCE_S = 25.0, 1.0
LOOK_S, LONGEST_LOOK_S = 0.01, 0.25
GIVE_UP_S = 40.0
CLEAN = 0
KILLED_BY_TERM = 128 + signal.SIGTERM


@dataclass(frozen=True)
class StopPlan:
    """How many stops, with which seed, and the load meanwhile."""

    stops: int = 200
    seed: int = 1
    symbols: int = 8
    rate_per_s: float = 100.0


class Clock:
    """Seconds as they were looked at: where nobody looked for long, the whole machine stood still, not a stage."""

    def __init__(self) -> None:
        self.seen_s, self.passed_s = time.monotonic(), 0.0

    def look(self) -> float:
        """Now."""
        before, self.seen_s = self.seen_s, time.monotonic()
        self.passed_s += min(self.seen_s - before, LONGEST_LOOK_S)
        return self.passed_s


@dataclass
class Stop:
    """One stage that is asked to end. Times are a clock's seconds; NaN is not yet."""

    stage: str
    process: LocalProcess
    at_s: float
    second_at_s: float
    asked_s: float = float("nan")
    hurried_s: float = float("nan")
    ended_s: float = float("nan")
    was_ready: bool = False

    def turn(self, now_s: float) -> None:
        """Send what is due; note the end."""
        if not self.process.is_running():
            self.ended_s = now_s if self.ended_s != self.ended_s else self.ended_s
        elif self.asked_s != self.asked_s:
            if now_s >= self.at_s:
                tell(self.process.pid, signal.SIGTERM)
                self.asked_s = now_s
        elif self.hurried_s != self.hurried_s and now_s >= self.second_at_s:
            tell(self.process.pid, signal.SIGTERM)
            self.hurried_s = now_s

    @property
    def over(self) -> bool:
        """It has ended."""
        return self.ended_s == self.ended_s


@dataclass
class StopOutcome:
    """What was found: seconds from the (last) signal to the end, hangs beyond the deadline, unclean ends."""

    seed: int
    stop_s: list[float] = field(default_factory=list[float])
    second_s: list[float] = field(default_factory=list[float])
    hangs: list[str] = field(default_factory=list[str])
    unclean: list[str] = field(default_factory=list[str])
    while_starting: int = 0
    published: int = 0
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def stops(self) -> int:
        """All of them."""
        return len(self.stop_s) + len(self.second_s)

    @property
    def good(self) -> bool:
        """No hang, no unclean end, and nothing lost."""
        return not (self.hangs or self.unclean) and self.verdict.good and self.verdict.ticks >= self.published > 0

    def document(self) -> dict[str, Any]:
        """For machines."""
        told: dict[str, Any] = {"seed": self.seed, "stops": self.stops}
        for name, times in (("stop", self.stop_s), ("second_signal", self.second_s)):
            p50, p99, most = np.quantile(times, [0.5, 0.99, 1.0]).tolist() if times else [None] * 3
            told |= {f"{name}_p50_s": p50, f"{name}_p99_s": p99, f"{name}_most_s": most}
        told |= {"second_signals": len(self.second_s), "while_starting": self.while_starting}
        told |= {"hangs": self.hangs, "unclean": self.unclean, "published": self.published}
        return told | {"verdict": asdict(self.verdict), "good": self.good}


def run_stops(settings: DeploymentSettings, plan: StopPlan, console: Console) -> StopOutcome:
    """Rounds of stops under load, then the verdict."""
    outcome, generator = StopOutcome(plan.seed), np.random.default_rng(plan.seed)
    with hurtable_pipeline(settings, fresh_folder(settings), console) as (services, supervisor, _):
        pause = watching(supervisor)
        feed = Feed(services.broker.bootstrap_servers, settings, plan.symbols, plan.rate_per_s)
        feed.thread.start()
        while outcome.stops < plan.stops:
            if generator.random() >= EARLY_SHARE:
                wait_ready(supervisor, pause)
            stop_round(supervisor, generator, outcome)
            console.print(f"{outcome.stops} stops, wrong: {'; '.join(outcome.hangs + outcome.unclean) or 'none'}")
            pause(FIRST_BACKOFF_S + 0.2)
        outcome.published = feed.finish()
        outcome.verdict = settled(supervisor, pause, services.broker.bootstrap_servers, settings)
    return outcome


def stop_round(supervisor: ChaosSupervisor, generator: np.random.Generator, outcome: StopOutcome) -> None:
    """Ask every running stage to end, each at its moment, and judge how it did."""
    ready, stops = supervisor.ready(), list[Stop]()
    clock = Clock()
    for name, child in supervisor.children.items():
        child.backoff_s = FIRST_BACKOFF_S
        at_s = float(generator.uniform(0.0, SPREAD_S))
        second_s = float(generator.uniform(0.0, SECOND_WITHIN_S))
        hurried = generator.random() < SECOND_SHARE
        if child.process.is_running():
            second_at_s = at_s + second_s if hurried else float("inf")
            stops.append(Stop(name, child.process, at_s, second_at_s, was_ready=ready[name]))
    while not all(stop.over for stop in stops) and (now_s := clock.look()) < SPREAD_S + GIVE_UP_S:
        for stop in stops:
            stop.turn(now_s)
        time.sleep(LOOK_S)
    for stop in stops:
        judge(stop, outcome)


def judge(stop: Stop, outcome: StopOutcome) -> None:
    """Into the outcome; what still runs is killed."""
    status = stop.process.guard.poll()
    stop.process.kill()
    if stop.over and stop.asked_s != stop.asked_s:
        outcome.unclean.append(f"{stop.stage}: ended by itself with exit status {status}")
        return
    hurried = stop.hurried_s == stop.hurried_s
    took_s = stop.ended_s - (stop.hurried_s if hurried else stop.asked_s)
    outcome.while_starting += not stop.was_ready
    if not took_s <= (AT_ONCE_S if hurried else DEADLINE_S):
        outcome.hangs.append(f"{stop.stage}: {took_s:.1f} s after {'the second' if hurried else 'a'} signal")
    allowed = (CLEAN, KILLED_BY_TERM) if hurried or not stop.was_ready else (CLEAN,)
    if status not in allowed:
        outcome.unclean.append(f"{stop.stage}: exit status {status}")
    (outcome.second_s if hurried else outcome.stop_s).append(took_s if took_s == took_s else GIVE_UP_S)
