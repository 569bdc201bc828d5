# SPDX-License-Identifier: MIT
"""From the packed outputs of a step to the record that consumers read, and to the alerts of flags that turned."""

import math
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from ..config.model import ModelConfig
from ..io.avro import adopt
from ..predictor import OUTPUTS
from ..predictor.kernels.contract import Health
from ..schemas.records import Alert, OperatingMode, Prediction, Severity, ValidatedTick

MODES: tuple[OperatingMode, ...] = ("inference", "calibration", "diagnostic")


class Flags(NamedTuple):
    """Flags whose turning is an event."""

    degraded: bool = False
    singular: bool = False
    collapsed: bool = False
    regime_changed: bool = False
    unsettled: bool = False
    branch_frozen: bool = False
    kernel_failed: bool = False


class Observation(NamedTuple):
    """A prediction and the packed outputs behind it, for telemetry; with the hash of the state if it was kept here.

    `config` is the configuration in force; None means the packaged one.
    """

    prediction: Prediction
    row: Sequence[float]
    snapshot_hash: str | None = None
    config: ModelConfig | None = None


def record_id(tick: ValidatedTick, config_hash: str) -> str:
    """Equal for the same tick under the same configuration, whoever computes it and however often."""
    origin = f"{tick.origin_partition}/{tick.origin_offset}/{tick.origin_row}/{config_hash}"
    return sha256(origin.encode()).hexdigest()[:32]


def prediction(
    tick: ValidatedTick, epoch: int, config_hash: str, row: Sequence[float], shadow: Sequence[float] | None = None
) -> Prediction:
    """The public record; a pure function of the tick, the configuration and the step's outputs (and the shadow's)."""
    o = OUTPUTS
    error = row[o.last_prediction_error]
    shadow_error = math.nan if shadow is None else shadow[o.last_prediction_error]
    fields = {
        "record_id": record_id(tick, config_hash),
        "symbol": tick.symbol,
        "origin_partition": tick.origin_partition,
        "origin_offset": tick.origin_offset,
        "origin_row": tick.origin_row,
        "ts_event_ns": tick.ts_event_ns,
        "config_epoch": epoch,
        "config_hash": config_hash,
        "state_step": int(row[o.state_step]),
        "value": tick.price,
        "mean": row[o.mean],
        "median": row[o.median],
        "lo": row[o.lo],
        "hi": row[o.hi],
        "sigma": row[o.sigma],
        "kernel_means": list(row[o.kernel_mean]),
        "kernel_sigmas": list(row[o.kernel_sigma]),
        "kernel_health": [int(code) for code in row[o.kernel_health]],
        "weights": list(row[o.rho]),
        "error": None if math.isnan(error) else error,
        "shadow_mean": None if shadow is None else shadow[o.mean],
        "shadow_error": None if math.isnan(shadow_error) else shadow_error,
        "accepted": tick.accept,
        "operating_mode": MODES[int(row[o.operating_mode])],
        "degraded_inference_mode": bool(row[o.degraded_mode]),
        "emergency_mode": bool(row[o.emergency_mode]),
        "regime_change_detected": bool(row[o.regime_changed]),
        "mode_collapse_warning": bool(row[o.mode_collapse_warning]),
        "jko_suspended": tick.suspend_jko_update,
        "kernel_d_frozen": bool(row[o.kernel_d_frozen]),
        "sinkhorn_converged": bool(row[o.sinkhorn_converged]),
        "holder_exponent": row[o.holder_exponent],
        "cusum_drift": row[o.cusum_g_plus],
        "cusum_drift_down": row[o.cusum_g_minus],
        "adaptive_threshold": row[o.adaptive_threshold],
        "distance_to_collapse": row[o.distance_to_collapse],
        "free_energy": row[o.free_energy],
        "kurtosis": row[o.kurtosis],
        "dgm_entropy": row[o.dgm_entropy],
        "ema_variance": row[o.ema_variance],
        "coverage": row[o.coverage],
    }
    return adopt(Prediction, fields)


def flags_of(row: Sequence[float]) -> Flags:
    """The flags of a step. A transport that was held back has not settled either, and is no news."""
    o = OUTPUTS
    degraded = bool(row[o.degraded_mode])
    return Flags(
        degraded,
        bool(row[o.breaker_active]),
        bool(row[o.mode_collapse_warning]),
        bool(row[o.regime_changed]),
        not (degraded or row[o.sinkhorn_converged]),
        bool(row[o.kernel_d_frozen]),
        Health.NOT_FINITE.value in row[o.kernel_health],
    )


EVENTS: tuple[tuple[str, bool, str, Severity], ...] = (
    ("degraded", True, "DegradedInferenceModeActivated", "warning"),
    ("degraded", False, "NormalOperationRestoredEvent", "info"),
    ("singular", True, "CriticalSingularityEvent", "critical"),
    ("collapsed", True, "ModeCollapseWarning", "warning"),
    ("regime_changed", True, "RegimeChangedEvent", "warning"),
    ("unsettled", True, "SinkhornDivergenceWarning", "warning"),
    ("branch_frozen", True, "FreezingTopologicalBranchEvent", "warning"),
    ("kernel_failed", True, "KernelFailedEvent", "critical"),
)


def transitions(tick: ValidatedTick, before: Flags, after: Flags) -> list[Alert]:
    """One alert per flag that turned at this step."""
    return [
        Alert(
            event=event,
            severity=severity,
            stage="orchestrator",
            symbol=tick.symbol,
            origin_partition=tick.origin_partition,
            origin_offset=tick.origin_offset,
            timestamp_ns=tick.ts_event_ns,
            detail={},
        )
        for name, value, event, severity in EVENTS
        if getattr(before, name) != value and getattr(after, name) == value
    ]
