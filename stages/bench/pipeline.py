# SPDX-License-Identifier: MIT
"""`usp bench pipeline`: tick to prediction, end to end, beside a chain that only copies.

Both chains have two hops with one transaction per batch each, run on the same broker in the same session, and are
measured by the same reader; ratios are what counts, since machines differ.
"""

import shutil
import sys
import time
from pathlib import Path
from threading import Thread

import numpy as np
from confluent_kafka.admin import AdminClient
from rich.console import Console

from ...config.deployment import DeploymentSettings
from ...io.avro import encode
from ...io.bus import RawRecord
from ...io.local_process import spawn
from ...io.reader import ReadRecord, TopicReader
from ...io.topics import TopicSpec, ensure_topics
from ...schemas.records import Prediction, Tick
from .. import topology
from ..commands.demo import local_pipeline
from ..publisher import tick_producer
from .ticks import bench_tick

SYMBOLS = 64
RATES_PER_S = (500, 2000)
SECONDS = 12.0
TURNS = 3
WARM_S = 6.0
WARM_UP_S = 90.0
FLOOD = 60_000


def bench_pipeline(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """Latency at each rate for both chains, their ratios, and the rate at which a flood is worked off."""
    run_dir = (settings.paths.resolved("data_dir") / "bench").absolute()
    shutil.rmtree(run_dir, ignore_errors=True)
    found: dict[str, object] = {}
    started = time.monotonic()
    with local_pipeline(settings, run_dir, console, steady=True) as (_, servers, delivery):
        found |= {"delivery": delivery, "start_to_ready_s": time.monotonic() - started}
        console.print(f"warming up for {WARM_UP_S:.0f} s: the broker compiles what it does often")
        feed(servers, topology.MARKET_TICKS.name, RATES_PER_S[0], WARM_UP_S)
        for rate in RATES_PER_S:
            found |= beside_copies(servers, rate, run_dir, console)
        found["flood_64_symbols_per_s"] = flood(servers, SYMBOLS)
        found["flood_one_hot_symbol_per_s"] = flood(servers, 1)
    return found


def beside_copies(servers: str, rate: int, run_dir: Path, console: Console) -> dict[str, object]:
    """Both chains in turns, so that what else the machine does at the time meets both; all turns of a chain count."""
    turns: dict[str, list[np.ndarray]] = {"copy": [], "pipeline": []}
    for _ in range(TURNS):
        turns["copy"].append(copy_latencies(servers, rate, run_dir))
        turns["pipeline"].append(latencies(servers, topology.MARKET_TICKS.name, topology.PREDICTIONS.name, rate))
        told = ", ".join(f"{chain} {np.median(samples[-1]):.1f} ms" for chain, samples in turns.items())
        console.print(f"p50 at {rate}/s: {told}")
    found: dict[str, object] = {}
    ratio: dict[str, float] = {}
    for name, level in (("p50", 0.50), ("p99", 0.99)):
        copy, ours = (float(np.quantile(np.concatenate(samples), level)) for samples in turns.values())
        found |= {f"copy_{rate}_{name}_ms": copy, f"pipeline_{rate}_{name}_ms": ours}
        ratio[name] = ours / copy
    return found | {f"ratio_{rate}": ratio}


def copy_latencies(servers: str, rate: int, run_dir: Path) -> np.ndarray:
    """The yardstick: two copying processes, started for this measurement only."""
    names = [f"bench.{place}.{rate}" for place in ("in", "mid", "out")]
    ensure_topics(AdminClient({"bootstrap.servers": servers}), [TopicSpec(n, topology.PARTITIONS, {}) for n in names])
    log = run_dir / "copy.log"
    hops = [
        spawn(f"copy {source}", [sys.executable, "-m", "usp.stages.bench.copy_chain", servers, source, target], log)
        for source, target in ((names[0], names[1]), (names[1], names[2]))
    ]
    try:
        return latencies(servers, names[0], names[2], rate)
    finally:
        for hop in hops:
            hop.stop(5.0)


def latencies(servers: str, source: str, target: str, rate: int) -> np.ndarray:
    """Milliseconds from the publisher's stamp to a read_committed reader, one for each tick.

    The reader decodes when all is over: its own work is no part of either chain, and would take their cores.
    """
    reader = TopicReader(servers, [target], from_start=False)
    feeder = Thread(target=feed, args=(servers, source, rate, WARM_S + SECONDS), daemon=True)
    feeder.start()
    begin_ns = time.time_ns() + int(WARM_S * 1e9)
    arrived: list[tuple[int, RawRecord]] = []
    end = time.monotonic() + WARM_S + SECONDS + 2.0
    while time.monotonic() < end:
        batch = reader.read_raw(timeout_s=0.05)
        now_ns = time.time_ns()
        arrived += [(now_ns, raw) for raw in batch]
    reader.close()
    feeder.join()
    records = [(now_ns, reader.decoded(raw)) for now_ns, raw in arrived]
    stamps = [(now_ns, stamped_ns(record)) for now_ns, record in records if reader.is_new(record)]
    samples = [(now_ns - sent_ns) / 1e6 for now_ns, sent_ns in stamps if sent_ns >= begin_ns]
    if not samples:
        raise TimeoutError(f"nothing came out of {target} within {WARM_S + SECONDS:.0f} s")
    return np.array(samples)


def stamped_ns(record: ReadRecord) -> int:
    """When the publisher sent the tick behind this record; 0 if there is none."""
    return record.value.ts_event_ns if isinstance(record.value, Tick | Prediction) else 0


def feed(servers: str, topic: str, rate: int, seconds: float) -> None:
    """Ticks of 64 symbols at a steady rate, each stamped when it is sent."""
    producer = tick_producer(servers, {})
    start = time.monotonic()
    for number in range(int(rate * seconds)):
        ahead = start + number / rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        tick = bench_tick(number, SYMBOLS, time.time_ns())
        producer.produce(topic, key=tick.symbol.encode(), value=encode(tick))
        producer.poll(0)
    producer.flush(10.0)


def flood(servers: str, symbols: int) -> float:
    """Predictions per second while the whole pipeline works off a backlog."""
    count = FLOOD if symbols > 1 else FLOOD // 6
    reader = TopicReader(servers, [topology.PREDICTIONS.name], from_start=False)
    producer = tick_producer(servers, {})
    base_ns = time.time_ns()
    for number in range(count):
        tick = bench_tick(number, symbols, base_ns + number)
        while True:
            try:
                producer.produce(topology.MARKET_TICKS.name, key=tick.symbol.encode(), value=encode(tick))
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush(60.0)
    seen, first, last = 0, 0.0, 0.0
    end = time.monotonic() + 120.0
    while seen < count and time.monotonic() < end:
        records = reader.read(most=5000)
        if records:
            last = time.monotonic()
            first = first or last
            seen += len(records)
    reader.close()
    return seen / (last - first) if last > first else float("nan")
