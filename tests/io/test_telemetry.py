# SPDX-License-Identifier: MIT
import json
import math
import subprocess
import sys
import timeit
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usp.config.model import packaged_defaults
from usp.io.adaptive_telemetry import adaptive_from_outputs, as_numbers
from usp.io.parity import canonical_float64, parity_hash
from usp.io.telemetry import (
    AdaptiveTelemetry,
    TelemetryBuffer,
    TelemetryRecord,
    collect_adaptive_telemetry,
    emit_adaptive_telemetry,
    materialize_telemetry_batch,
    should_emit_hash,
)

WEIGHTS = np.array([0.1, 0.2, 0.3, 0.4])


def record(step: int = 42, **other: Any) -> TelemetryRecord:
    """A record of the requirement's shape."""
    payload = {
        "step": step,
        "timestamp_ns": 1_700_000_000_000_000_000,
        "prediction_ref": np.float64(1.5),
        "weights_ref": WEIGHTS,
        "free_energy_ref": np.array(0.25),
        "kurtosis_ref": np.array([3.0]),
        "mode_collapse_warning": False,
    }
    return TelemetryRecord(step, payload | other)


@given(capacity=st.integers(1, 5), script=st.lists(st.integers(0, 8)))
def test_the_ring_keeps_the_newest_and_counts_the_rest(capacity: int, script: list[int]):
    """Nothing is lost without being counted, and running numbers tell where."""
    buffer = TelemetryBuffer(capacity)
    sent = taken = 0
    for count in script:
        for _ in range(count):
            buffer.enqueue(TelemetryRecord(sent, {}))
            sent += 1
        drained = buffer.drain_numbered()
        assert [each.step for each in drained.records] == list(range(drained.first_sequence, sent))
        taken += len(drained.records)
        assert taken + drained.dropped == sent == buffer.enqueued
        assert buffer.size() == 0


def test_threads_lose_nothing_between_them():
    """Several producers and a consumer at once: every record is drained or counted."""
    buffer = TelemetryBuffer(100)
    drained: list[int] = []
    producers = [
        Thread(target=lambda: [buffer.enqueue(TelemetryRecord(step, {})) for step in range(5_000)]) for _ in range(3)
    ]
    for producer in producers:
        producer.start()
    while any(producer.is_alive() for producer in producers):
        drained.append(len(buffer.drain()))
    drained.append(len(buffer.drain()))
    for producer in producers:
        producer.join()
    assert sum(drained) + buffer.dropped == 15_000


def test_an_enqueue_costs_about_a_microsecond():
    """The compute thread does not notice; a generous bound for slow machines."""
    buffer, one = TelemetryBuffer(1024), record()
    assert min(timeit.repeat(lambda: buffer.enqueue(one), number=20_000, repeat=5)) / 20_000 < 5e-6


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_ring_without_room_is_refused(capacity: int):
    """A capacity below one is a mistake of the configuration."""
    with pytest.raises(ValueError, match=f"telemetry capacity was {capacity}, expected at least 1"):
        TelemetryBuffer(capacity)


def test_records_are_emitted_at_their_interval():
    """Every n-th step; an interval below one is refused."""
    assert [step for step in range(10) if should_emit_hash(step, 3)] == [0, 3, 6, 9]
    with pytest.raises(ValueError, match="telemetry interval was 0"):
        should_emit_hash(1, 0)


def test_materialised_records_are_plain():
    """No references, no `_ref`, scalars as numbers, flags as they were, hashes of rho and the cost."""
    (plain,) = materialize_telemetry_batch([record()])
    assert plain == TelemetryRecord(
        42,
        {
            "step": 42,
            "timestamp_ns": 1_700_000_000_000_000_000,
            "prediction": 1.5,
            "weights": [0.1, 0.2, 0.3, 0.4],
            "free_energy": 0.25,
            "kurtosis": 3.0,
            "mode_collapse_warning": False,
            "parity_hashes": {
                "rho_sha256": parity_hash(WEIGHTS, "sha256"),
                "ot_cost_sha256": parity_hash(0.25, "sha256"),
            },
        },
    )
    assert materialize_telemetry_batch([]) == []


def test_the_transport_cost_is_hashed_if_it_is_there():
    """Else the free energy stands for it, as the requirement's payload has it."""
    (plain,) = materialize_telemetry_batch([record(ot_cost_ref=np.float64(7.0))], "crc32c")
    assert plain.payload["parity_hashes"] == {
        "rho_crc32c": parity_hash(WEIGHTS, "crc32c"),
        "ot_cost_crc32c": parity_hash(7.0, "crc32c"),
    }


def test_device_arrays_come_to_the_host():
    """JAX arrays give the same record as numpy arrays, bit for bit."""
    jax = pytest.importorskip("jax")
    import usp  # noqa: F401  # switches 64-bit numbers on

    jax.config.update("jax_enable_x64", True)
    on_device = record(weights_ref=jax.numpy.asarray(WEIGHTS), free_energy_ref=jax.numpy.asarray(0.25))
    assert materialize_telemetry_batch([on_device, record()]) == materialize_telemetry_batch([record(), on_device])


