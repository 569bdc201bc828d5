# SPDX-License-Identifier: MIT
"""How good is a configuration on recorded ticks? Walk-forward splits, the step itself in many lanes, and objectives.

Candidates that differ in numbers alone are lanes of one compiled program: a whole search compiles once per structure.
The step is the pipeline's own, so what is measured here is what will be predicted there.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from ..config.model import ModelConfig
from .program import Program, program_for
from .records import INPUT_COUNT, OUTPUTS, Inputs
from .structure import Structure, structure_of

LEAST_TEST_ROWS = 20
TINY = 1e-12


class Split(NamedTuple):
    """Rows [start, test) only teach; rows [test, stop) are forecast one by one, and scored."""

    start: int
    test: int
    stop: int


class Series(NamedTuple):
    """Recorded ticks of one symbol as the step reads them: inputs [rows, n_inputs], oldest first."""

    symbol: str
    inputs: np.ndarray


class Job(NamedTuple):
    """One walk of one candidate: a fresh state is taught and tested on a split of a series."""

    config: ModelConfig
    series: Series
    split: Split


class Cell(NamedTuple):
    """Error sums over the tested rows of a job: ours, the last value's, and that of the taught rows for scale."""

    rows: int
    squared: float
    squared_last: float
    absolute: float
    relative: float
    relative_rows: int
    taught_absolute_last: float


class TooFewRows(ValueError):
    """The record is too short to be split; the message says how many rows there must be."""


def walk_forward(rows: int, train_ratio: float, folds: int) -> list[Split]:
    """Rolling windows of equal length, oldest first; each teaches on rows strictly before those that it tests.

    The tested rows of all folds lie side by side and end with the last row.
    """
    tested = int(rows * (1.0 - train_ratio) / folds)
    if tested < LEAST_TEST_ROWS:
        needed = math.ceil(LEAST_TEST_ROWS * folds / (1.0 - train_ratio))
        raise TooFewRows(f"found {rows} rows; expected at least {needed}, so that each of {folds} folds tests enough")
    taught = rows - folds * tested
    return [Split(k * tested, k * tested + taught, (k + 1) * tested + taught) for k in range(folds)]


def measure(jobs: Sequence[Job]) -> list[Cell]:
    """The errors of each job, in order. How jobs share calls changes no bit: a lane knows nothing of the others."""
    groups: dict[Structure, list[int]] = {}
    for place, job in enumerate(jobs):
        groups.setdefault(structure_of(job.config, job.series.symbol), []).append(place)
    cells: dict[int, Cell] = {}
    for structure, places in groups.items():
        program = program_for(structure)
        for first in range(0, len(places), program.lane_width):
            members = places[first : first + program.lane_width]
            forecasts = walk(program, [jobs[place] for place in members])
            cells |= {place: scored(jobs[place], forecasts[lane]) for lane, place in enumerate(members)}
    return [cells[place] for place in range(len(jobs))]


def walk(program: Program, jobs: Sequence[Job]) -> list[np.ndarray]:
    """The forecast made after each row of each job's split; at most one job per lane."""
    lengths = [job.split.stop - job.split.start for job in jobs]
    inputs = np.zeros((max(lengths), INPUT_COUNT, program.lane_width))
    parameters = np.zeros((program.param_count, program.lane_width))
    block = program.new_block()
    for lane, (job, length) in enumerate(zip(jobs, lengths, strict=True)):
        inputs[:length, :, lane] = job.series.inputs[job.split.start : job.split.stop]
        parameters[:, lane] = program.params(job.config, job.series.symbol)
        block = program.load_column(block, lane, program.init_column(job.config, job.series.symbol))
    means = np.empty((len(inputs), program.lane_width))
    for row, tick in enumerate(inputs):
        block, outputs = program.step(block, parameters, tick)
        means[row] = np.asarray(outputs)[OUTPUTS.mean]
    return [means[:length, lane] for lane, length in enumerate(lengths)]


def scored(job: Job, forecasts: np.ndarray) -> Cell:
    """Sums over the accepted rows; an outlier is no target, and neither forecast nor last value follows it."""
    rows = job.series.inputs[job.split.start : job.split.stop]
    places = np.flatnonzero((rows[:, Inputs.ACCEPT] > 0.5) & np.isfinite(rows[:, Inputs.PRICE]))
    prices = rows[places, Inputs.PRICE]
    moves, errors = prices[1:] - prices[:-1], prices[1:] - forecasts[places[1:] - 1]
    tested = places[1:] >= job.split.test - job.split.start
    targets, errors, taught = prices[1:][tested], errors[tested], moves[~tested]
    sized = np.abs(targets) > TINY
    return Cell(
        rows=len(errors),
        squared=float(np.sum(errors**2)),
        squared_last=float(np.sum(moves[tested] ** 2)),
        absolute=float(np.sum(np.abs(errors))),
        relative=float(np.sum(np.abs(errors[sized] / targets[sized]))),
        relative_rows=int(np.sum(sized)),
        taught_absolute_last=float(np.mean(np.abs(taught))) if len(taught) else 0.0,
    )


def relative_rmse(cell: Cell) -> float | None:
    """RMSE divided by that of the last value; None where the price did not move."""
    return math.sqrt(cell.squared / cell.squared_last) if cell.squared_last > 0.0 else None


def mape(cell: Cell) -> float | None:
    """Mean of |error / value|; None where every value is zero."""
    return cell.relative / cell.relative_rows if cell.relative_rows else None


def mase(cell: Cell) -> float | None:
    """Mean |error| divided by the last value's mean |error| on the taught rows. Hyndman and Koehler (2006)."""
    if not cell.rows or cell.taught_absolute_last <= 0.0:
        return None
    return cell.absolute / cell.rows / cell.taught_absolute_last


OBJECTIVES: Mapping[str, Callable[[Cell], float | None]] = MappingProxyType(
    {"rmse": relative_rmse, "mape": mape, "mase": mase}
)


def objective(name: str, cells: Sequence[Cell]) -> float:
    """Mean over the cells (folds and symbols) that have a value; infinite if none has, or if one is not finite."""
    values = [value for value in map(OBJECTIVES[name], cells) if value is not None]
    mean = sum(values) / len(values) if values else math.inf
    return mean if math.isfinite(mean) else math.inf
