# SPDX-License-Identifier: MIT
"""The keys of fusion and control: section [orchestration]."""

from dataclasses import dataclass
from typing import Annotated, Literal

from .keys import Key


@dataclass(frozen=True, kw_only=True)
class Orchestration:
    """Fusion of the four kernels, change detection, circuit breaker, outliers and clock skew."""

    learning_rate: Annotated[float, Key("step tau of the JKO weight flow, before adaptation", range="(0, 1]")]
    jko_domain_length: Annotated[float, Key("L in the relaxation time L^2 / sigma^2", "reference scales", "(0, inf)")]
    entropy_window_relaxation_factor: Annotated[
        float, Key("factor c of the adaptive entropy window c L^2 / sigma^2", range="(0, inf)")
    ]
    entropy_window_bounds_min: Annotated[int, Key("least adaptive entropy window", "steps", "[1, inf)")]
    entropy_window_bounds_max: Annotated[int, Key("greatest adaptive entropy window", "steps", "[1, inf)")]
    learning_rate_safety_factor: Annotated[
        float, Key("safety factor s of the adaptive rate 2 s eps sigma^2", range="(0, 1]")
    ]
    learning_rate_minimum: Annotated[float, Key("floor of the adaptive rate", range="(0, 1]")]
    sinkhorn_epsilon_min: Annotated[float, Key("floor of the entropic regularisation", "mean costs", "(0, inf)")]
    sinkhorn_epsilon_0: Annotated[float, Key("base of the entropic regularisation", "mean costs", "(0, inf)")]
    sinkhorn_alpha: Annotated[float, Key("coupling of the regularisation to volatility", range="(0, 1]")]
    sinkhorn_max_iter: Annotated[int, Key("cap of the Sinkhorn iterations", "iterations", "[1, 500]")]
    sinkhorn_cost_type: Annotated[Literal["squared", "huber"], Key("ground cost between kernels")]
    sinkhorn_huber_delta: Annotated[float, Key("knee of the Huber cost", "reference scales", "(0, inf)")]
    entropy_window: Annotated[int, Key("entropy horizon until the adaptive rule has data", "steps", "[1, inf)")]
    entropy_threshold: Annotated[
        float, Key("gamma of the mode-collapse test between the two volatility thresholds", range="(0, 1]")
    ]
    entropy_gamma_min: Annotated[float, Key("gamma above the high volatility threshold", range="(0, 1]")]
    entropy_gamma_max: Annotated[float, Key("gamma below the low volatility threshold", range="(0, 1]")]
    entropy_volatility_low_threshold: Annotated[float, Key("low volatility threshold", "sigma", "[0, inf)")]
    entropy_volatility_high_threshold: Annotated[float, Key("high volatility threshold", "sigma", "(0, inf)")]
    entropy_ratio_min: Annotated[float, Key("lower clip of the entropy ratio kappa", range="(0, inf)")]
    entropy_ratio_max: Annotated[float, Key("upper clip of the entropy ratio kappa", range="(0, inf)")]
    entropy_baseline_floor: Annotated[float, Key("floor of the baseline entropy in kappa", "nats", "(0, inf)")]
    entropy_scaling_trigger: Annotated[float, Key("kappa above which kernel B asks to grow", range="(0, inf)")]
    mode_collapse_min_threshold: Annotated[int, Key("least run of low entropy before a warning", "steps", "[1, inf)")]
    mode_collapse_window_ratio: Annotated[float, Key("that run as a share of the entropy window", range="(0, inf)")]
    grace_period_steps: Annotated[int, Key("refractory time after a regime alarm", "steps", "[0, inf)")]
    cusum_h: Annotated[float, Key("alarm level at Gaussian kurtosis", "standardised errors", "(0, inf)")]
    cusum_k: Annotated[float, Key("slack of both CUSUM arms", "standardised errors", "[0, inf)")]
    residual_window_size: Annotated[
        int, Key("errors kept for kurtosis and intervals", "steps", "[2, 4096]", structural=True)
    ]
    volatility_alpha: Annotated[float, Key("EWMA weight of the newest squared error", range="(0, 1)")]
    sigma_bound: Annotated[float, Key("robust z beyond which a value is a catastrophic outlier", "sigmas", "(0, inf)")]
    max_future_drift_ns: Annotated[int, Key("how far ahead of the clock a time stamp may be", "ns", "[1, inf)")]
    max_past_drift_ns: Annotated[int, Key("how far behind the clock a time stamp may be", "ns", "[1, inf)")]
    holder_threshold: Annotated[float, Key("Hoelder exponent under which the circuit breaker fires", range="(0, 1)")]
    robustness_force_kernel_d: Annotated[bool, Key("the breaker gives all weight to kernel D")]
    dgm_entropy_coupling_beta: Annotated[float, Key("beta of the capacity law", range="(0, 1]")]
    dgm_max_capacity_factor: Annotated[float, Key("cap of the growth of width times depth", range="[1, inf)")]
    stiffness_calibration_c1: Annotated[float, Key("C1 in theta_L = C1 / (1 - H)^2", range="(0, inf)")]
    stiffness_calibration_c2: Annotated[float, Key("C2 in theta_H = C2 / (1 - H)^2", range="(0, inf)")]
    stiffness_min_low: Annotated[float, Key("floor of theta_L", "1/time unit", "(0, inf)")]
    stiffness_min_high: Annotated[float, Key("floor of theta_H", "1/time unit", "(0, inf)")]
    holder_exponent_guard: Annotated[float, Key("keeps 1 - H away from 0", range="(0, 1)")]
    inference_recovery_hysteresis: Annotated[
        float, Key("degraded mode ends only below this share of the age limit", range="(0, 1)")
    ]