def test_equal_numbers_have_equal_hashes():
    """One zero, one NaN, one layout and byte order; anything else is told apart."""
    other_nan = np.frombuffer(b"\x01\x00\x00\x00\x00\x00\xf8\xff", dtype="<f8")[0]
    assert canonical_float64([-0.0, np.nan]) == canonical_float64(np.array([0.0, other_nan]))
    assert canonical_float64(WEIGHTS.astype(">f8")) == canonical_float64(list(WEIGHTS)) == WEIGHTS.tobytes()
    assert canonical_float64(np.asfortranarray(WEIGHTS.reshape(2, 2))) == WEIGHTS.tobytes()
    assert parity_hash(WEIGHTS, "sha256") != parity_hash(np.nextafter(WEIGHTS, 1.0), "sha256")


def test_hashes_are_those_of_everybody():
    """SHA-256 and CRC-32C of eight zero bytes, as any other tool computes them."""
    assert parity_hash(0.0, "sha256") == "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc"
    assert parity_hash(0.0, "crc32c") == "8c28b28a"


STATE = SimpleNamespace(
    solver_explicit_count=np.int64(75),
    solver_implicit_count=25,
    max_stiffness_metric=np.array([12.5]),
    num_internal_iterations_mean=2.5,
    implicit_residual_norm_max=1e-11,
    dgm_entropy=3.0,
    baseline_entropy=np.array([2.0]),
    architecture_scaling_events=1,
    entropy_window=60.0,
    learning_rate=0.02,
    ema_variance=0.5,
    stiffness_low=110.0,
    stiffness_high=1100.0,
    holder_exponent=0.55,
)


def test_adaptive_telemetry_reports_what_is_in_force():
    """All fifteen fields are measured; none is copied from the configured starting points."""
    config = packaged_defaults()
    found = collect_adaptive_telemetry(STATE, config)
    assert found == AdaptiveTelemetry(
        scheme_frequency_explicit=0.75,
        scheme_frequency_implicit=0.25,
        max_stiffness_metric=12.5,
        num_internal_iterations_mean=2.5,
        implicit_residual_norm_max=1e-11,
        entropy_ratio_current=1.5,
        dgm_width_current=config.kernels.dgm_width_size,
        dgm_depth_current=config.kernels.dgm_depth,
        architecture_scaling_events=1,
        entropy_window_current=60.0,
        learning_rate_current=0.02,
        volatility_sigma_squared=0.5,
        stiffness_low_adaptive=110.0,
        stiffness_high_adaptive=1100.0,
        holder_exponent_wtmm=0.55,
    )
    assert found is not None
    assert len(as_numbers(found)) == 15


def test_adaptive_telemetry_waits_for_its_window():
    """Shares of a handful of steps would mislead; without any step there is nothing to divide by."""
    config = packaged_defaults()
    assert collect_adaptive_telemetry(STATE, config, window_size=101) is None
    empty = SimpleNamespace(**vars(STATE) | {"solver_explicit_count": 0, "solver_implicit_count": 0})
    assert collect_adaptive_telemetry(empty, config, window_size=0) is None


def test_a_missing_baseline_is_a_ratio_of_one():
    """As the requirement prints it."""
    state = SimpleNamespace(**vars(STATE) | {"baseline_entropy": 0.0})
    found = collect_adaptive_telemetry(state, packaged_defaults())
    assert found is not None
    assert found.entropy_ratio_current == 1.0


def test_the_pipeline_gives_the_same_from_its_packed_outputs():
    """The orchestrator has named outputs instead of counters."""
    config = packaged_defaults()
    outputs = vars(STATE) | {
        "scheme_frequency_explicit": 0.75,
        "scheme_frequency_implicit": 0.25,
        "entropy_ratio": 1.5,
    }
    assert adaptive_from_outputs(outputs, config, scaling_events=1) == collect_adaptive_telemetry(STATE, config)


def test_adaptive_telemetry_is_appended_as_lines(tmp_path: Path):
    """Strict JSON, also for what is not finite."""
    path = tmp_path / "io" / "adaptive_telemetry.jsonl"
    found = collect_adaptive_telemetry(STATE, packaged_defaults())
    assert found is not None
    emit_adaptive_telemetry(found, path)
    emit_adaptive_telemetry(AdaptiveTelemetry(**vars(found) | {"max_stiffness_metric": math.inf}), path)
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first == vars(found)
    assert second["max_stiffness_metric"] == "Infinity"


WITHOUT_JAX = (
    "usp.io.telemetry",
    "usp.io.snapshots",
    "usp.io.cache",
    "usp.io.dashboard",
    "usp.io.credentials",
    "usp.io.line_log",
    "usp.stages.snapshotter",
    "usp.stages.snapshot_effects",
    "usp.stages.telemetry_sink",
    "usp.stages.telemetry_effects",
)


def test_these_modules_start_without_jax():
    """Processes that do not predict do not pay for a predictor."""
    code = f"import {', '.join(WITHOUT_JAX)}, sys; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
