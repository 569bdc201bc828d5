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


@pytest.fixture(scope="module", params=["core", "full"])
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
    """Feed every symbol's ticks in random micro-batches on random lanes; hash of outputs and state by symbol."""
    rng = np.random.default_rng(seed)
    columns = {symbol: program.init_column(CONFIG, symbol) for symbol in symbols}
    ticks = {symbol: ticks_of(symbol) for symbol in symbols}
    place = dict.fromkeys(symbols, 0)
    hashes = {symbol: hashlib.sha256() for symbol in symbols}
    block = program.new_block()
    lanes: dict[int, str] = {}
    parameters = np.stack([program.params(CONFIG, "A")] * program.lane_width, axis=1)
    while any(place[symbol] < STEPS for symbol in symbols):
        if not lanes or rng.random() < 0.05:
            block, lanes = reseat(program, block, lanes, columns, rng)
        inputs = program.idle_inputs()
        going = [lane for lane, s in lanes.items() if place[s] < STEPS and rng.random() < 0.8]
        for lane in going:
            inputs[:, lane] = ticks[lanes[lane]][place[lanes[lane]]]
            place[lanes[lane]] += 1
        block, outputs = program.step(block, parameters, inputs)
        values = np.asarray(outputs)
        for lane in going:
            hashes[lanes[lane]].update(values[:, lane].tobytes())
    held = program.read_columns(block)
    columns |= {symbol: held[:, lane] for lane, symbol in lanes.items()}
    for symbol in symbols:
        hashes[symbol].update(np.ascontiguousarray(columns[symbol]).tobytes())
    return {symbol: digest.hexdigest() for symbol, digest in hashes.items()}


def reseat(
    program: Program, block: jax.Array, lanes: dict[int, str], columns: dict[str, np.ndarray], rng: np.random.Generator
) -> tuple[jax.Array, dict[int, str]]:
    """Move all symbols out, and a random choice of them into random lanes."""
    held = program.read_columns(block)
    for lane, symbol in lanes.items():
        columns[symbol] = held[:, lane].copy()
    order = rng.permutation(list(columns))[: program.lane_width]
    seats = rng.permutation(program.lane_width)[: len(order)]
    for lane, symbol in zip(seats, order, strict=True):
        block = program.load_column(block, int(lane), columns[str(symbol)])
    return block, {int(lane): str(symbol) for lane, symbol in zip(seats, order, strict=True)}


def test_lanes_batches_and_company_do_not_change_bits(program: Program) -> None:
    """Any lane, any micro-batching, any other symbols, any moves between blocks: the same bits."""
    many = [f"S{i}" for i in range(20)]
    crowd = play(program, many, seed=1)
    assert crowd == play(program, many, seed=2)
    for few in (many[:1], many[3:6], many[10:18]):
        assert {symbol: crowd[symbol] for symbol in few} == play(program, few, seed=3)


def test_nothing_is_compiled_after_warm_up(program: Program) -> None:
    """New lanes, parameters and flags reuse the same two executables."""
    parameters = np.stack([program.params(CONFIG, "A")] * program.lane_width, axis=1)
    program.warm_up(parameters)
    before = program.compilations()
    block = program.load_column(program.new_block(), 5, program.init_column(CONFIG, "B"))
    block, outputs = program.step(block, parameters * 1.01, program.idle_inputs())
    program.step(block, parameters, program.idle_inputs() + 1.0)
    assert (before, (OUTPUT_COUNT, program.lane_width)) == (program.compilations(), outputs.shape)
