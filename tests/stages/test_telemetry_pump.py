# SPDX-License-Identifier: MIT
"""Telemetry gives way: whatever is wrong behind the ring, the thread that predicts goes on."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

import pytest

from prediction_examples import prediction
from usp.config.deployment import DeploymentSettings
from usp.config.model import load, packaged_defaults
from usp.io.adaptive_telemetry import AdaptiveTelemetry
from usp.io.kafka import KafkaSettings
from usp.io.metrics import Meter
from usp.io.ports import free_port
from usp.predictor.records import OUTPUT_COUNT, OUTPUTS
from usp.stages.adaptive_alerts import COVERAGE
from usp.stages.contract import SnapshotBegun, SnapshotTaken
from usp.stages.orchestrator import STAGE, Observe
from usp.stages.predictions import Observation
from usp.stages.process import Identity, kafka_settings
from usp.stages.telemetry_pump import FLUSH_S, TelemetryPump

CONFIG = packaged_defaults()
CAPACITY = CONFIG.io.telemetry_buffer_capacity
BATCH = 64
SLOW_S = 2.0


def pump_to(address: str) -> TelemetryPump:
    """A pump whose broker is said to be there."""
    bus: KafkaSettings = kafka_settings(DeploymentSettings(), Identity("orchestrator"), STAGE)
    return TelemetryPump(CONFIG, replace(bus, bootstrap_servers=address), "build", Meter("orchestrator"))


def batch(first: int) -> Observe:
    """So many steps of one partition."""
    steps = range(first + 1, first + BATCH + 1)
    return Observe([Observation(example(n), [float(n)] * OUTPUT_COUNT) for n in steps])


def example(n: int):
    """The n-th prediction."""
    return prediction(record_id=f"{n:032x}", symbol="X", origin_offset=n, state_step=n, weights=[0.25] * 4)


def observed(pump: TelemetryPump, batches: int) -> float:
    """Observe so many batches; the longest single call in seconds."""
    longest = 0.0
    for n in range(batches):
        effect = batch(n * BATCH)
        begin = time.monotonic()
        assert pump.observe(effect) == ()
        longest = max(longest, time.monotonic() - begin)
    return longest


@pytest.fixture
def silent_broker() -> Iterator[str]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_broker_that_is_not_there_stalls_nobody():
    """Steps go on, and leaving takes no longer than the two deadlines."""
    with pump_to(f"127.0.0.1:{free_port()}") as pump:
        assert observed(pump, 100) < SLOW_S
        begin = time.monotonic()
    assert time.monotonic() - begin < 2 * FLUSH_S + SLOW_S


def test_a_broker_that_does_not_answer_stalls_nobody(silent_broker: str):
    """A full network buffer or a stopped machine looks like this."""
    with pump_to(silent_broker) as pump:
        assert observed(pump, 100) < SLOW_S


def test_a_thread_that_does_not_run_costs_memory_of_one_ring():
    """What does not fit is dropped, the oldest first, and counted exactly."""
    pump = pump_to("127.0.0.1:1")
    batches = 2 * CAPACITY * CONFIG.core.lane_width // BATCH
    assert observed(pump, batches) < SLOW_S
    assert pump.buffer.size() == CAPACITY
    pump.drain()
    assert (pump.dropped, pump.taken) == (batches * BATCH // 2, batches * BATCH)
    pump.observe(batch(batches * BATCH))
    pump.drain()
    assert (pump.dropped, pump.taken) == (batches * BATCH // 2, (batches + 1) * BATCH)


def test_a_ring_that_fills_is_emptied_before_it_overflows():
    """Half full wakes the thread; nothing waits for the next look."""
    with pump_to("127.0.0.1:1") as pump:
        for n in range(4):
            observed(pump, CAPACITY * CONFIG.core.lane_width // BATCH // 2 + 1)
            end = time.monotonic() + 20.0
            while pump.buffer.size() > CAPACITY // 2 and time.monotonic() < end:
                time.sleep(0.001)
            assert pump.buffer.dropped == pump.dropped == 0, n


def test_the_greatest_batch_of_a_stage_fits_into_the_ring():
    """A flood makes batches of `bus.max_batch` records; one of them alone must lose nothing."""
    assert DeploymentSettings().bus.max_batch * 4 <= CAPACITY * CONFIG.core.lane_width


def test_the_adaptive_values_are_those_in_force():
    """Fifteen fields: what the step measured, the architecture of its own configuration, and how often that changed."""
    mapping = CONFIG.to_mapping()
    mapping["kernels"]["dgm_width_size"] = 2 * CONFIG.kernels.dgm_width_size
    wider = load(mapping)
    pump = pump_to("127.0.0.1:1")
    row = [float(n) for n in range(OUTPUT_COUNT)]
    found = [pump.adaptive(Observation(example(100), row, config=config)) for config in (CONFIG, wider, wider, None)]
    names = {each.name for each in fields(AdaptiveTelemetry)}
    assert [set(each) - names for each in found] == [{COVERAGE}] * 4
    assert all(names <= set(each) for each in found)
    assert [each["dgm_width_current"] / CONFIG.kernels.dgm_width_size for each in found] == [1.0, 2.0, 2.0, 1.0]
    assert [each["architecture_scaling_events"] for each in found] == [0.0, 1.0, 1.0, 2.0]
    assert found[0]["max_stiffness_metric"] == float(OUTPUTS.max_stiffness_metric)
    assert found[0]["learning_rate_current"] == float(OUTPUTS.learning_rate)
    assert found[0][COVERAGE] == float(OUTPUTS.coverage)


def test_adaptive_values_come_at_the_end_of_each_window():
    """Not at the start, not between, and not with the hash of a snapshot."""
    pump = pump_to("127.0.0.1:1")
    row = [0.0] * OUTPUT_COUNT
    window = CONFIG.io.telemetry_adaptive_window_size
    found = pump.columns([Observation(example(n), row) for n in (0, 1, window, window + 1)])
    assert (list(found.adaptive), dict(found.snapshots)) == ([2], {})
    again = pump.columns([Observation(example(window), row, "hash")])
    assert (dict(again.adaptive), dict(again.snapshots)) == ({}, {0: "hash"})


def test_the_hash_of_a_state_stands_beside_the_step_whose_state_it_is():
    """Steps that were handled while the snapshot was encoded and sent change nothing."""
    pump = pump_to("127.0.0.1:1")
    pump.observe(batch(0))
    partition = example(1).origin_partition
    pump.snapshot_begun(SnapshotBegun(partition))
    pump.observe(batch(BATCH))
    pump.snapshotted(SnapshotTaken(partition, "hash"))
    pump.snapshotted(SnapshotTaken(partition, "another"))
    held = [each for piece in pump.buffer.drain() for each in piece.observations]
    assert [(each.prediction.state_step, each.snapshot_hash) for each in held if each.snapshot_hash] == [
        (BATCH, "hash")
    ]


FULL_DISK = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
from stages.test_telemetry_pump import SLOW_S, observed, pump_to
with pump_to("127.0.0.1:1") as pump:
    assert observed(pump, 50) < SLOW_S
    try:
        Path(sys.argv[1]).write_text("x")
    except OSError as fault:
        print("went on;", type(fault).__name__)
"""


def test_a_disk_that_takes_nothing_stalls_nobody(tmp_path: Path):
    """The path from the ring to the broker writes no file."""
    tests = Path(__file__).parents[1]
    command: Sequence[str] = [sys.executable, "-B", "-c", FULL_DISK, str(tmp_path / "file")]
    done = subprocess.run(command, cwd=tests, capture_output=True, text=True, timeout=240)
    assert done.stdout.startswith("went on; "), done.stderr
