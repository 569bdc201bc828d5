# SPDX-License-Identifier: MIT
"""Telemetry beside the compute path: the stage drops references into a ring, a thread of its own does the rest.

The producer is not part of the stage's transactions; what the ring cannot hold is dropped and counted, and the
running number of the records shows the gap.
"""

from collections.abc import Mapping, Sequence
from threading import Event, Thread
from typing import Any

from confluent_kafka import Producer

from ..config.model import ModelConfig
from ..io.adaptive_telemetry import adaptive_from_outputs, as_numbers
from ..io.avro import encode
from ..io.kafka import KafkaSettings, producer_config
from ..io.metrics import Meter
from ..io.telemetry import (
    TelemetryBuffer,
    TelemetryRecord,
    materialize_telemetry_batch,
    should_emit_hash,
)
from ..io.telemetry_line import BUILD_HEADER
from ..predictor import OUTPUTS
from ..schemas.records import Telemetry
from . import topology
from .contract import Reply
from .orchestrator import Observe
from .predictions import Observation

DRAIN_S = 0.05
FLUSH_S = 2.0
MEASURED = {name: place for name, place in OUTPUTS._asdict().items() if isinstance(place, int)}


class TelemetryPump:
    """The ring, its thread and its producer. Used as a context: leaving it drains what is left."""

    def __init__(self, config: ModelConfig, bus: KafkaSettings, fingerprint: str, meter: Meter) -> None:
        self.config = config
        self.buffer = TelemetryBuffer(capacity=config.io.telemetry_buffer_capacity)
        self.producer = Producer(producer_config(bus))
        self.headers = [(BUILD_HEADER, fingerprint.encode())]
        self.meter = meter
        self.sequence = 0
        self.stop = Event()
        self.thread = Thread(target=self.run, name="telemetry", daemon=True)

    def __enter__(self) -> "TelemetryPump":
        self.thread.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self.stop.set()
        self.thread.join(FLUSH_S)
        self.producer.flush(FLUSH_S)

    def observe(self, effect: Observe) -> Sequence[Reply]:
        """On the compute thread: references into the ring, nothing more."""
        interval = self.config.io.telemetry_hash_interval_steps
        for observation in effect.observations:
            step = observation.prediction.state_step
            if should_emit_hash(step, interval):
                self.buffer.enqueue(TelemetryRecord(step=step, payload=payload(observation)))
        return ()

    def run(self) -> None:
        """Drain until told to stop, then once more."""
        while not self.stop.wait(DRAIN_S):
            self.drain()
        self.drain()

    def drain(self) -> None:
        """Materialise, hash and send what is in the ring."""
        records = self.buffer.drain()
        materialised = materialize_telemetry_batch(records, self.config.io.telemetry_hash_algorithm)
        self.meter.telemetry_dropped(self.buffer.dropped)
        for record in materialised:
            self.send(self.telemetry(record.payload))

    def telemetry(self, values: Mapping[str, Any]) -> Telemetry:
        """The record of one step."""
        self.sequence += 1
        observation: Observation = values["observation"]
        p, row = observation.prediction, observation.row
        return Telemetry(
            sequence=self.sequence,
            dropped=self.buffer.dropped,
            record_id=p.record_id,
            symbol=p.symbol,
            origin_partition=p.origin_partition,
            origin_offset=p.origin_offset,
            step=p.state_step,
            timestamp_ns=p.ts_event_ns,
            prediction=p.mean,
            weights=p.weights,
            free_energy=p.free_energy,
            ot_cost=row[OUTPUTS.ot_cost],
            kurtosis=p.kurtosis,
            holder_exponent=p.holder_exponent,
            dgm_entropy=p.dgm_entropy,
            mode_collapse_warning=p.mode_collapse_warning,
            degraded_mode=p.degraded_inference_mode,
            emergency_mode=p.emergency_mode,
            parity_hashes=values["parity_hashes"],
            snapshot_hash=None,
            adaptive=self.adaptive(p.state_step, row),
        )

    def adaptive(self, step: int, row: Sequence[float]) -> dict[str, float] | None:
        """The adaptive-telemetry fields as the step measured them, at the end of each of their windows."""
        if step == 0 or step % self.config.io.telemetry_adaptive_window_size:
            return None
        numbers = {name: row[place] for name, place in MEASURED.items()}
        return as_numbers(adaptive_from_outputs(numbers, self.config, 0))

    def send(self, record: Telemetry) -> None:
        """To the telemetry topic; a full queue loses the record, never the compute thread's time."""
        try:
            self.producer.produce(
                topology.TELEMETRY.name,
                key=record.symbol.encode(),
                value=encode(record),
                partition=record.origin_partition,
                headers=list(self.headers),
            )
        except BufferError:
            self.meter.telemetry_lost()
        self.producer.poll(0)


def payload(observation: Observation) -> dict[str, Any]:
    """References to the step's outputs; the names are the requirement's (section 8.2)."""
    return {
        "observation": observation,
        "weights_ref": observation.prediction.weights,
        "ot_cost_ref": observation.row[OUTPUTS.ot_cost],
    }
