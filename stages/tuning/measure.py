# SPDX-License-Identifier: MIT
"""Candidates into walk-forward errors, in this process or in several.

All walks of a batch (candidates x symbols x folds) are cut into calls of one program each, and the calls are what the
workers share. A lane's bits do not depend on its neighbours, so the outcome does not depend on the workers.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

from ...config.model import ModelConfig, from_canonical_bytes
from ...predictor.structure import Structure, structure_of
from ...predictor.tuning import Cell, Job, Series, Split, measure
from ..fingerprint import prepare_jax
from .study import Measure

MOST_WORKERS = 4

Walks = Sequence[tuple[Series, Split]]
Packed = tuple[bytes, Series, Split]
Runner = Callable[[list[list[Job]]], list[list[Cell]]]


@contextmanager
def runner(workers: int, cache_dir: Path) -> Generator[Runner]:
    """Runs groups of jobs, one group per call of a program; its processes end with the context."""
    prepare_jax(cache_dir)
    if workers <= 1:
        yield run_here
        return
    pool = ProcessPoolExecutor(min(workers, MOST_WORKERS), get_context("spawn"), prepare_jax, (cache_dir,))
    try:
        yield lambda groups: list(pool.map(measure_packed, map(packed, groups)))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def packed(group: Sequence[Job]) -> list[Packed]:
    """Jobs as they travel to another process: a configuration as its canonical bytes."""
    return [(job.config.canonical_bytes, job.series, job.split) for job in group]


def measure_packed(group: list[Packed]) -> list[Cell]:
    """What a worker does with them."""
    configs = {data: from_canonical_bytes(data) for data in {data for data, _, _ in group}}
    return measure([Job(configs[data], series, split) for data, series, split in group])


def run_here(groups: list[list[Job]]) -> list[list[Cell]]:
    """One group after the other."""
    return [measure(group) for group in groups]


def measure_over(walks: Walks, run: Runner) -> Measure:
    """Every candidate over every walk."""

    def of(configs: Sequence[ModelConfig]) -> list[list[Cell]]:
        jobs = [Job(config, series, split) for config in configs for series, split in walks]
        groups = grouped(jobs)
        found: dict[int, Cell] = {}
        for group, cells in zip(groups, run([[jobs[i] for i in group] for group in groups]), strict=True):
            found |= dict(zip(group, cells, strict=True))
        return [[found[c * len(walks) + w] for w in range(len(walks))] for c in range(len(configs))]

    return of


def grouped(jobs: Sequence[Job]) -> list[list[int]]:
    """Places of the jobs that fill the lanes of one call each; long ones together, so that lanes do not idle."""
    by_structure: dict[Structure, list[int]] = {}
    for place, job in enumerate(jobs):
        by_structure.setdefault(structure_of(job.config, job.series.symbol), []).append(place)
    groups: list[list[int]] = []
    for structure, places in by_structure.items():
        places.sort(key=lambda place: (jobs[place].split.start - jobs[place].split.stop, place))
        width = structure.lane_width
        groups += [places[first : first + width] for first in range(0, len(places), width)]
    return groups
