# SPDX-License-Identifier: MIT
"""Where each symbol's state lives: a row of a block of a program, and how a batch of ticks becomes calls.

A call has a fixed number of lanes, each for a tick of another symbol of the block; a symbol's ticks go into calls one
after another, and a tick into the first call that has a lane left. Which row and which lane is free: it changes no bit.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..io.ingest_events import LevelShiftAcceptedEvent
from ..predictor import Program, program_for, split_time_ns
from ..predictor.structure import Structure
from ..schemas.records import ValidatedTick

SHARED = -1
SymbolKey = tuple[int, str]
LEVEL_SHIFT = LevelShiftAcceptedEvent.__name__


class ShadowKey(NamedTuple):
    """The lane in which the configuration before runs on beside the one that is judged."""

    partition: int
    symbol: str
    role: str = "shadow"


LaneKey = SymbolKey | ShadowKey


class Place(NamedTuple):
    """A row of a block."""

    block: int
    row: int


def inputs_of(tick: ValidatedTick, silent: bool = False) -> tuple[float, ...]:
    """The packed inputs of a tick, in the order of `Inputs`; one after a silence is degraded."""
    flags = (1.0, tick.accept, tick.suspend_jko_update, tick.degraded_mode or silent, tick.freeze_kernel_d)
    shifted = float(LEVEL_SHIFT in tick.events)
    return (*map(float, flags), tick.price, *split_time_ns(tick.ts_event_ns), shifted)


class Step(NamedTuple):
    """One tick for one lane: the numeric parameters in force and the packed inputs."""

    key: LaneKey
    params: np.ndarray
    inputs: Sequence[float]


class Pool:
    """All symbols that share one program.

    Partitions share blocks until one has enough symbols to fill a block; from then on it has blocks of its own, so
    that its snapshot concerns few others. `owners` are the blocks' partitions, `free` the free rows by owner.
    """

    def __init__(self, structure: Structure) -> None:
        self.program: Program = program_for(structure)
        self.blocks: list[Any] = []
        self.places: dict[LaneKey, Place] = {}
        self.owners: list[int] = []
        self.free: dict[int, list[Place]] = {}
        self.counts: dict[int, int] = {}

    def warm_up(self) -> None:
        """Compile before the first tick, on a block that is thrown away."""
        self.program.warm_up(np.zeros((self.program.param_count, self.program.lane_width)))

    def put(self, key: LaneKey, column: np.ndarray) -> None:
        """Give a symbol a row with this state."""
        partition, size = key[0], self.program.block_rows
        count = self.counts.get(partition, 0)
        owner = partition if count >= size else SHARED
        free = self.free.setdefault(owner, [])
        if not free:
            self.blocks.append(self.program.new_block())
            self.owners.append(owner)
            free += [Place(len(self.blocks) - 1, row) for row in reversed(range(size))]
        place = free.pop()
        self.places[key], self.counts[partition] = place, count + 1
        self.blocks[place.block] = self.program.load_column(self.blocks[place.block], place.row, column)

    def remove(self, key: LaneKey) -> None:
        """Free a row; what is left there is overwritten by the next `put`."""
        place = self.places.pop(key)
        self.free[self.owners[place.block]].append(place)
        self.counts[key[0]] -= 1

    def rename(self, old: LaneKey, new: LaneKey) -> None:
        """The row belongs to another name of its partition from now on; its state stays where it is."""
        self.places[new] = self.places.pop(old)

    def frozen(self, keys: Sequence[LaneKey]) -> "Frozen":
        """The states of these symbols as they are now; nothing is copied yet."""
        wanted: dict[int, list[tuple[int, int]]] = {}
        for n, key in enumerate(keys):
            place = self.places[key]
            wanted.setdefault(place.block, []).append((n, place.row))
        views = [(self.program.view(self.blocks[block]), pairs) for block, pairs in wanted.items()]
        return Frozen(self.program, views, len(keys))

    def columns(self, keys: Sequence[LaneKey]) -> dict[LaneKey, np.ndarray]:
        """The states of these symbols, each block read once."""
        read: dict[int, np.ndarray] = {}
        found: dict[LaneKey, np.ndarray] = {}
        for key in keys:
            place = self.places[key]
            if place.block not in read:
                read[place.block] = self.program.read_columns(self.blocks[place.block])
            found[key] = read[place.block][:, place.row].copy()
        return found

    def advance(self, steps: Sequence[Step]) -> list[list[float]]:
        """Run the ticks; the packed outputs of each, in the order of `steps`."""
        calls = [(members, self.call(block, [steps[i] for i in members])) for block, members in self.calls(steps)]
        found: list[list[float]] = [[] for _ in steps]
        for members, outputs in calls:
            for i, row in zip(members, np.asarray(outputs).T.tolist(), strict=False):
                found[i] = row
        return found

    def calls(self, steps: Sequence[Step]) -> list[tuple[int, list[int]]]:
        """(block, indices of the steps in that call), in an order in which they can run."""
        plans: dict[int, Plan] = {}
        for i, step in enumerate(steps):
            block = self.places[step.key].block
            if block not in plans:
                plans[block] = Plan(self.program.lane_width)
            plans[block].add(i, step.key)
        return [(block, members) for block, plan in plans.items() for members in plan.calls]

    def call(self, block: int, steps: Sequence[Step]) -> Any:
        """One call of the program, a step in each lane. Returns the outputs, still on the device."""
        count = len(steps)
        inputs = self.program.idle_inputs()
        inputs[:, :count] = np.array([step.inputs for step in steps]).T
        params = np.zeros((self.program.param_count, self.program.lane_width))
        params[:, :count] = np.array([step.params for step in steps]).T
        rows = self.program.idle_rows()
        rows[:count] = [self.places[step.key].row for step in steps]
        self.blocks[block], outputs = self.program.step(self.blocks[block], params, inputs, rows)
        return outputs


class Plan:
    """The calls of one block: `calls[n]` are the steps of the n-th, each of another symbol."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.calls: list[list[int]] = []
        self.full = 0
        self.earliest: dict[LaneKey, int] = {}

    def add(self, index: int, key: LaneKey) -> None:
        """Put a step behind the earlier ones of its symbol, into the first call that has a lane left."""
        turn = max(self.earliest.get(key, 0), self.full)
        while turn < len(self.calls) and len(self.calls[turn]) == self.lanes:
            turn += 1
        if turn == len(self.calls):
            self.calls.append([])
        self.calls[turn].append(index)
        self.earliest[key] = turn + 1
        while self.full < len(self.calls) and len(self.calls[self.full]) == self.lanes:
            self.full += 1


class Frozen:
    """States of symbols at one moment, put into arrays when somebody looks, which may be another thread.

    It holds the blocks as they were. The next call of the program finds its block in use and works on a copy.
    """

    def __init__(self, program: Program, views: Sequence[tuple[np.ndarray, Sequence[tuple[int, int]]]], count: int):
        self.program = program
        self.views = views
        self.count = count

    def matrix(self) -> np.ndarray:
        """[state_size, n] in the order of the keys."""
        found = np.empty((self.count, self.program.state_size))
        for view, pairs in self.views:
            found[[n for n, _ in pairs]] = view[[row for _, row in pairs]]
        return found.T

    @cached_property
    def stacked(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        """Segment -> array name -> values of all these symbols, first axis the symbol."""
        return self.program.to_stacked(self.matrix())


class FrozenSegment(Mapping[str, np.ndarray]):
    """One segment of frozen states, as a document holds it."""

    def __init__(self, frozen: Frozen, name: str) -> None:
        self.frozen = frozen
        self.name = name

    def __getitem__(self, key: str) -> np.ndarray:
        return self.frozen.stacked[self.name][key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.frozen.stacked[self.name])

    def __len__(self) -> int:
        return len(self.frozen.stacked[self.name])
