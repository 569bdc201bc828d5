# SPDX-License-Identifier: MIT
"""One step of the library, with the signature of the requirement (section 7.1).

The same gate and the same compiled step as the pipeline. What the pipeline does by other means (telemetry, limiter,
monitor, host scaling) is done here as the requirement prints it.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..config.model import ModelConfig, load
from ..io.config_mutation import DegradationMonitor, MutationRateLimiter
from ..io.ingest_events import LevelShiftAcceptedEvent
from ..io.ingest_rules import ingest_rules
from ..io.loaders import IngestionDecision, ProcessState, evaluate_ingestion, judge
from ..io.telemetry import TelemetryBuffer, TelemetryRecord, should_emit_hash
from ..predictor import INPUT_COUNT, OUTPUTS, Inputs, program_for, split_time_ns, structure_of
from .architecture import scaled_architecture
from .internal_state import InternalState, initial_state


class PredictionResult(NamedTuple):
    """The forecast of the next value; `confidence_lower <= reference_prediction <= confidence_upper`."""

    reference_prediction: float
    confidence_lower: float
    confidence_upper: float
    median: float
    weights: np.ndarray
    operating_mode: int
    degraded_inference_mode: bool
    emergency_mode: bool
    regime_change_detected: bool
    mode_collapse_warning: bool


class KernelOutput(NamedTuple):
    """One kernel's forecast, its standard deviation, and its health code (0 is ok)."""

    kernel_id: int
    prediction: float
    confidence: float
    health: int


class FusionResult(NamedTuple):
    """What the transport of the weights did at this step."""

    fused_prediction: float
    updated_weights: np.ndarray
    free_energy: float
    sinkhorn_converged: bool
    sinkhorn_epsilon: float
    sinkhorn_max_err: float
    fisher_rao_distance: float


@dataclass(frozen=True)
class OrchestrationResult:
    """All that a step gives back; `config` is the one to use next, different if kernel B was scaled."""

    prediction: PredictionResult
    state: InternalState
    kernel_outputs: tuple[KernelOutput, ...]
    fusion: FusionResult | None
    config: ModelConfig
    decision: IngestionDecision


def orchestrate_step(
    signal: np.ndarray,
    timestamp_ns: int,
    state: InternalState | None,
    config: ModelConfig,
    observation: ProcessState,
    now_ns: int,
    telemetry_buffer: TelemetryBuffer[TelemetryRecord] | None = None,
    step_counter: int = 0,
    mutation_rate_limiter: MutationRateLimiter | None = None,
    degradation_monitor: DegradationMonitor | None = None,
    allow_host_scaling: bool = True,
) -> OrchestrationResult:
    """Judge `observation`, step, and forecast the value after it.

    `signal` are the last values, oldest first, `observation` the newest of them included; they warm a fresh state
    (`state` None). Raises ValueError for a signal that is too short, not finite or all zero.
    """
    values = checked_signal(signal, config)
    state = state or warmed(values[:-1], timestamp_ns, config, observation.state_tag or "")
    decision = evaluate_ingestion(state.history, observation, now_ns, config)
    row, stepped = advance(state, observation.magnitude, timestamp_ns, decision, config)
    if np.isfinite(observation.magnitude):
        rules = ingest_rules(config, observation.state_tag)
        _, history = judge(state.history, observation.magnitude, timestamp_ns, now_ns, rules)
        state = replace(state, history=history)
    accepted = decision.accept_observation
    stepped = replace(stepped, history=state.history, last_update_ns=timestamp_ns) if accepted else state
    rolled_back = watched(degradation_monitor, row, decision)
    if mutation_rate_limiter is not None:
        mutation_rate_limiter.increment_stability_counter()
    next_config = config
    if allow_host_scaling and decision.accept_observation:
        stepped, next_config = host_scaled(stepped, row, config)
    prediction = result_of(row, rolled_back)
    emit(telemetry_buffer, step_counter, timestamp_ns, row, prediction, config)
    fusion = fusion_of(row) if not (decision.suspend_jko_update or prediction.degraded_inference_mode) else None
    return OrchestrationResult(prediction, stepped, kernels_of(row), fusion, next_config, decision)


def checked_signal(signal: np.ndarray, config: ModelConfig) -> np.ndarray:
    """The signal as float64; ValueError says what is wrong with it."""
    values = np.asarray(signal, np.float64).reshape(-1)
    least = config.kernels.base_min_signal_length
    if values.size < least:
        raise ValueError(f"signal had {values.size} values, expected at least {least} (kernels.base_min_signal_length)")
    if not np.isfinite(values).all():
        raise ValueError("signal had values that are not finite, expected finite numbers")
    if not values.any():
        raise ValueError("signal was all zero, expected a value that moves")
    return values


def warmed(values: np.ndarray, timestamp_ns: int, config: ModelConfig, symbol: str) -> InternalState:
    """A fresh state that has seen these values, one nanosecond-exact nominal interval apart."""
    state = initial_state(config, symbol)
    interval_ns = max(config.symbols[symbol].nominal_interval_ns, 1_000_000)
    for place, value in enumerate(values):
        at_ns = timestamp_ns - (len(values) - place) * interval_ns
        decision, history = judge(state.history, float(value), at_ns, at_ns, ingest_rules(config, symbol or None))
        row, stepped = advance(state, float(value), at_ns, decision, config)
        state = replace(stepped, history=history, last_update_ns=at_ns) if decision.accept_observation else state
        del row
    return state


