# SPDX-License-Identifier: MIT
"""Telemetry beside the compute path: the stage drops references into a ring, a thread of its own does the rest.

The producer is not part of the stage's transactions; what the ring cannot hold is dropped and counted, and the
running number of the records shows the gap.
"""

from collections.abc import Sequence
from itertools import chain, groupby, islice
from operator import attrgetter, itemgetter
from threading import Event, Thread
from typing import NamedTuple

from ..config.model import ModelConfig
from ..io.adaptive_telemetry import adaptive_from_outputs, as_numbers
from ..io.avro import encode
from ..io.kafka import KafkaSettings, producer_config
from ..io.metrics import Meter
from ..io.telemetry import TelemetryBuffer, should_emit_hash
from ..io.telemetry_block import Origin, Steps, pack
from ..io.telemetry_line import BUILD_HEADER
from ..io.wire import SINGLE_OBJECT, FramingProducer, Wire
from ..predictor import OUTPUTS
from ..schemas.records import TelemetryBlock
from . import topology
from .adaptive_alerts import COVERAGE
from .contract import Reply, SnapshotBegun, SnapshotTaken
from .orchestrator import Observe
from .predictions import Observation

DRAIN_S = 0.5
FLUSH_S = 2.0
BLOCK_STEPS = 1000
PARTITION = attrgetter("prediction.origin_partition")
PLACE = attrgetter("record_id", "symbol", "origin_offset", "state_step", "ts_event_ns")
MEASURED = {name: place for name, place in OUTPUTS._asdict().items() if isinstance(place, int)}
o = OUTPUTS
VALUES = itemgetter(
    *range(o.rho.start, o.rho.stop),
    *(o.mean, o.free_energy, o.ot_cost, o.kurtosis, o.holder_exponent, o.dgm_entropy),
    *(o.mode_collapse_warning, o.degraded_mode, o.emergency_mode),
)


class Slice(NamedTuple):
    """One record of the ring: about what one call of the compiled step put out. `first` numbers its first step."""

    first: int
    observations: Sequence[Observation]


