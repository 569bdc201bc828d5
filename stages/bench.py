# SPDX-License-Identifier: MIT
"""`usp bench`: the figures that the project promises, measured by commands that anybody can run."""

import time
from collections.abc import Callable

import numpy as np
from rich.console import Console

from ..config.deployment import DeploymentSettings
from ..config.model import packaged_defaults
from ..io.avro import decode, encode
from ..io.bus import Partition
from ..schemas.records import Tick
from . import topology
from .bench_ticks import bench_tick
from .contract import Batch, Record, Send
from .fingerprint import prepare_jax
from .process import quiet_collector

STEP_CALLS = 2000
INGEST_TICKS = 60_000
BATCH = 1000
BASE_NS = 1_700_000_000_000_000_000


def bench_step(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """The compiled step: one call with one symbol, one call with all lanes, compilations after warm-up."""
    prepare_jax(settings.paths.resolved("cache_dir"))
    from ..predictor import INPUT_COUNT, Inputs, program_for, split_time_ns, structure_of

    config = packaged_defaults()
    program = program_for(structure_of(config, "BENCH"))
    width = program.lane_width
    params = np.repeat(program.params(config, "BENCH")[:, None], width, axis=1)
    started = time.perf_counter()
    program.warm_up(params)
    compile_s = time.perf_counter() - started
    compiled = program.compilations()
    block = program.new_block()
    for lane in range(width):
        block = program.load_column(block, lane, program.init_column(config, f"BENCH{lane}"))
    prices = 100.0 + np.cumsum(np.random.default_rng(1).standard_normal((STEP_CALLS, width)), axis=0)
    found: dict[str, object] = {"warm_up_s": compile_s, "state_bytes_per_symbol": program.state_size * 8}
    for name, active in (("one_symbol", 1), ("all_lanes", width)):
        times: list[float] = []
        for call in range(STEP_CALLS):
            inputs = np.zeros((INPUT_COUNT, width))
            inputs[Inputs.ACTIVE, :active] = inputs[Inputs.ACCEPT, :active] = 1.0
            inputs[Inputs.PRICE] = prices[call]
            seconds, remainder = split_time_ns(BASE_NS + call * 1_000_000)
            inputs[Inputs.TIME_S], inputs[Inputs.TIME_REMAINDER_NS] = seconds, remainder
            begin = time.perf_counter()
            block, outputs = program.step(block, params, inputs)
            np.asarray(outputs)
            times.append((time.perf_counter() - begin) * 1e6)
        settled = np.array(times[STEP_CALLS // 10 :])
        found |= {f"{name}_p50_us": float(np.median(settled)), f"{name}_p99_us": float(np.quantile(settled, 0.99))}
        found[f"{name}_steps_per_s"] = float(active / settled.mean() * 1e6)
        console.print(f"{name}: {found[f'{name}_p50_us']:.0f} us")
    return found | {"compilations_after_warm_up": program.compilations() - compiled}


def bench_ingest(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """Ingest without a broker: decode, judge, encode, on one core."""
    del settings, console
    from .ingest import STAGE

    wires = [encode(bench_tick(n, 64, BASE_NS + n * 1_000_000)) for n in range(INGEST_TICKS)]
    state = STAGE.init(packaged_defaults())
    quiet_collector()
    begin, out = time.perf_counter(), 0
    for first in range(0, INGEST_TICKS, BATCH):
        records = [record_of(wires[place], place) for place in range(first, first + BATCH)]
        outputs, state = STAGE.handle(Batch(BASE_NS + first * 1_000_000, records), state)
        out += sum(len(encode(output.value)) > 0 for output in outputs if isinstance(output, Send))
    elapsed = time.perf_counter() - begin
    return {"ticks_per_s": INGEST_TICKS / elapsed, "us_per_tick": elapsed / INGEST_TICKS * 1e6, "records_out": out}


def record_of(wire: bytes, place: int) -> Record:
    """A tick as the runner hands it to ingest."""
    tick = decode(wire)
    if not isinstance(tick, Tick):
        raise TypeError(f"found {tick}; expected the tick that was encoded")
    partition = Partition(topology.MARKET_TICKS.name, 0)
    return Record(partition, place, tick.symbol.encode(), tick, BASE_NS + place * 1_000_000, (), wire)


def pipeline(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """End to end over a local broker."""
    from .bench_pipeline import bench_pipeline

    return bench_pipeline(settings, console)


def governor(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """The judges on changes whose effect is known."""
    from .bench_governor import bench_governor

    return bench_governor(settings, console)


def tuning(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """Automatic tuning beside none, on markets that change their regime."""
    from .bench_tuning import bench_tuning

    return bench_tuning(settings, console)


BENCHES: dict[str, Callable[[DeploymentSettings, Console], dict[str, object]]] = {
    "step": bench_step,
    "ingest": bench_ingest,
    "pipeline": pipeline,
    "governor": governor,
    "tuning": tuning,
}
