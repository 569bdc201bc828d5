# SPDX-License-Identifier: MIT
"""`usp bench hostile`: a million ticks that no market sends, and what the predictor makes of them.

Every lane strings together pieces of random length and kind: huge jumps, constants, alternating extremes, denormals,
level shifts, explosions, heavy tails, smooth curves. No output and no state may ever be other than finite, no interval
may have its ends crossed, and the weights must stay on the simplex.
"""

from collections.abc import Callable, Iterator

import numpy as np
from rich.console import Console
from rich.progress import Progress

from ...config.deployment import DeploymentSettings
from ...config.model import ModelConfig
from ..fingerprint import prepare_jax
from .step import BANKS, config_of

TICKS = 1_000_000
LONGEST_PIECE = 600
CHUNK = 500
SIMPLEX_TOLERANCE = 1e-10

Piece = Callable[[np.random.Generator, int, float], np.ndarray]

PIECES: dict[str, Piece] = {
    "random walk": lambda rng, n, at: at + np.cumsum(rng.standard_normal(n)),
    "constant": lambda rng, n, at: np.full(n, at),
    "alternating extremes": lambda rng, n, at: np.where(np.arange(n) % 2, 1e300, -1e300),
    "denormals": lambda rng, n, at: 5e-324 * rng.integers(-3, 4, n),
    "level shift": lambda rng, n, at: at + 10.0 ** rng.uniform(-6, 14) + rng.standard_normal(n),
    "huge jumps": lambda rng, n, at: at + np.cumsum((rng.random(n) < 0.03) * 10.0 ** rng.integers(0, 290, n)),
    "any magnitude": lambda rng, n, at: rng.choice([-1.0, 1.0], n) * 10.0 ** rng.integers(-300, 300, n),
    "explosion": lambda rng, n, at: np.exp(np.clip(np.cumsum(2.0 * rng.standard_normal(n)), -600, 600)),
    "heavy tails": lambda rng, n, at: np.tan(rng.uniform(-np.pi / 2, np.pi / 2, n)),
    "repeated prices": lambda rng, n, at: 61837.0 + 0.01 * (rng.random(n) < 0.4),
    "tiny moves far out": lambda rng, n, at: 1e9 + np.cumsum(rng.standard_normal(n)) * 1e-6,
    "sine": lambda rng, n, at: np.sin(rng.uniform(0.01, 3.0) * np.arange(n)),
    "ramp": lambda rng, n, at: np.arange(n) * 10.0 ** rng.uniform(-8, 8),
}


def hostile_prices(seed: int, width: int) -> Iterator[np.ndarray]:
    """Prices [width] without end; the same seed gives the same ones."""
    lanes = [hostile_lane(np.random.default_rng([seed, lane])) for lane in range(width)]
    while True:
        yield np.array([next(lane) for lane in lanes])


def hostile_lane(rng: np.random.Generator) -> Iterator[float]:
    """One lane of pieces; each begins where the last one ended if its kind can."""
    at, makers = 100.0, list(PIECES.values())
    while True:
        piece = makers[rng.integers(len(makers))](rng, int(rng.integers(1, LONGEST_PIECE)), at)
        yield from piece.tolist()
        at = float(np.clip(piece[-1], -1e280, 1e280))


def faults_of(config: ModelConfig, ticks: int, seed: int, advance: Callable[[int], None]) -> dict[str, int]:
    """How often each promise was broken in so many ticks, all lanes together; `advance` hears of the ticks done."""
    from ...predictor import INPUT_COUNT, OUTPUTS, Inputs, program_for, structure_of

    program = program_for(structure_of(config, "HOSTILE"))
    width = program.lane_width
    params = np.repeat(program.params(config, "HOSTILE")[:, None], width, axis=1)
    block = program.new_block()
    for lane in range(width):
        block = program.load_column(block, lane, program.init_column(config, f"HOSTILE{lane}"))
    prices, inputs = hostile_prices(seed, width), np.zeros((INPUT_COUNT, width))
    inputs[Inputs.ACTIVE] = inputs[Inputs.ACCEPT] = 1.0
    found = {"outputs_not_finite": 0, "crossed_intervals": 0, "weights_off_the_simplex": 0, "states_not_finite": 0}
    for call in range(ticks // width):
        inputs[Inputs.PRICE] = next(prices)
        inputs[Inputs.TIME_S] = float(call)
        block, outputs = program.step(block, params, inputs)
        values = np.array(outputs)
        values[OUTPUTS.last_prediction_error] = np.nan_to_num(values[OUTPUTS.last_prediction_error], nan=0.0)
        rho = values[OUTPUTS.rho]
        off = (np.abs(rho.sum(axis=0) - 1.0) > SIMPLEX_TOLERANCE) | (rho.min(axis=0) < 0.0)
        found["outputs_not_finite"] += int((~np.isfinite(values)).any(axis=0).sum())
        found["crossed_intervals"] += int((~(values[OUTPUTS.lo] <= values[OUTPUTS.hi])).sum())
        found["weights_off_the_simplex"] += int(off.sum())
        if call % CHUNK == CHUNK - 1 or call == ticks // width - 1:
            found["states_not_finite"] += int((~np.isfinite(program.read_columns(block))).any(axis=0).sum())
            advance(CHUNK * width)
    return found


def bench_hostile(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """A million hostile ticks for each bank; every count should be 0."""
    prepare_jax(settings.paths.resolved("cache_dir"))
    found: dict[str, object] = {"ticks_per_bank": TICKS}
    with Progress(console=console, transient=True) as progress:
        for seed, bank in enumerate(BANKS):
            task = progress.add_task(f"bank {bank}", total=TICKS)
            faults = faults_of(config_of(bank), TICKS, seed, lambda done, task=task: progress.advance(task, done))
            found |= {f"{bank}_{name}": count for name, count in faults.items()}
    return found