class TelemetryPump:
    """The ring, its thread and its producer. Used as a context: leaving it drains what is left.

    The ring's capacity counts slices. Steps that it had to drop show as a jump of the running number.
    """

    def __init__(
        self, config: ModelConfig, bus: KafkaSettings, fingerprint: str, meter: Meter, wire: Wire = SINGLE_OBJECT
    ) -> None:
        self.config = config
        self.buffer = TelemetryBuffer[Slice](capacity=config.io.telemetry_buffer_capacity)
        self.enqueued, self.taken, self.dropped = 0, 0, 0
        self.producer = FramingProducer(producer_config(bus), wire)
        self.headers = [(BUILD_HEADER, fingerprint.encode())]
        self.meter = meter
        self.newest: dict[int, Observation] = {}
        self.begun: dict[int, Observation] = {}
        self.architectures: dict[tuple[int, str], tuple[tuple[int, int], int]] = {}
        self.window = config.io.telemetry_adaptive_window_size
        self.stopped = False
        self.wake = Event()
        self.thread = Thread(target=self.run, name="telemetry", daemon=True)

    def __enter__(self) -> "TelemetryPump":
        self.thread.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self.stopped = True
        self.wake.set()
        self.thread.join(FLUSH_S)
        self.producer.flush(FLUSH_S)

    def observe(self, effect: Observe) -> Sequence[Reply]:
        """On the compute thread: references into the ring, nothing more."""
        interval = self.config.io.telemetry_hash_interval_steps
        chosen = effect.observations
        if interval > 1:
            chosen = [each for each in chosen if should_emit_hash(each.prediction.state_step, interval)]
        self.enqueue(chosen)
        self.newest.update(zip(map(PARTITION, effect.observations), effect.observations, strict=True))
        return ()

    def enqueue(self, observations: Sequence[Observation]) -> None:
        """Into the ring, slice by slice; a ring that is half full wakes the thread."""
        first, width = self.enqueued, self.config.core.lane_width
        places = range(0, len(observations), width)
        self.buffer.enqueue_all([Slice(first + place, observations[place : place + width]) for place in places])
        self.enqueued += len(observations)
        if self.buffer.size() > self.buffer.capacity // 2:
            self.wake.set()

    def snapshot_begun(self, effect: SnapshotBegun) -> Sequence[Reply]:
        """Remember the step whose state is taken."""
        if effect.partition in self.newest:
            self.begun[effect.partition] = self.newest[effect.partition]
        return ()

    def snapshotted(self, effect: SnapshotTaken) -> Sequence[Reply]:
        """The step whose state was taken once more, with the hash of that state."""
        step = self.begun.pop(effect.partition, None)
        if step is not None:
            self.enqueue([step._replace(snapshot_hash=effect.body_hash)])
        return ()

    def run(self) -> None:
        """Drain at intervals, and at once when the ring is half full; once more when told to stop."""
        while not self.stopped:
            self.wake.wait(DRAIN_S)
            self.wake.clear()
            self.drain()
        self.drain()

    def drain(self) -> None:
        """Hash, pack and send what is in the ring: blocks of steps, partition by partition."""
        slices = self.buffer.drain()
        if not slices:
            return
        sequence = slices[0].first
        self.dropped += sequence - self.taken
        self.taken = slices[-1].first + len(slices[-1].observations)
        self.meter.telemetry_dropped(self.dropped)
        drained = chain.from_iterable(held.observations for held in slices)
        by_partition = sorted(drained, key=PARTITION)  # stable: the steps of a symbol stay in order
        for partition, observations in groupby(by_partition, PARTITION):
            while chunk := list(islice(observations, BLOCK_STEPS)):
                origin = Origin(partition, sequence, self.dropped, self.config.io.telemetry_hash_algorithm)
                self.send(pack(self.columns(chunk), origin))
                sequence += len(chunk)

    def columns(self, observations: Sequence[Observation]) -> Steps:
        """The steps of a block; made without loops where it can be, since the thread that predicts waits meanwhile."""
        predictions = [each.prediction for each in observations]
        ids, symbols, offsets, steps, times_ns = zip(*map(PLACE, predictions), strict=True)
        snapshots = {row: each.snapshot_hash for row, each in enumerate(observations) if each.snapshot_hash is not None}
        adaptive = {
            row: self.adaptive(observations[row])
            for row, step in enumerate(steps)
            if step % self.window == 0 and step > 0 and row not in snapshots
        }
        values = map(VALUES, [each.row for each in observations])
        return Steps(ids, symbols, offsets, steps, times_ns, values, adaptive, snapshots)

    def adaptive(self, observation: Observation) -> dict[str, float]:
        """The adaptive-telemetry fields as the step measured them, and the coverage of the interval."""
        row, config = observation.row, observation.config or self.config
        key = (observation.prediction.origin_partition, observation.prediction.symbol)
        size = (config.kernels.dgm_width_size, config.kernels.dgm_depth)
        known, changes = self.architectures.get(key, (size, 0))
        self.architectures[key] = (size, changes + (known != size))
        numbers = {name: row[place] for name, place in MEASURED.items()}
        adaptive = adaptive_from_outputs(numbers, config, self.architectures[key][1])
        return as_numbers(adaptive) | {COVERAGE: row[OUTPUTS.coverage]}

    def send(self, block: TelemetryBlock) -> None:
        """To the telemetry topic; a full queue loses the block, never the compute thread's time."""
        try:
            self.producer.produce(
                topology.TELEMETRY.name,
                key=str(block.origin_partition).encode(),
                value=encode(block),
                partition=block.origin_partition,
                headers=list(self.headers),
            )
        except BufferError:
            self.meter.telemetry_lost(len(block.symbols))
        self.producer.poll(0)
