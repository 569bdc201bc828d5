# SPDX-License-Identifier: MIT
"""Who measures changes nothing: any number of workers, one program for all candidates that differ in numbers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from usp.config.model import packaged_defaults
from usp.predictor import INPUT_COUNT, Inputs, program_for, structure_of
from usp.predictor.tuning import Job, Series, Split
from usp.stages.tuning.measure import grouped, measure_over, run_here, runner

CONFIG = packaged_defaults()
CONFIGS = [replace(CONFIG, orchestration=replace(CONFIG.orchestration, cusum_k=0.25 + 0.02 * i)) for i in range(9)]
CACHE = Path(__file__).parents[3] / ".local/jax"


def series(symbol: str, rows: int) -> Series:
    """A random walk, one tick per second."""
    inputs = np.zeros((rows, INPUT_COUNT))
    inputs[:, Inputs.ACTIVE] = inputs[:, Inputs.ACCEPT] = 1.0
    inputs[:, Inputs.PRICE] = 100.0 + 0.1 * np.cumsum(np.random.default_rng(1).standard_normal(rows))
    inputs[:, Inputs.TIME_S] = np.arange(rows)
    return Series(symbol, inputs)


WALKS = [(series("A", 90), Split(0, 60, 90)), (series("B", 60), Split(0, 40, 60))]


@pytest.mark.slow
def test_two_processes_measure_what_one_does() -> None:
    """Bit for bit, in the order of the candidates."""
    expected = measure_over(WALKS, run_here)(CONFIGS)
    with runner(2, CACHE) as run:
        assert measure_over(WALKS, run)(CONFIGS) == expected


@pytest.mark.slow
def test_candidates_that_differ_in_numbers_compile_nothing() -> None:
    """One program serves them all."""
    program = program_for(structure_of(CONFIG, "A"))
    measure_over(WALKS, run_here)(CONFIGS[:1])
    before = program.compilations()
    measure_over(WALKS, run_here)(CONFIGS)
    assert program.compilations() == before


def test_every_job_is_in_one_full_call() -> None:
    """Calls hold as many lanes as the program has, and each job once."""
    jobs = [Job(config, *walk) for config in CONFIGS for walk in WALKS]
    groups = grouped(jobs)
    assert sorted(place for group in groups for place in group) == list(range(len(jobs)))
    assert [len(group) for group in groups] == [CONFIG.core.lane_width, len(jobs) - CONFIG.core.lane_width]
