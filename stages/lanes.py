# SPDX-License-Identifier: MIT
"""Where each symbol's state lives: a lane of a block of a program, and how a batch of ticks becomes calls.

Blocks have one fixed width. The k-th tick of a symbol in a batch goes into the k-th call of its block; lanes without
a tick in a call are inactive and keep their bits. Which lane a symbol has is free: it changes no bit.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..io.ingest_events import LevelShiftAcceptedEvent
from ..predictor import INPUT_COUNT, Program, program_for, split_time_ns
from ..predictor.structure import Structure
from ..schemas.records import ValidatedTick

SymbolKey = tuple[int, str]
LEVEL_SHIFT = LevelShiftAcceptedEvent.__name__


class ShadowKey(NamedTuple):
    """The lane in which the configuration before runs on beside the one that is judged."""

    partition: int
    symbol: str
    role: str = "shadow"


LaneKey = SymbolKey | ShadowKey


class Place(NamedTuple):
    """A lane of a block."""

    block: int
    lane: int


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
    """All symbols that share one program."""

    def __init__(self, structure: Structure) -> None:
        self.program: Program = program_for(structure)
        self.blocks: list[Any] = []
        self.parameters: list[Parameters] = []
        self.places: dict[LaneKey, Place] = {}
        self.free: list[Place] = []

    def warm_up(self) -> None:
        """Compile before the first tick, on a block of inactive lanes that is thrown away."""
        self.program.warm_up(np.zeros((self.program.param_count, self.program.lane_width)))

    def put(self, key: LaneKey, column: np.ndarray) -> None:
        """Give a symbol a lane with this state."""
        if not self.free:
            self.blocks.append(self.program.new_block())
            self.parameters.append(Parameters(self.program.param_count, self.program.lane_width))
            newest = len(self.blocks) - 1
            self.free = [Place(newest, lane) for lane in reversed(range(self.program.lane_width))]
        place = self.free.pop()
        self.places[key] = place
        self.blocks[place.block] = self.program.load_column(self.blocks[place.block], place.lane, column)

    def remove(self, key: LaneKey) -> None:
        """Free a lane; what is left there is overwritten by the next `put`."""
        self.free.append(self.places.pop(key))

    def rename(self, old: LaneKey, new: LaneKey) -> None:
        """The lane belongs to another name from now on; its state stays where it is."""
        self.places[new] = self.places.pop(old)

    def matrix(self, keys: Sequence[LaneKey]) -> np.ndarray:
        """The states of these lanes [state_size, n], each block read once."""
        found = np.empty((self.program.state_size, len(keys)))
        wanted: dict[int, list[tuple[int, int]]] = {}
        for n, key in enumerate(keys):
            place = self.places[key]
            wanted.setdefault(place.block, []).append((n, place.lane))
        for block, pairs in wanted.items():
            read = self.program.read_columns(self.blocks[block])
            found[:, [n for n, _ in pairs]] = read[:, [lane for _, lane in pairs]]
        return found

    def columns(self, keys: Sequence[LaneKey]) -> dict[LaneKey, np.ndarray]:
        """The states of these lanes, each block read once."""
        read: dict[int, np.ndarray] = {}
        found: dict[LaneKey, np.ndarray] = {}
        for key in keys:
            place = self.places[key]
            if place.block not in read:
                read[place.block] = self.program.read_columns(self.blocks[place.block])
            found[key] = read[place.block][:, place.lane].copy()
        return found

    def advance(self, steps: Sequence[Step]) -> list[list[float]]:
        """Run the ticks; the packed outputs of each, in the order of `steps`."""
        calls = self.calls(steps)
        pending = [(members, self.call(block, [steps[i] for i in members])) for (_, block), members in calls.items()]
        rows: list[list[float]] = [[] for _ in steps]
        for members, outputs in pending:
            lanes = np.asarray(outputs).T.tolist()
            for i in members:
                rows[i] = lanes[self.places[steps[i].key].lane]
        return rows

    def calls(self, steps: Sequence[Step]) -> Mapping[tuple[int, int], list[int]]:
        """(round, block) -> indices of the steps in that call, rounds in order."""
        rounds: dict[LaneKey, int] = {}
        calls: dict[tuple[int, int], list[int]] = {}
        for i, step in enumerate(steps):
            turn = rounds.get(step.key, 0)
            rounds[step.key] = turn + 1
            calls.setdefault((turn, self.places[step.key].block), []).append(i)
        return {call: calls[call] for call in sorted(calls)}

    def call(self, block: int, steps: Sequence[Step]) -> Any:
        """One call of the program; lanes without a step are inactive. Returns the outputs, still on the device."""
        lanes = [self.places[step.key].lane for step in steps]
        inputs = np.zeros((INPUT_COUNT, self.program.lane_width))
        inputs[:, lanes] = np.array([step.inputs for step in steps]).T
        params = self.parameters[block].with_columns(lanes, [step.params for step in steps])
        self.blocks[block], outputs = self.program.step(self.blocks[block], params, inputs)
        return outputs


class Parameters:
    """The numeric parameters of a block's lanes, as the last call left them: they rarely change."""

    def __init__(self, count: int, width: int) -> None:
        self.block = np.zeros((count, width))
        self.columns: list[np.ndarray | None] = [None] * width

    def with_columns(self, lanes: Sequence[int], columns: Sequence[np.ndarray]) -> np.ndarray:
        """The block with these columns in these lanes. A new array where one changed: a call may still read the old."""
        changed = [
            (lane, column) for lane, column in zip(lanes, columns, strict=True) if self.columns[lane] is not column
        ]
        if changed:
            self.block = self.block.copy()
        for lane, column in changed:
            self.block[:, lane] = column
            self.columns[lane] = column
        return self.block
