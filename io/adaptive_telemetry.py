# SPDX-License-Identifier: MIT
"""What the adaptive parts of the predictor are doing: solver, architecture, weight flow, stiffness thresholds."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..config.model import ModelConfig
from .atomic_file import write_all

DEFAULT_PATH = Path("var/io/adaptive_telemetry.jsonl")


@dataclass(frozen=True, kw_only=True)
class AdaptiveTelemetry:
    """One look at the adaptive parts; every field is measured. Shares are in [0, 1] and of one window of steps."""

    scheme_frequency_explicit: float
    scheme_frequency_implicit: float
    max_stiffness_metric: float
    num_internal_iterations_mean: float
    implicit_residual_norm_max: float
    entropy_ratio_current: float
    dgm_width_current: int
    dgm_depth_current: int
    architecture_scaling_events: int
    entropy_window_current: float
    learning_rate_current: float
    volatility_sigma_squared: float
    stiffness_low_adaptive: float
    stiffness_high_adaptive: float
    holder_exponent_wtmm: float


def collect_adaptive_telemetry(state: Any, config: ModelConfig, window_size: int = 100) -> AdaptiveTelemetry | None:
    """The adaptive values of `state`; None until its solver counters hold `window_size` steps.

    `state` has solver_explicit_count, solver_implicit_count, max_stiffness_metric, num_internal_iterations_mean,
    implicit_residual_norm_max, dgm_entropy, baseline_entropy, architecture_scaling_events, entropy_window,
    learning_rate, ema_variance, stiffness_low, stiffness_high and holder_exponent. The adaptive window, rate and
    thresholds are those in force, not the configured starting points.
    """
    explicit, implicit = int(state.solver_explicit_count), int(state.solver_implicit_count)
    total = explicit + implicit
    if total < max(1, window_size):
        return None
    return AdaptiveTelemetry(
        scheme_frequency_explicit=explicit / total,
        scheme_frequency_implicit=implicit / total,
        max_stiffness_metric=number(state.max_stiffness_metric),
        num_internal_iterations_mean=number(state.num_internal_iterations_mean),
        implicit_residual_norm_max=number(state.implicit_residual_norm_max),
        entropy_ratio_current=entropy_ratio(number(state.dgm_entropy), number(state.baseline_entropy)),
        dgm_width_current=config.kernels.dgm_width_size,
        dgm_depth_current=config.kernels.dgm_depth,
        architecture_scaling_events=int(state.architecture_scaling_events),
        entropy_window_current=number(state.entropy_window),
        learning_rate_current=number(state.learning_rate),
        volatility_sigma_squared=number(state.ema_variance),
        stiffness_low_adaptive=number(state.stiffness_low),
        stiffness_high_adaptive=number(state.stiffness_high),
        holder_exponent_wtmm=number(state.holder_exponent),
    )


def adaptive_from_outputs(
    outputs: Mapping[str, Any], config: ModelConfig, scaling_events: int = 0
) -> AdaptiveTelemetry:
    """The same from the named outputs of one step of one symbol, as the pipeline has them."""
    return AdaptiveTelemetry(
        scheme_frequency_explicit=number(outputs["scheme_frequency_explicit"]),
        scheme_frequency_implicit=number(outputs["scheme_frequency_implicit"]),
        max_stiffness_metric=number(outputs["max_stiffness_metric"]),
        num_internal_iterations_mean=number(outputs["num_internal_iterations_mean"]),
        implicit_residual_norm_max=number(outputs["implicit_residual_norm_max"]),
        entropy_ratio_current=number(outputs["entropy_ratio"]),
        dgm_width_current=config.kernels.dgm_width_size,
        dgm_depth_current=config.kernels.dgm_depth,
        architecture_scaling_events=scaling_events,
        entropy_window_current=number(outputs["entropy_window"]),
        learning_rate_current=number(outputs["learning_rate"]),
        volatility_sigma_squared=number(outputs["ema_variance"]),
        stiffness_low_adaptive=number(outputs["stiffness_low"]),
        stiffness_high_adaptive=number(outputs["stiffness_high"]),
        holder_exponent_wtmm=number(outputs["holder_exponent"]),
    )


def as_numbers(telemetry: AdaptiveTelemetry) -> dict[str, float]:
    """As the `adaptive` field of a Telemetry record takes it."""
    return {name: float(value) for name, value in vars(telemetry).items()}


def emit_adaptive_telemetry(telemetry: AdaptiveTelemetry, path: Path = DEFAULT_PATH) -> None:
    """Append one line of JSON; what is not finite becomes text, for JSON has no such numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({name: json_number(value) for name, value in asdict(telemetry).items()}, allow_nan=False)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        write_all(handle, line.encode() + b"\n")
    finally:
        os.close(handle)


def json_number(value: Any) -> Any:
    """Finite numbers as they are; NaN and infinities by name, in lists and maps too."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, list | tuple):
        return [json_number(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return {key: json_number(each) for key, each in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return value


def entropy_ratio(current: float, baseline: float) -> float:
    """kappa = current / baseline; 1 as long as there is no baseline."""
    return current / baseline if baseline > 0.0 else 1.0


def number(value: Any) -> float:
    """A Python float from a scalar or an array of one element."""
    return float(value.item() if hasattr(value, "item") else value)