def advance(
    state: InternalState, value: float, timestamp_ns: int, decision: IngestionDecision, config: ModelConfig
) -> tuple[np.ndarray, InternalState]:
    """One call of the compiled step with this signal in lane 0: the packed outputs and the state after it."""
    program = program_for(structure_of(config, state.symbol))
    block = program.load_column(program.new_block(), 0, program.from_document(state.document))
    inputs = np.zeros((INPUT_COUNT, program.lane_width))
    seconds, remainder = split_time_ns(timestamp_ns)
    for row, number in (
        (Inputs.ACTIVE, 1.0),
        (Inputs.ACCEPT, decision.accept_observation),
        (Inputs.SUSPEND_JKO_UPDATE, decision.suspend_jko_update),
        (Inputs.DEGRADED, decision.degraded_mode),
        (Inputs.FREEZE_KERNEL_D, decision.freeze_kernel_d),
        (Inputs.PRICE, value if decision.accept_observation else 0.0),
        (Inputs.TIME_S, seconds),
        (Inputs.TIME_REMAINDER_NS, remainder),
        (Inputs.LEVEL_SHIFT, any(isinstance(event, LevelShiftAcceptedEvent) for event in decision.events)),
    ):
        inputs[row, 0] = number
    params = np.zeros((program.param_count, program.lane_width))
    params[:, 0] = program.params(config, state.symbol)
    block, outputs = program.step(block, params, inputs)
    document = program.to_document(program.read_columns(block)[:, 0])
    return np.asarray(outputs)[:, 0], replace(state, document=document)


def watched(monitor: DegradationMonitor | None, row: np.ndarray, decision: IngestionDecision) -> bool:
    """Hand the error of the stored forecast to the monitor; true if it rolled the configuration back."""
    error = float(row[OUTPUTS.last_prediction_error])
    if monitor is None or not decision.accept_observation or np.isnan(error):
        return False
    monitor.record_prediction_error(error)
    degraded, _ = monitor.check_degradation()
    if degraded:
        monitor.trigger_rollback()
    return degraded


def host_scaled(state: InternalState, row: np.ndarray, config: ModelConfig) -> tuple[InternalState, ModelConfig]:
    """Let kernel B grow when its entropy asks for it; the new architecture is used from the next step on."""
    scaled = scaled_architecture(float(row[OUTPUTS.entropy_ratio]), config)
    if scaled == (config.kernels.dgm_width_size, config.kernels.dgm_depth):
        return state, config
    mapping = config.to_mapping()
    mapping["kernels"]["dgm_width_size"], mapping["kernels"]["dgm_depth"] = scaled
    next_config = load(mapping)
    fresh = initial_state(next_config, state.symbol)
    kept = {name: segment for name, segment in state.document.items() if name != "B"}
    document = {**kept, "B": fresh.document["B"]}
    count = state.architecture_scaling_events + 1
    return replace(state, document=document, architecture_scaling_events=count), next_config


def result_of(row: np.ndarray, rolled_back: bool) -> PredictionResult:
    """The public forecast; a rollback marks the step as an emergency."""
    o = OUTPUTS
    emergency = bool(row[o.emergency_mode]) or rolled_back
    return PredictionResult(
        reference_prediction=float(row[o.mean]),
        confidence_lower=float(row[o.lo]),
        confidence_upper=float(row[o.hi]),
        median=float(row[o.median]),
        weights=row[o.rho].copy(),
        operating_mode=2 if emergency else int(row[o.operating_mode]),
        degraded_inference_mode=bool(row[o.degraded_mode]) or rolled_back,
        emergency_mode=emergency,
        regime_change_detected=bool(row[o.regime_changed]),
        mode_collapse_warning=bool(row[o.mode_collapse_warning]),
    )


def kernels_of(row: np.ndarray) -> tuple[KernelOutput, ...]:
    """The four kernels' forecasts."""
    o = OUTPUTS
    rows = zip(row[o.kernel_mean], row[o.kernel_sigma], row[o.kernel_health], strict=True)
    return tuple(KernelOutput(i, float(m), float(s), int(h)) for i, (m, s, h) in enumerate(rows))


def fusion_of(row: np.ndarray) -> FusionResult:
    """The transport of this step."""
    o = OUTPUTS
    return FusionResult(
        fused_prediction=float(row[o.mean]),
        updated_weights=row[o.rho].copy(),
        free_energy=float(row[o.free_energy]),
        sinkhorn_converged=bool(row[o.sinkhorn_converged]),
        sinkhorn_epsilon=float(row[o.sinkhorn_epsilon]),
        sinkhorn_max_err=float(row[o.sinkhorn_max_err]),
        fisher_rao_distance=float(row[o.fisher_rao_distance]),
    )


def emit(
    buffer: TelemetryBuffer[TelemetryRecord] | None,
    step: int,
    timestamp_ns: int,
    row: np.ndarray,
    prediction: PredictionResult,
    config: ModelConfig,
) -> None:
    """A telemetry record of the requirement's shape (section 8.2), at the configured interval."""
    if buffer is None or not should_emit_hash(step, config.io.telemetry_hash_interval_steps):
        return
    o = OUTPUTS
    payload = {
        "step": step,
        "timestamp_ns": timestamp_ns,
        "prediction_ref": row[o.mean],
        "weights_ref": row[o.rho],
        "free_energy_ref": row[o.free_energy],
        "ot_cost_ref": row[o.ot_cost],
        "kurtosis_ref": row[o.kurtosis],
        "holder_exponent_ref": row[o.holder_exponent],
        "dgm_entropy_ref": row[o.dgm_entropy],
        "mode_collapse_warning": prediction.mode_collapse_warning,
        "degraded_mode": prediction.degraded_inference_mode,
        "emergency_mode": prediction.emergency_mode,
    }
    buffer.enqueue(TelemetryRecord(step=step, payload=payload))
