# SPDX-License-Identifier: MIT
"""`usp bench snapshot`: does a snapshot of many symbols hold the loop up, and how long does a restore take?

The orchestrator's own loop runs on a bus in memory, by turns without snapshots and with one partition's after the
other under way. What is compared is the time of a turn, from the records to their commit; the broker's share is not
in it. The encoder thread shares the processors with the loop, as in the stage.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from ...config.deployment import DeploymentSettings
from ...config.model import ModelConfig
from ...io.avro import decode, encode
from ...io.bus import Delivery, Outgoing, Partition, Polled, RawRecord
from ...io.metrics import Meter
from ...io.snapshots import Snapshot, SnapshotHeader, decode_snapshot
from ...schemas.records import SnapshotChunk, ValidatedTick
from .. import topology
from ..fingerprint import prepare_jax
from ..recovery import SnapshotCadence
from ..runner import Runner, World
from .step import config_of

SYMBOLS, BATCH = 10_000, 500
TURNS, ROUNDS, MOST_TURNS = 100, 2, 2000
BASE_NS, TICK_NS = 1_700_000_000_000_000_000, 1_000_000
NEVER = 10**18


@dataclass
class Treadmill:
    """A bus (see `io.bus.Bus`) that always has a batch, and keeps nothing but pieces of snapshots."""

    symbols: int
    delivery: Delivery = "exactly_once"
    number: int = 0
    feeding_s: float = 0.0
    assigned: list[Partition] = field(
        default_factory=lambda: [Partition(topology.VALIDATED.name, n) for n in range(topology.PARTITIONS)]
    )
    pieces: dict[int, list[bytes]] = field(default_factory=dict[int, list[bytes]])

    def log_id(self, topic: str) -> str:
        return f"treadmill/{topic}"

    def poll(self, max_records: int, timeout_s: float) -> Polled:
        """The next batch: one tick of each symbol, round and round."""
        del timeout_s
        if self.assigned:
            assigned, self.assigned = self.assigned, []
            return Polled([], assigned)
        begin = time.perf_counter()
        records = [self.record() for _ in range(max_records)]
        self.feeding_s += time.perf_counter() - begin
        return Polled(records)

    def record(self) -> RawRecord:
        """The next tick."""
        number, self.number = self.number, self.number + 1
        symbol, at_ns = number % self.symbols, BASE_NS + number * TICK_NS
        tick = ValidatedTick(
            symbol=f"S{symbol:05d}", venue="bench", kind="trade", price=100.0 + number * 7919 % 41 / 8, size=None,
            bid=None, ask=None, sequence=None, ts_event_ns=at_ns, ts_publish_ns=at_ns, producer_id="bench",
            origin_partition=symbol % topology.PARTITIONS, origin_offset=number, origin_row=0, accept=True,
            suspend_jko_update=False, degraded_mode=False, freeze_kernel_d=False, staleness_ns=0, validated_ns=at_ns,
            events=[], ingest_config_hash="",
        )  # fmt: skip
        where = Partition(topology.VALIDATED.name, tick.origin_partition)
        return RawRecord(where, number, tick.symbol.encode(), encode(tick), at_ns, ())

    def start(self, partition: Partition, offset: int) -> None:
        del partition, offset

    def committed(self, partition: Partition) -> int | None:
        del partition
        return None

    def bounds(self, partition: Partition) -> tuple[int, int]:
        del partition
        return 0, 0

    def read(self, partition: Partition, start: int, stop: int) -> Iterator[Sequence[RawRecord]]:
        del partition, start, stop
        yield from ()

    def commit(self, outgoing: Sequence[Outgoing], positions: Mapping[Partition, int]) -> None:
        """Keep pieces of snapshots, forget all else."""
        del positions
        for record in outgoing:
            if record.topic == topology.SNAPSHOTS.name and record.value is not None:
                self.pieces.setdefault(record.partition or 0, []).append(record.value)

    def close(self, deadline_s: float) -> None:
        del deadline_s


class NoSnapshots:
    """A cold start."""

    def newest(
        self, stage: str, partition: int, log_id: str, at_most_offset: int, usable: Callable[[SnapshotHeader], bool]
    ) -> Snapshot | None:
        del stage, partition, log_id, at_most_offset, usable
        return None


def bench_snapshot(settings: DeploymentSettings, console: Console) -> dict[str, object]:
    """Turns without and with snapshots, and the restore of everything."""
    from concurrent.futures import ThreadPoolExecutor

    prepare_jax(settings.paths.resolved("cache_dir"))
    config, bus = config_of("core"), Treadmill(SYMBOLS)
    with ThreadPoolExecutor(1, "snapshots") as encoder, Progress(console=console, transient=True) as progress:
        runner = runner_of(config, bus, encoder)
        for _ in progress.track(range(2 * SYMBOLS // BATCH + 2), description="symbols"):
            runner.turn()
        calm: list[float] = []
        under_way: list[float] = []
        for _ in progress.track(range(ROUNDS), description="turns"):
            calm += [turn_s(runner, bus) for _ in range(TURNS)]
            under_way += snapshot_all(runner, bus)
        found = compared(np.array(calm), np.array(under_way))
        return found | restored(config, bus) | {"symbols": SYMBOLS, "ticks_per_turn": BATCH}


def runner_of(config: ModelConfig, bus: Treadmill, encoder: Any) -> Runner:
    """The orchestrator's loop on that bus; snapshots are due when the bench says so."""
    from ..orchestrator import STAGE

    world = World(
        bus=bus, snapshots=NoSnapshots(), execute=lambda effect: (), now_ns=time.time_ns, meter=Meter("bench"),
        fingerprint="bench", cadence=SnapshotCadence(NEVER, NEVER), encoder=encoder,
    )  # fmt: skip
    return Runner(STAGE, config, world, max_records=BATCH)


