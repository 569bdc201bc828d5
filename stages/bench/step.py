# SPDX-License-Identifier: MIT
"""`usp bench step`: what one step of the predictor costs, as a whole and part by part, for both banks."""

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import Progress

from ...config.deployment import DeploymentSettings
from ...config.model import ModelConfig, load, packaged_defaults
from ..fingerprint import prepare_jax

BANKS = ("core", "full")
CALLS = 2000
RATE_S = 5.0
GROWTH_TICKS = 1_000_000
PART_TICKS, PART_RUNS = 50, 20
PEER_TICKS = 3000
BASE_NS, TICK_NS = 1_700_000_000_000_000_000, 1_000_000
SYMBOL = "BENCH"
T = TypeVar("T")


class Bench:
    """A program with a symbol in every lane, fed with random walks."""

    def __init__(self, config: ModelConfig) -> None:
        from ...predictor import INPUT_COUNT, Inputs, program_for, split_time_ns, structure_of

        self.program = program_for(structure_of(config, SYMBOL))
        self.width = self.program.lane_width
        self.params = np.repeat(self.program.params(config, SYMBOL)[:, None], self.width, axis=1)
        started = time.perf_counter()
        self.program.warm_up(self.params)
        self.warm_up_s = time.perf_counter() - started
        self.compiled = self.program.compilations()
        self.block: Any = self.program.new_block()
        for lane in range(self.width):
            column = self.program.init_column(config, f"{SYMBOL}{lane}")
            self.block = self.program.load_column(self.block, lane, column)
        self.rng = np.random.default_rng(1)
        self.prices = np.full(self.width, 100.0)
        self.inputs = np.zeros((INPUT_COUNT, self.width))
        self.rows, self.split, self.ticks = Inputs, split_time_ns, 0

    def tick(self, active: int) -> None:
        """One call with the first `active` lanes, until its outputs are here."""
        self.prices += self.rng.standard_normal(self.width)
        self.inputs[self.rows.ACTIVE] = self.inputs[self.rows.ACCEPT] = np.arange(self.width) < active
        self.inputs[self.rows.PRICE] = self.prices
        self.inputs[self.rows.TIME_S], self.inputs[self.rows.TIME_REMAINDER_NS] = self.split(
            BASE_NS + self.ticks * TICK_NS
        )
        self.ticks += 1
        self.block, outputs = self.program.step(self.block, self.params, self.inputs)
        np.asarray(outputs)

    def times_us(self, active: int, calls: int) -> np.ndarray:
        """Time of each call, the first tenth left out."""
        times: list[float] = []
        for _ in range(calls):
            begin = time.perf_counter()
            self.tick(active)
            times.append((time.perf_counter() - begin) * 1e6)
        return np.array(times[calls // 10 :])


def bench_step(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """Both banks: latency, throughput, parts, compilations, growth; and plain models in the same run."""
    cache = settings.paths.resolved("cache_dir")
    prepare_jax(cache)
    found: dict[str, object] = {}
    with Progress(console=console, transient=True) as progress:
        for bank in BANKS:
            found |= {f"{bank}_{name}": value for name, value in bank_figures(bank, cache, progress).items()}
        found |= growth(progress)
        found |= peers()
    return found


def bank_figures(bank: str, cache: Path, progress: Progress) -> dict[str, float]:
    """What a step with this bank costs."""
    task = progress.add_task(f"bank {bank}", total=5)
    cores = sorted(os.sched_getaffinity(0))
    bench = Bench(config_of(bank))
    found = {"warm_up_s": bench.warm_up_s, "state_bytes_per_symbol": float(bench.program.state_size * 8)}
    for name, active in (("all_lanes", bench.width), ("one_symbol", 1)):
        times = bench.times_us(active, CALLS)
        found |= {f"{name}_p50_us": float(np.median(times)), f"{name}_p99_us": float(np.quantile(times, 0.99))}
        found[f"{name}_symbol_steps_per_s"] = float(active / times.mean() * 1e6)
        progress.advance(task)
    found |= pinned(latency, bank, cache, cores[-1:])[0]
    progress.advance(task)
    found |= part_figures(bench)
    progress.advance(task)
    found["all_cores_symbol_steps_per_s"] = sum(pinned(rate, bank, cache, cores))
    progress.advance(task)
    return found | {"compilations_after_warm_up": float(bench.program.compilations() - bench.compiled)}


def config_of(bank: str) -> ModelConfig:
    """The packaged defaults with this bank for every symbol."""
    mapping = packaged_defaults().to_mapping()
    mapping["symbols"]["default"]["bank"] = bank
    return load(mapping)


def part_figures(bench: Bench) -> dict[str, float]:
    """Fastest time of each part for all lanes in microseconds; what the sum leaves is the joints between the parts."""
    from ...predictor.parts import parts, repeated

    jax: Any = import_module("jax")
    found: dict[str, float] = {}
    for name, part in parts(bench.program, bench.block, jax.numpy.asarray(bench.params)).items():
        run, start = repeated(part, PART_TICKS)
        fastest = least_s(partial(finished, jax, run, start), PART_RUNS)
        found[f"part_{name.replace(' ', '_')}_us"] = fastest / PART_TICKS * 1e6
    return found


def finished(jax: Any, run: Callable[[Any], Any], start: object) -> None:
    """Run to the end, not only until it is queued."""
    jax.block_until_ready(run(start))


def least_s(run: Callable[[], object], times: int) -> float:
    """The shortest of several runs, after one that warms up: other guests of the machine only ever add to it."""
    run()
    found: list[float] = []
    for _ in range(times):
        begin = time.perf_counter()
        run()
        found.append(time.perf_counter() - begin)
    return min(found)


def pinned(measure: Callable[[str], T], bank: str, cache: Path, cores: Sequence[int]) -> list[T]:
    """What one process on each of these cores finds, all at once.

    With a core to itself, a thread that waits for another need not wake another core.
    """
    with ProcessPoolExecutor(len(cores), mp_context=get_context("spawn")) as pool:
        return list(pool.map(partial(on_core, measure, bank, str(cache)), cores))


def on_core(measure: Callable[[str], T], bank: str, cache: str, core: int) -> T:
    """Measure in this process, kept on this core."""
    os.sched_setaffinity(0, {core})
    prepare_jax(Path(cache))
    return measure(bank)


def latency(bank: str) -> dict[str, float]:
    """Time of a call with one symbol."""
    times = Bench(config_of(bank)).times_us(1, CALLS)
    return {f"one_symbol_pinned_p{p}_us": float(np.quantile(times, p / 100)) for p in (50, 99)}


def rate(bank: str) -> float:
    """Symbol-steps per second with full lanes."""
    bench = Bench(config_of(bank))
    bench.times_us(bench.width, CALLS // 10)
    calls, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < RATE_S:
        bench.tick(bench.width)
        calls += 1
    return calls * bench.width / (time.perf_counter() - begin)


def growth(progress: Progress) -> dict[str, object]:
    """Memory that a million ticks leave behind, and whether the state kept its size; the core bank."""
    bench = Bench(config_of(BANKS[0]))
    size = bench.block.nbytes
    bench.times_us(bench.width, CALLS)
    before = resident_bytes()
    for _ in progress.track(range(GROWTH_TICKS // bench.width), description="a million ticks"):
        bench.tick(bench.width)
    grown = resident_bytes() - before
    return {
        "ticks": GROWTH_TICKS,
        "resident_growth_bytes": grown,
        "state_growth_bytes": bench.block.nbytes - size,
        "state_is_finite": bool(np.isfinite(np.asarray(bench.block)).all()),
    }


def resident_bytes() -> int:
    """Memory that this process holds."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def peers() -> dict[str, object]:
    """Microseconds per tick of models that users would take instead, learning and forecasting one symbol."""
    series = 100.0 + np.cumsum(np.random.default_rng(2).standard_normal(PEER_TICKS))
    found: dict[str, object] = {"peer_numpy_ar5_rls_us": per_tick_us(autoregression(series))}
    try:
        from river.time_series import SNARIMAX
    except ImportError:
        return found | {"peer_river_snarimax_us": "not installed: pip install 'usp[peers]'"}
    return found | {"peer_river_snarimax_us": per_tick_us(snarimax(SNARIMAX(p=5, d=1, q=1), series))}


def per_tick_us(ticks: Iterator[float]) -> float:
    """Mean time between the items."""
    begin = time.perf_counter()
    count = sum(1 for _ in ticks)
    return (time.perf_counter() - begin) / count * 1e6


def autoregression(series: np.ndarray, order: int = 5, ridge: float = 1e-3) -> Iterator[float]:
    """Forecasts of an AR(5) by recursive least squares in plain numpy."""
    covariance, weights = np.eye(order + 1) / ridge, np.zeros(order + 1)
    phi = np.append(np.zeros(order), 1.0)
    for value in series:
        gain = covariance @ phi
        inverse = 1.0 / (1.0 + phi @ gain)
        weights = weights + gain * ((value - weights @ phi) * inverse)
        covariance = covariance - np.outer(gain, gain) * inverse
        phi[1:order] = phi[: order - 1]
        phi[0] = value
        yield float(weights @ phi)


def snarimax(model: Any, series: np.ndarray) -> Iterator[float]:
    """Forecasts of River's online ARIMA."""
    for value in series:
        model.learn_one(float(value))
        yield model.forecast(horizon=1)[0]
