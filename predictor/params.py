# SPDX-License-Identifier: MIT
"""Numeric parameters: one column of float64 per lane, so that a new configuration epoch costs no compilation."""

from typing import NamedTuple

import jax
import numpy as np

from ..config.model import ModelConfig
from .leaves import leaf
from .structure import Structure

SECONDS_PER_NS = 1e-9
Lane = jax.Array


class Params(NamedTuple):
    """Each field is [L], or [k, L] where it names several values. Names are those of the configuration."""

    learning_rate: Lane
    jko_domain_length: Lane
    entropy_window: Lane
    entropy_window_relaxation_factor: Lane
    entropy_window_bounds_min: Lane
    entropy_window_bounds_max: Lane
    learning_rate_safety_factor: Lane
    learning_rate_minimum: Lane
    sinkhorn_epsilon_min: Lane
    sinkhorn_epsilon_0: Lane
    sinkhorn_alpha: Lane
    sinkhorn_max_iter: Lane
    sinkhorn_huber_delta: Lane
    cost_is_huber: Lane
    entropy_threshold: Lane
    entropy_gamma_min: Lane
    entropy_gamma_max: Lane
    entropy_volatility_low_threshold: Lane
    entropy_volatility_high_threshold: Lane
    entropy_ratio_min: Lane
    entropy_ratio_max: Lane
    entropy_baseline_floor: Lane
    mode_collapse_min_threshold: Lane
    mode_collapse_window_ratio: Lane
    grace_period_steps: Lane
    cusum_h: Lane
    cusum_k: Lane
    volatility_alpha: Lane
    holder_threshold: Lane
    validation_simplex_atol: Lane
    validation_holder_exponent_min: Lane
    validation_holder_exponent_max: Lane
    kurtosis_min: Lane
    kurtosis_max: Lane
    kurtosis_reference: Lane
    numerical_epsilon: Lane
    robustness_force_kernel_d: Lane
    stiffness_calibration_c1: Lane
    stiffness_calibration_c2: Lane
    holder_exponent_guard: Lane
    kernel_ridge_lambda: Lane
    stiffness_low: Lane
    stiffness_high: Lane
    stiffness_min_low: Lane
    stiffness_min_high: Lane
    sde_dt: Lane
    sde_numel_integrations: Lane
    sde_diffusion_sigma: Lane
    kernel_c_horizon: Lane
    kernel_b_spatial_range_factor: Lane
    confidence_interval_z: Lane
    pdf_min_sigma: Lane
    degraded_recovery_steps: Lane
    gap_limit_factor: Lane
    staleness_ttl_s: Lane
    nominal_interval_s: Lane
    scale_steps: Lane
    rkhs_bandwidth: Lane
    fourier_refresh_steps: Lane
    fourier_threshold: Lane
    fourier_ridge: Lane
    cubic_ridge: Lane
    volterra_ridge: Lane
    huber_knee: Lane
    forgetting: Lane
    lattice_delta: Lane
    ewma_gain: Lane
    holt_level_gain: Lane
    holt_trend_gain: Lane
    restart_slack: Lane
    restart_level: Lane
    restart_grace_steps: Lane
    newton_tolerance: Lane
    signature_ridge: Lane
    gibbs_discounts: Lane
    top_discount: Lane
    loss_cap: Lane
    loss_scale_gain: Lane
    aggregation_warmup_steps: Lane
    weight_floor: Lane
    kernel_sigma_gain: Lane
    interval_coverage: Lane
    conformal_gain: Lane
    interval_gains: Lane
    interval_reach_gain: Lane
    interval_discount: Lane
    coverage_gain: Lane
    holder_hysteresis: Lane
    holder_confidence: Lane
    holder_baseline_gain: Lane
    holder_min_drop: Lane
    cusum_clip: Lane


def values_of(config: ModelConfig, symbol: str) -> dict[str, float | list[float]]:
    """The parameters of `symbol` under `config`, by name, in the order of `Params`."""
    full = config.symbols[symbol].bank == "full"
    derived: dict[str, float | list[float]] = {
        "rkhs_bandwidth": config.bank.full_rkhs_bandwidth if full else config.bank.rkhs_bandwidth,
        "gap_limit_factor": config.io.gap_limit_factor,
        "staleness_ttl_s": config.core.staleness_ttl_ns * SECONDS_PER_NS,
        "nominal_interval_s": config.symbols[symbol].nominal_interval_ns * SECONDS_PER_NS,
        "degraded_recovery_steps": float(
            max(config.io.degraded_recovery_min_steps, config.io.frozen_signal_recovery_steps)
        ),
        "cost_is_huber": float(config.orchestration.sinkhorn_cost_type == "huber"),
    }
    sections = (config.orchestration, config.kernels, config.bank, config.validation)
    return {name: derived[name] if name in derived else find(sections, name) for name in Params._fields}


def find(sections: tuple[object, ...], name: str) -> float | list[float]:
    """The value of key `name` in the first section that has it."""
    for section in sections:
        if hasattr(section, name):
            value = getattr(section, name)
            return [float(v) for v in value] if isinstance(value, (list, tuple)) else float(value)
    raise KeyError(f"configuration key {name!r} is in none of orchestration, kernels, bank, validation")


def column_params(config: ModelConfig, symbol: str) -> Params:
    """The same values as `Params` of numpy numbers, for the making of a fresh state."""
    return Params(**{name: leaf(value) for name, value in values_of(config, symbol).items()})


def example(structure: Structure) -> Params:
    """Parameters of the right shapes that are all 1, for what depends on shapes alone."""
    return Params(*(leaf(np.ones(size) if size else np.float64(1.0)) for size in sizes_of(structure).values()))


def pack_column(values: dict[str, float | list[float]]) -> np.ndarray:
    """One lane's parameters as a vector."""
    return np.concatenate([np.atleast_1d(np.asarray(values[name], np.float64)) for name in Params._fields])


def sizes_of(structure: Structure) -> dict[str, int]:
    """How many rows each field takes."""
    vectors = {"forgetting": len(structure.forgetting_orders), "gibbs_discounts": 3, "interval_gains": 2}
    return {name: vectors.get(name, 0) for name in Params._fields}


def unpack(structure: Structure, block: jax.Array) -> Params:
    """[n_params, L] -> `Params`; vector fields keep a leading axis."""
    fields: list[jax.Array] = []
    row = 0
    for size in sizes_of(structure).values():
        fields.append(block[row : row + size] if size else block[row])
        row += max(size, 1)
    return Params(*fields)


def count(structure: Structure) -> int:
    """Rows of the parameter block."""
    return sum(max(size, 1) for size in sizes_of(structure).values())
