# SPDX-License-Identifier: MIT
"""The bits of a symbol's predictions depend on that symbol's ticks alone."""

import hashlib

import jax
import numpy as np
import pytest

from predictor_lanes import with_bank
from usp.config.model import packaged_defaults
from usp.predictor import INPUT_COUNT, OUTPUT_COUNT, Program, program_for, structure_of

CONFIG = packaged_defaults()
STEPS = 180


@pytest.fixture(scope="module", params=["core", pytest.param("full", marks=pytest.mark.slow)])
def program(request: pytest.FixtureRequest) -> Program:
    return program_for(structure_of(with_bank(CONFIG, request.param), "A"))


def ticks_of(symbol: str) -> np.ndarray:
    """Input rows [STEPS, n_inputs]: walks, noise, trade-like repeats and jumps, with verdicts of every kind."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(symbol.encode()).digest()[:4], "little"))
    step = rng.standard_normal(STEPS) * (rng.random(STEPS) < 0.7) + 8.0 * (rng.random(STEPS) < 0.02)
    price = 50.0 + (np.cumsum(step) if rng.random() < 0.6 else step)
    rows = np.zeros((STEPS, INPUT_COUNT))
    rows[:, 0] = 1.0
    rows[:, 1] = rng.random(STEPS) > 0.03
    rows[:, 2:5] = rng.random((STEPS, 3)) < 0.02
    rows[:, 5] = price
    rows[:, 8] = rng.random(STEPS) < 0.01
    rows[:, 6] = np.cumsum(1.0 + 40.0 * (rng.random(STEPS) < 0.01))
    return rows


def play(program: Program, symbols: list[str], seed: int) -> dict[str, str]:
    """Feed every symbol's ticks in random micro-batches, rows and lanes; hash of outputs and state by symbol."""
    rng = np.random.default_rng(seed)
    columns = {symbol: program.init_column(CONFIG, symbol) for symbol in symbols}
    ticks = {symbol: ticks_of(symbol) for symbol in symbols}
    place = dict.fromkeys(symbols, 0)
    hashes = {symbol: hashlib.sha256() for symbol in symbols}
    block = program.new_block()
    seats: dict[int, str] = {}
    parameters = np.stack([program.params(CONFIG, "A")] * program.lane_width, axis=1)
    while any(place[symbol] < STEPS for symbol in symbols):
        if not seats or rng.random() < 0.05:
            block, seats = reseat(program, block, seats, columns, rng)
        inputs, rows = program.idle_inputs(), program.idle_rows()
        going = [row for row, s in seats.items() if place[s] < STEPS and rng.random() < 0.8]
        taken = dict(zip(rng.permutation(program.lane_width), rng.permutation(going), strict=False))
        for lane, row in taken.items():
            rows[lane] = row
            inputs[:, lane] = ticks[seats[row]][place[seats[row]]]
            place[seats[row]] += 1
        block, outputs = program.step(block, parameters, inputs, rows)
        values = np.asarray(outputs)
        for lane, row in taken.items():
            hashes[seats[row]].update(values[:, lane].tobytes())
    held = program.read_columns(block)
    columns |= {symbol: held[:, row] for row, symbol in seats.items()}
    for symbol in symbols:
        hashes[symbol].update(np.ascontiguousarray(columns[symbol]).tobytes())
    return {symbol: digest.hexdigest() for symbol, digest in hashes.items()}


def reseat(
    program: Program, block: jax.Array, seats: dict[int, str], columns: dict[str, np.ndarray], rng: np.random.Generator
) -> tuple[jax.Array, dict[int, str]]:
    """Move all symbols out, and a random choice of them into random rows."""
    held = program.read_columns(block)
    for row, symbol in seats.items():
        columns[symbol] = held[:, row].copy()
    chosen = rng.permutation(list(columns))[: program.block_rows]
    rows = rng.permutation(program.block_rows)[: len(chosen)]
    for row, symbol in zip(rows, chosen, strict=True):
        block = program.load_column(block, int(row), columns[str(symbol)])
    return block, {int(row): str(symbol) for row, symbol in zip(rows, chosen, strict=True)}


def test_lanes_batches_and_company_do_not_change_bits(program: Program) -> None:
    """Any row, any lane, any micro-batching, any other symbols, any moves between blocks: the same bits."""
    many = [f"S{i}" for i in range(20)]
    crowd = play(program, many, seed=1)
    assert crowd == play(program, many, seed=2)
    for few in (many[:1], many[3:6], many[10:18]):
        assert {symbol: crowd[symbol] for symbol in few} == play(program, few, seed=3)


def test_nothing_is_compiled_after_warm_up(program: Program) -> None:
    """New rows, parameters and flags reuse the same two executables."""
    parameters = np.stack([program.params(CONFIG, "A")] * program.lane_width, axis=1)
    program.warm_up(parameters)
    before = program.compilations()
    block = program.load_column(program.new_block(), 5, program.init_column(CONFIG, "B"))
    block, outputs = program.step(block, parameters * 1.01, program.idle_inputs())
    program.step(block, parameters, program.idle_inputs() + 1.0, program.idle_rows())
    assert (before, (OUTPUT_COUNT, program.lane_width)) == (program.compilations(), outputs.shape)
