# SPDX-License-Identifier: MIT
"""The library without Kafka: `Predictor`, and `orchestrate_step` with the requirement's signature."""

import inspect
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from usp import Predictor, orchestrate_step
from usp.config.model import load, packaged_defaults
from usp.io.config_mutation import DegradationMonitor, MutationRateLimiter
from usp.io.loaders import ProcessState
from usp.io.telemetry import TelemetryBuffer
from usp.stages.architecture import scaled_architecture
from usp.stages.orchestrate_step import OrchestrationResult

START_NS = 1_700_000_000_000_000_000
SIGNAL = 100.0 + np.cumsum(np.random.default_rng(3).normal(0.0, 0.2, 64))


def step(result: OrchestrationResult | None = None, value: float = 101.0, **more: Any) -> OrchestrationResult:
    """One call on the signal, after an earlier one if there was one."""
    config = result.config if result else packaged_defaults()
    at_ns = START_NS + (result.state.state_step if result else 64) * 1_000_000_000
    observation = ProcessState(magnitude=value, timestamp_ns=at_ns)
    return orchestrate_step(SIGNAL, at_ns, result.state if result else None, config, observation, at_ns, **more)


def test_the_signature_is_the_requirements() -> None:
    """Names and order as printed in section 7.1."""
    expected = (
        "signal timestamp_ns state config observation now_ns telemetry_buffer step_counter mutation_rate_limiter"
        " degradation_monitor allow_host_scaling"
    )
    assert expected.split() == list(inspect.signature(orchestrate_step).parameters)


def test_a_step_forecasts_inside_its_interval() -> None:
    """lower <= reference <= upper, weights on the simplex, four kernels."""
    result = step()
    p = result.prediction
    assert p.confidence_lower <= p.reference_prediction <= p.confidence_upper
    assert abs(p.weights.sum() - 1.0) < 1e-10
    assert [0, 1, 2, 3] == [k.kernel_id for k in result.kernel_outputs]


def test_an_outlier_leaves_the_state_as_it_was() -> None:
    """Requirement 7.1.3: degraded and emergency, predictor state unchanged; the gate remembers its suspect."""
    first = step()
    second = step(first, value=1e7)
    assert second.state.document is first.state.document
    assert second.prediction.emergency_mode
    assert second.prediction.degraded_inference_mode
    assert np.array_equal(first.prediction.weights, second.prediction.weights)


def test_telemetry_is_enqueued_at_the_interval_only_when_asked_for() -> None:
    """`telemetry_buffer` None emits nothing; otherwise a record of the requirement's shape."""
    buffer = TelemetryBuffer(capacity=4)
    first = step(telemetry_buffer=buffer, step_counter=1)
    step(first)
    (record,) = buffer.drain()
    assert 1 == record.step
    assert {"prediction_ref", "weights_ref", "free_energy_ref", "kurtosis_ref"} <= set(record.payload)


def test_the_limiter_counts_every_step() -> None:
    """`mutation_rate_limiter`: rejected observations count too."""
    limiter = MutationRateLimiter(stability_steps_required=2)
    assert not limiter.can_mutate()[0]
    first = step(mutation_rate_limiter=limiter)
    step(first, value=1e7, mutation_rate_limiter=limiter)
    assert limiter.can_mutate()[0]


def test_the_monitor_is_given_true_one_step_errors(tmp_path: Path) -> None:
    """`degradation_monitor`: a run of errors far above the baseline rolls back and marks the step."""
    from usp.config.model import packaged_text
    from usp.io.config_mutation import atomic_write_config

    path = tmp_path / "config.toml"
    path.write_text(packaged_text())
    audit = tmp_path / "mutations.log"
    atomic_write_config(path, {"orchestration.cusum_k": 0.6}, audit_log_path=audit)
    backup = tmp_path / "config.toml.bak"
    monitor = DegradationMonitor(config_path=path, backup_path=backup, audit_log_path=audit, monitoring_window=3)
    monitor.start_monitoring(1e-9)
    result: OrchestrationResult | None = None
    flags = []
    for value in (101.0, 101.5, 100.7, 101.2, 100.9):
        result = step(result, value=value, degradation_monitor=monitor)
        flags.append(result.prediction.emergency_mode)
    assert any(flags)
    assert path.read_text() == packaged_text()


def test_host_scaling_follows_the_architecture_law() -> None:
    """Doubling the entropy grows the network within the cap; without permission the configuration stays."""
    config = packaged_defaults()
    assert (64, 4) == scaled_architecture(1.0, config)
    width, depth = scaled_architecture(5.0, config)
    assert math.log(width * depth) >= math.log(256) + 0.7 * math.log(5.0) - 1e-9
    assert (width, depth) <= (256, 6)
    assert step(allow_host_scaling=False).config == config


def test_a_grown_network_does_not_compound() -> None:
    """The cap is taken from the original architecture."""
    mapping = packaged_defaults().to_mapping()
    mapping["kernels"]["dgm_width_size"], mapping["kernels"]["dgm_depth"] = 256, 6
    assert (256, 6) == scaled_architecture(9.0, load(mapping))


@pytest.mark.parametrize("bad", [np.ones(3), np.full(64, math.nan), np.zeros(64)])
def test_a_signal_that_cannot_be_used_is_refused(bad: np.ndarray) -> None:
    """Too short, not finite, all zero: said, not guessed around."""
    with pytest.raises(ValueError, match="expected"):
        orchestrate_step(
            bad, START_NS, None, packaged_defaults(), ProcessState(magnitude=1.0, timestamp_ns=START_NS), START_NS
        )


def test_the_predictor_class_forecasts_and_refuses() -> None:
    """Five lines of use: a forecast per accepted tick, None and a reason for a refused one."""
    predictor = Predictor()
    for place, value in enumerate(SIGNAL):
        forecast = predictor.update("EURUSD", START_NS + place * 1_000_000_000, float(value))
    assert forecast is not None
    assert forecast.lo <= forecast.mean <= forecast.hi
    assert predictor.update("EURUSD", START_NS + 10**12, math.nan) is None
    assert ["non_finite_price"] == [letter.reason for letter in predictor.rejected]


def test_after_a_confirmed_level_shift_forecasts_stay_at_the_new_level() -> None:
    """The shift is an offset, not a move to learn from: no forecast continues it."""
    generator = np.random.default_rng(5)
    prices = 100.0 + 0.01 * np.cumsum(generator.standard_normal(400))
    prices[300:] += 5.0
    predictor = Predictor()
    found = [predictor.update("X", START_NS + n * 10**9, float(price)) for n, price in enumerate(prices)]
    shifted = [forecast.mean for forecast in found[306:] if forecast is not None]
    assert len(shifted) == 94
    assert all(104.0 < mean < 106.0 for mean in shifted)


@pytest.mark.parametrize("order", ["import usp, jax.numpy as jnp", "import jax.numpy as jnp, usp"])
def test_64_bit_is_on_in_any_order_of_imports(order: str) -> None:
    """Requirement 7.3."""
    code = f"{order}; print(jnp.zeros(1).dtype)"
    assert (
        "float64"
        == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    )


@pytest.mark.parametrize("stage", ["ingest", "snapshotter", "telemetry_sink", "governor"])
def test_only_the_orchestrator_loads_jax(stage: str) -> None:
    """The other stages start without it."""
    code = (
        f"import sys, usp.stages.{stage}, usp.stages.process, usp.stages.cli as cli;"
        "cli.faults_told().__enter__(); print('jax' in sys.modules)"
    )
    assert (
        "False"
        == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    )
