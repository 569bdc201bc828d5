# SPDX-License-Identifier: MIT
"""Sees from outside the loop whether it still gets on: lag for the metrics, an exit when nothing moves.

Two faults end the process, so that its supervisor restarts it: the loop does not come round any more, or records wait
that it does not take although it turns. Time is counted in looks, not read from a clock: a process that was stopped
and continued has missed its looks too, and is not thought stuck.
"""

import faulthandler
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any, Protocol

from ..io.bus import Partition
from ..io.log_ends import Ends

LOOK_S = 1.0
LOOKS_PER_PROBE = 5
PATIENCE_LOOKS = 180
COMMIT_LOOKS = (
    30  # three times as long as a client may wait: behind a broker that came back it was seen to wait for ever
)


class Watched(Protocol):
    """What is looked at: rounds of the loop, progress of a restore, the next offset of each partition."""

    turns: int
    committing: bool
    positions: dict[Partition, int]

    @property
    def restored_records(self) -> int:
        """Grows while a replay gets on."""
        ...


@dataclass
class Progress:
    """The judgement, free of threads: told what was seen at each look, it says what is wrong, if anything.

    `waiting` counts looks since a partition moved although records waited in it; `blocked` those for which its last
    stable offset stood still below its end.
    """

    patience: int = PATIENCE_LOOKS
    seen: tuple[int, int] = (-1, -1)
    still: int = 0
    committing: int = 0
    positions: dict[Partition, int] = field(default_factory=dict[Partition, int])
    stable: dict[Partition, int] = field(default_factory=dict[Partition, int])
    grown: set[Partition] = field(default_factory=set[Partition])
    waiting: dict[Partition, int] = field(default_factory=dict[Partition, int])
    blocked: dict[Partition, int] = field(default_factory=dict[Partition, int])

    def look(self, turns: int, restored: int, committing: bool = False) -> str:
        """Does the loop come round, or its replay get on? A commit has less time: its transaction ends without it."""
        stands = (turns, restored) == self.seen
        self.still = self.still + 1 if stands else 0
        self.committing = self.committing + 1 if stands and committing else 0
        self.seen = (turns, restored)
        if self.committing >= COMMIT_LOOKS:
            return f"a commit did not end in {self.committing} looks"
        return f"the loop did not come round in {self.still} looks" if self.still >= self.patience else ""

    def probe(self, positions: Mapping[Partition, int], ends: Mapping[Partition, Ends], looks: int) -> list[Partition]:
        """The partitions that have not moved for long while their lag grew; `looks` since the last probe."""
        for partition, end in ends.items():
            position = positions.get(partition, end.stable)
            moved = position != self.positions.get(partition)
            if moved or position >= end.stable:
                self.waiting[partition] = 0
                self.grown.discard(partition)
            else:
                self.waiting[partition] = self.waiting.get(partition, 0) + looks
            if not moved and end.stable > self.stable.get(partition, end.stable):
                self.grown.add(partition)
            open_still = end.high > end.stable and end.stable == self.stable.get(partition)
            self.blocked[partition] = self.blocked.get(partition, 0) + looks if open_still else 0
            self.positions[partition], self.stable[partition] = position, end.stable
        for partition in [p for p in self.waiting if p not in ends]:
            for table in (self.waiting, self.blocked, self.positions, self.stable):
                table.pop(partition)
            self.grown.discard(partition)
        return [p for p, count in self.waiting.items() if count >= self.patience and p in self.grown]


def nothing_known(partitions: list[Partition]) -> Mapping[Partition, Ends]:
    """For a broker whose own answers are wrong: only the loop is watched."""
    del partitions
    return {}


@dataclass
class Watchdog:
    """The thread. `ends` asks the broker, `has_records` tells whether a reader finds any record in a range, `give_up`
    ends the process."""

    runner: Watched
    ends: Callable[[list[Partition]], Mapping[Partition, Ends]]
    has_records: Callable[[Partition, int, int], bool]
    meter: Any
    log: Any
    give_up: Callable[[], object]
    progress: Progress = field(default_factory=Progress)
    stop: Event = field(default_factory=Event)

    def start(self) -> None:
        """Look once a second until told to stop."""
        Thread(target=self.run, name="watchdog", daemon=True).start()

    def run(self) -> None:
        """See `start`."""
        looks = 0
        while not self.stop.wait(LOOK_S):
            looks += 1
            fault = self.progress.look(self.runner.turns, self.runner.restored_records, self.runner.committing)
            if not fault and looks % LOOKS_PER_PROBE == 0:
                fault = self.probe()
            if fault and not self.stop.is_set():
                self.log.critical("no progress, the process ends for a restart", fault=fault)
                faulthandler.dump_traceback(sys.stderr)
                self.give_up()

    def probe(self) -> str:
        """Lag into the metrics; what stands still although a reader finds records there."""
        positions = dict(self.runner.positions)
        try:
            ends = self.ends(list(positions))
            stuck = self.progress.probe(positions, ends, LOOKS_PER_PROBE)
            found = [p for p in stuck if self.has_records(p, positions[p], ends[p].stable)]
        except Exception as fault:
            self.log.warning("lag is not known", fault=str(fault))
            return ""
        for partition, end in ends.items():
            blocked_s = self.progress.blocked[partition] * LOOK_S
            self.meter.lag(partition.topic, partition.number, max(0, end.stable - positions[partition]), blocked_s)
        if not found:
            return ""
        return f"records wait in {', '.join(f'{p.topic}/{p.number}' for p in found)} and none was taken"