def turn_s(runner: Runner, bus: Treadmill) -> float:
    """Seconds of one turn without the making of its ticks."""
    before, begin = bus.feeding_s, time.perf_counter()
    runner.turn()
    return time.perf_counter() - begin - (bus.feeding_s - before)


def snapshot_all(runner: Runner, bus: Treadmill) -> list[float]:
    """Make every partition due; the times of all turns until the last piece is sent."""
    bus.pieces.clear()
    recovery, times = runner.recovery, list[float]()
    recovery.marks = {number: mark._replace(at_ns=0) for number, mark in recovery.marks.items()}
    while len(times) < MOST_TURNS and (runner.outbox.parcels or recovery.due(runner.state, time.time_ns())):
        times.append(turn_s(runner, bus))
    return times


def compared(calm: np.ndarray, under_way: np.ndarray) -> dict[str, object]:
    """Quantiles in milliseconds, and their ratios."""
    found: dict[str, object] = {"turns_without": len(calm), "turns_with": len(under_way)}
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        without, beside = float(np.quantile(calm, share)), float(np.quantile(under_way, share))
        found |= {f"turn_{name}_ms": without * 1e3, f"turn_{name}_with_snapshot_ms": beside * 1e3}
        found[f"turn_{name}_ratio"] = beside / without
    return found | {"longest_turn_ms": calm.max() * 1e3, "longest_turn_with_snapshot_ms": under_way.max() * 1e3}


def restored(config: ModelConfig, bus: Treadmill) -> dict[str, object]:
    """Seconds from the pieces to a state that can step, all partitions one after the other."""
    from ..orchestrator import STAGE

    bodies = [b"".join(payloads(values)) for values in bus.pieces.values()]
    begin = time.perf_counter()
    state = STAGE.init(config)
    for body in bodies:
        snapshot = decode_snapshot(body)
        if STAGE.restore is not None:
            state = STAGE.restore(state, snapshot.header.partition, snapshot.document)
    elapsed = time.perf_counter() - begin
    return {"snapshot_bytes": sum(map(len, bodies)), "restore_s": elapsed, "symbols_restored": len(state.symbols)}


def payloads(values: Sequence[bytes]) -> Iterator[bytes]:
    """What the pieces carry, in the order in which they were sent."""
    for value in values:
        piece = decode(value)
        if isinstance(piece, SnapshotChunk):
            yield piece.payload
