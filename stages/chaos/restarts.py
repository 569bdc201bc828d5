# SPDX-License-Identifier: MIT
"""`usp chaos --restarts`: how long from the death of the orchestrator to the first new prediction that a reader sees.

Each round: a clean stop, which leaves a snapshot at the very end; so many ticks behind it, all of them answered; then
SIGKILL. What comes back loads the snapshot, replays those ticks, and predicts on ticks that came after the kill.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.console import Console

from ...config.deployment import DeploymentSettings
from ...io.reader import TopicReader
from ...io.registry import open_wire
from ...schemas.records import Prediction
from .. import topology
from ..supervisor import FIRST_BACKOFF_S
from .feed import Feed
from .pipeline import Pause, hurtable_pipeline, settled, wait_ready, watching
from .run import fresh_folder
from .scene import ChaosSupervisor, tell
from .verifier import Verdict

STAGE = "orchestrator"
ANSWER_S = 60.0
SLICE_S, SLICE_TICKS = 0.02, 2
PERSIST_S = 1.0


@dataclass(frozen=True)
class RestartPlan:
    """How often, and how many ticks lie behind the snapshot."""

    restarts: int = 20
    symbols: int = 64
    replayed_ticks: int = 1000


@dataclass
class RestartOutcome:
    """Seconds to the first new prediction: from the start of the new process, and from the kill."""

    replayed_ticks: int
    from_start_s: list[float] = field(default_factory=list[float])
    from_kill_s: list[float] = field(default_factory=list[float])
    published: int = 0
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def good(self) -> bool:
        """Nothing was lost meanwhile."""
        return self.verdict.good and self.verdict.ticks >= self.published > 0

    def document(self) -> dict[str, Any]:
        """For machines."""
        told: dict[str, Any] = {"restarts": len(self.from_start_s), "replayed_ticks": self.replayed_ticks}
        for name, times in (("from_start", self.from_start_s), ("from_kill", self.from_kill_s)):
            p50, p99, most = np.quantile(times, [0.5, 0.99, 1.0]).tolist() if times else [None] * 3
            told |= {f"{name}_p50_s": p50, f"{name}_p99_s": p99, f"{name}_most_s": most}
        return told | {"published": self.published, "verdict": asdict(self.verdict), "good": self.good}


@dataclass
class Bench:
    """What a round needs."""

    supervisor: ChaosSupervisor
    feed: Feed
    reader: TopicReader
    pause: Pause
    answered: int = 0

    def read(self) -> int:
        """How many predictions have come since the last look."""
        self.supervisor.watch()
        found = sum(isinstance(record.value, Prediction) for record in self.reader.read(timeout_s=SLICE_S))
        self.answered += found
        return found

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Read until it is so; TimeoutError if it does not come."""
        end = time.monotonic() + ANSWER_S
        while not done():
            if time.monotonic() > end:
                raise TimeoutError(f"found no {what} within {ANSWER_S:.0f} s; see the logs of the stages")
            self.read()

    def answer_all(self) -> None:
        """Wait until every tick has its prediction."""
        self.until(lambda: self.answered >= self.feed.number, "prediction for each tick")


def run_restarts(settings: DeploymentSettings, plan: RestartPlan, console: Console) -> RestartOutcome:
    """One restart after the other, then the verdict."""
    outcome = RestartOutcome(plan.replayed_ticks)
    with hurtable_pipeline(settings, fresh_folder(settings), console) as (services, supervisor, _):
        servers, pause = services.broker.bootstrap_servers, watching(supervisor)
        wire = open_wire(settings.bus.schema_registry_url)
        topics = [topology.PREDICTIONS.name]
        reader = TopicReader(servers, topics, from_start=True, security=settings.bus.security, wire=wire)
        feed = Feed(servers, settings, plan.symbols, 0.0)
        bench = Bench(supervisor, feed, reader, pause)
        try:
            for _ in range(plan.restarts):
                restart_round(bench, plan, outcome)
                console.print(
                    f"{outcome.from_start_s[-1]:.2f} s from its start, {outcome.from_kill_s[-1]:.2f} s in all"
                )
        finally:
            reader.close()
        outcome.published = feed.finish()
        outcome.verdict = settled(supervisor, pause, servers, settings)
    return outcome


def restart_round(bench: Bench, plan: RestartPlan, outcome: RestartOutcome) -> None:
    """Snapshot, ticks behind it, kill, first new prediction."""
    child = bench.supervisor.children[STAGE]
    child.backoff_s = FIRST_BACKOFF_S
    child.process.stop(25.0)
    wait_ready(bench.supervisor, bench.pause)
    for _ in range(plan.replayed_ticks // SLICE_TICKS):
        bench.feed.publish(SLICE_TICKS)
        bench.read()
    bench.answer_all()
    bench.pause(PERSIST_S)
    before, child.backoff_s = bench.answered, FIRST_BACKOFF_S
    tell(child.process.pid, signal.SIGKILL)
    killed_s = time.monotonic()
    while bench.answered == before:
        bench.feed.publish(SLICE_TICKS)
        if time.monotonic() - killed_s > ANSWER_S:
            raise TimeoutError(f"found no new prediction within {ANSWER_S:.0f} s after a kill; see the stages' logs")
        bench.read()
    now_s = time.monotonic()
    outcome.from_kill_s.append(now_s - killed_s)
    outcome.from_start_s.append(now_s - child.started_s)
    bench.answer_all()
