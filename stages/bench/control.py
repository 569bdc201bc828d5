# SPDX-License-Identifier: MIT
"""`usp bench control`: how often the change alarm of the whole predictor is wrong, and how soon it is right."""

from collections.abc import Callable, Iterator

import numpy as np
from rich.console import Console
from rich.progress import Progress

from ...config.deployment import DeploymentSettings
from ...config.model import packaged_defaults
from ..fingerprint import prepare_jax

QUIET_STEPS = 20_000
BURN_IN = 1_000
WATCHED = 100
PROMISED = 40
SHIFTS = {0.5: 16, 1.0: 96, 1.5: 16, 2.0: 16, 3.0: 32}  # standard deviations: series of all lanes; one is promised
SEED = 12
Series = Callable[[np.random.Generator, int, int], np.ndarray]


def white(rng: np.random.Generator, steps: int, lanes: int) -> np.ndarray:
    """Standard normal noise [steps, lanes]."""
    return rng.standard_normal((steps, lanes))


def autoregression(rng: np.random.Generator, steps: int, lanes: int) -> np.ndarray:
    """AR(1) with coefficient 0.8 and unit innovations."""
    x = rng.standard_normal((steps, lanes))
    for t in range(1, steps):
        x[t] += 0.8 * x[t - 1]
    return x


def garch(rng: np.random.Generator, steps: int, lanes: int) -> np.ndarray:
    """GARCH(1, 1) noise of unit variance: omega 0.05, alpha 0.1, beta 0.85."""
    x, variance = rng.standard_normal((steps, lanes)), np.ones(lanes)
    for t in range(steps):
        x[t] *= np.sqrt(variance)
        variance = 0.05 + 0.1 * x[t] ** 2 + 0.85 * variance
    return x


def heavy(rng: np.random.Generator, steps: int, lanes: int) -> np.ndarray:
    """Student noise with three degrees of freedom, scaled to unit variance."""
    return rng.standard_t(3, (steps, lanes)) / np.sqrt(3.0)


def walk(rng: np.random.Generator, steps: int, lanes: int) -> np.ndarray:
    """Random walk."""
    return np.cumsum(rng.standard_normal((steps, lanes)), axis=0)


QUIET: dict[str, Series] = {"white": white, "ar1": autoregression, "garch": garch, "t3": heavy, "walk": walk}


def bench_control(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """False alarms per 10^4 steps of series without a change; delay of the alarm after a shift of the mean of noise."""
    prepare_jax(settings.paths.resolved("cache_dir"))
    rng = np.random.default_rng(SEED)
    found: dict[str, object] = {"quiet_steps_per_series": QUIET_STEPS, "burn_in": BURN_IN}
    calls = len(QUIET) * (BURN_IN + QUIET_STEPS) + sum(SHIFTS.values()) * (BURN_IN + WATCHED)
    with Progress(console=console) as progress:
        task = progress.add_task("calls of the step", total=calls)

        def alarms_of(make: Callable[[int], np.ndarray]) -> np.ndarray:
            rows = [row for row in alarms(make) if progress.advance(task) is None]
            return np.array(rows)[BURN_IN:]

        for name, series in QUIET.items():
            raised = alarms_of(lambda lanes, series=series: series(rng, BURN_IN + QUIET_STEPS, lanes))
            found |= false_alarms(name, raised)
        for shift, count in SHIFTS.items():
            trials = [alarms_of(lambda lanes, shift=shift: shifted(rng, shift, lanes)) for _ in range(count)]
            found |= delays(shift, np.concatenate(trials, axis=1))
    return found


def shifted(rng: np.random.Generator, shift: float, lanes: int) -> np.ndarray:
    """Noise whose mean moves by `shift` standard deviations after the burn-in."""
    x = white(rng, BURN_IN + WATCHED, lanes)
    x[BURN_IN:] += shift
    return x


def alarms(make: Callable[[int], np.ndarray]) -> Iterator[np.ndarray]:
    """Whether each lane raised the alarm, step by step, for fresh predictors on the series made for that many lanes."""
    from ...predictor import OUTPUTS, Inputs, program_for, structure_of

    config = packaged_defaults()
    program = program_for(structure_of(config, "CONTROL"))
    lanes = program.lane_width
    params = np.repeat(program.params(config, "CONTROL")[:, None], lanes, axis=1)
    block = program.new_block()
    for lane in range(lanes):
        block = program.load_column(block, lane, program.init_column(config, f"CONTROL{lane}"))
    for second, prices in enumerate(make(lanes)):
        inputs = program.idle_inputs()
        inputs[Inputs.ACTIVE] = inputs[Inputs.ACCEPT] = 1.0
        inputs[Inputs.PRICE], inputs[Inputs.TIME_S] = prices, float(second)
        block, outputs = program.step(block, params, inputs)
        yield np.asarray(outputs)[OUTPUTS.regime_changed] > 0.5


def false_alarms(name: str, raised: np.ndarray) -> dict[str, object]:
    """Rate of alarms [steps, lanes] on a quiet series, and the mean number of steps between two (ARL0)."""
    count = int(raised.sum())
    return {
        f"{name}_false_alarms_per_10k": count / raised.size * 1e4,
        f"{name}_arl0_steps": raised.size / count if count else f"more than {raised.size}",
    }


def delays(shift: float, raised: np.ndarray) -> dict[str, object]:
    """Median delay and its 95th percentile in steps, and the share of trials seen within 40 steps."""
    first = np.where(raised.any(axis=0), raised.argmax(axis=0) + 1.0, np.inf)
    return {
        f"shift_{shift}_sigma_trials": len(first),
        f"shift_{shift}_sigma_seen_within_{PROMISED}": float(np.mean(first <= PROMISED)),
        f"shift_{shift}_sigma_median_delay": told(np.median(first)),
        f"shift_{shift}_sigma_p95_delay": told(np.quantile(first, 0.95, method="lower")),
    }


def told(steps: np.floating) -> float | str:
    """A delay in steps; one beyond the watched steps in words, since infinity is no JSON."""
    return float(steps) if np.isfinite(steps) else f"more than {WATCHED}"
