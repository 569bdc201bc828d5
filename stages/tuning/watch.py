# SPDX-License-Identifier: MIT
"""`usp tune --watch`: automatic tuning, in a process of its own that only reads and proposes.

It is one more proposer: it reads predictions, ticks and epochs like any consumer, keeps the newest ticks in memory,
and when a symbol's trigger fires it searches on them and sends what it found to the governor, which may refuse it,
judges it beside the shadow, and takes it back. No stage waits for it, and it may die at any moment.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ...config.model import ModelConfig, from_canonical_bytes, packaged_defaults
from ...io.kafka import BusUnavailable
from ...io.reader import ReadRecord, TopicReader
from ...predictor.tuning import TooFewRows
from ...schemas.records import ConfigEpoch, Prediction, ValidatedTick
from .. import topology
from ..commands.config_client import Broker, send
from ..fingerprint import prepare_jax
from .proposal import tuned_proposal
from .run import Found, Tuning, header_of, run, study_name
from .space import Tier, space_of
from .study import Plan
from .ticks import series_of, walks_of
from .trigger import LEAST_GAIN, Watch, follow, tuned

HISTORY = 2000
TRIGGER = "AutoTuning"
SymbolKey = tuple[int, str]


@dataclass
class Seen:
    """What the process has read: ticks and errors by symbol, and the newest epoch."""

    epoch: int = 0
    config: ModelConfig = field(default_factory=packaged_defaults)
    ticks: dict[SymbolKey, deque[ValidatedTick]] = field(default_factory=dict[SymbolKey, "deque[ValidatedTick]"])
    watches: dict[SymbolKey, Watch] = field(default_factory=dict[SymbolKey, Watch])

    def take(self, record: ReadRecord) -> None:
        """One record; what cannot be read is for others to complain about."""
        partition = record.raw.partition.number
        match record.value:
            case ConfigEpoch(epoch=number) as epoch if number > self.epoch:
                self.epoch, self.config = number, from_canonical_bytes(epoch.config)
            case ValidatedTick() as tick:
                self.ticks.setdefault((partition, tick.symbol), deque(maxlen=HISTORY)).append(tick)
            case Prediction() as p:
                before = self.watches.get((partition, p.symbol), Watch())
                self.watches[partition, p.symbol] = follow(before, p.state_step, p.error, p.regime_change_detected)
            case _:
                pass

    def due(self) -> SymbolKey | None:
        """A symbol whose trigger fired."""
        return next((key for key, watch in self.watches.items() if watch.is_due and key in self.ticks), None)

    def begun(self) -> None:
        """A tuning begins: nobody's trigger fires again before the governor would take another change."""
        self.watches = {key: tuned(watch) for key, watch in self.watches.items()}


@dataclass(frozen=True)
class Place:
    """Where this process reads, writes and keeps its compiled programs."""

    broker: Broker
    folder: Path
    cache_dir: Path
    proposal_key: bytes | None = field(default=None, repr=False)


def watch(place: Place, say: Callable[[str], None], stop: Callable[[], bool]) -> None:
    """Read, and tune when it is due, until `stop`."""
    prepare_jax(place.cache_dir)
    seen = Seen()
    servers, security, wire = place.broker
    epochs = place.broker.reader(topology.EPOCHS.name, from_start=True)
    topics = [topology.VALIDATED.name, topology.PREDICTIONS.name]
    stream = TopicReader(servers, topics, from_start=False, security=security, wire=wire)
    say("watching; a regime change with a rise of the error starts a search")
    try:
        while not stop():
            for record in [*epochs.read(timeout_s=0.0), *stream.read(most=5000, timeout_s=0.5)]:
                seen.take(record)
            key = seen.due()
            if key is not None:
                react(seen, key, place, say)
    finally:
        stream.close()
        epochs.close()


def react(seen: Seen, key: SymbolKey, place: Place, say: Callable[[str], None]) -> None:
    """Search on the symbol's newest ticks, and propose what is better."""
    rise = seen.watches[key].rise
    say(f"{key[1]}: regime change, error {rise:+.0%}; searching on its newest {len(seen.ticks[key])} ticks")
    seen.begun()
    try:
        found = searched(seen, key, place)
    except TooFewRows as fault:
        say(f"{key[1]}: no search: {fault}")
        return
    if not is_worth_it(found):
        say(f"{key[1]}: nothing that promises {LEAST_GAIN:.0%} was found in either tier")
        return
    proposal = tuned_proposal(found, time.time_ns(), place.proposal_key, TRIGGER)
    try:
        send(place.broker, proposal)
    except BusUnavailable as fault:
        say(f"{key[1]}: not proposed: {fault}")
        return
    say(f"{key[1]}: proposed {dict(found.changes)} as {proposal.proposal_id}")


def searched(seen: Seen, key: SymbolKey, place: Place) -> Found:
    """The fast tier, and where it finds nothing the deep one; only keys that need no other program.

    So what is found can go into force at once, and the shadow shares its program.
    """
    found = one_search(seen, key, place, "fast")
    return found if is_worth_it(found) else one_search(seen, key, place, "deep")


def is_worth_it(found: Found) -> bool:
    """Better, and by enough that nobody has to be asked."""
    return found.is_better and found.gain >= LEAST_GAIN


def one_search(seen: Seen, key: SymbolKey, place: Place, tier: Tier) -> Found:
    """One search on the symbol's newest ticks."""
    series = series_of(seen.ticks[key])
    walk = walks_of(series, seen.config)
    space = space_of(seen.config, tier, structural=False)
    plan = Plan(seen.config, space, "rmse", seen.config.meta_optimization.n_trials)
    study = place.folder / f"auto-{study_name(header_of(plan, tier, walk, series))}"
    *_, last = run(Tuning(plan, tier, walk, series, 1, study, place.cache_dir, resume=True))
    if not isinstance(last, Found):
        raise AssertionError("a tuning ends with its answer")
    return last
