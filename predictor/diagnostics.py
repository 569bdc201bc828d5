# SPDX-License-Identifier: MIT
"""What a symbol's state says about its signal, beyond what each tick reports. Off the tick path, on request.

A function of the state and the configuration alone: the same tick gives the same diagnosis, bit for bit, whenever and
wherever it is asked for. Levels are in the symbol's own units (RMS increments around its centre), time in ticks.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..config.model import ModelConfig
from . import identification, params, sde_schemes, sensitivity, spectrum, stable, stationarity, value_function, wtmm
from . import state as states
from .kernels import levy_sde
from .program import Program
from .state import State
from .value_function import Architecture, Problem

LARGEST_SCALE_SHARE = 8
COLLOCATION = 256
TIMES = 21
NEWTON_TOLERANCE = 1e-10
SMALLEST_DIFFUSION = 1e-6
FEWEST_INCREMENTS = 30
NS_PER_S = 1e9

Diagnosis = Mapping[str, Any]


def diagnose(
    program: Program, config: ModelConfig, symbol: str, column: np.ndarray, sensitivities: bool = False
) -> Diagnosis:
    """Every diagnosis of the state [state_size] of one symbol: numbers and lists of numbers, by name.

    `sensitivities` adds the norm of the forecast's derivative with respect to the past.
    """
    whole = states.unpack(program.layout, jnp.asarray(column)[:, None])
    levels = whole.shared.scaling
    window = levels.history[-program.structure.wavelet_window :]
    filled = jnp.minimum(levels.level_count, window.shape[0])
    found = {"state_step": whole.shared.state_step}
    found |= of_sampling(config, whole)
    found |= of_signal(config, window, filled)
    found |= of_law(config, window, filled)
    found |= of_solver(config, whole, window, filled)
    found |= of_value_function(config, program, whole, window, filled)
    if sensitivities:
        p = params.unpack(program.structure, jnp.asarray(program.params(config, symbol))[:, None])
        found["gradient_norm"] = sensitivity.gradient_norm(program.structure, p, whole)
    return {name: plain(value) for name, value in found.items()}


def plain(value: Any) -> Any:
    """Arrays as a number or a list of numbers."""
    array = np.asarray(value)
    return array.reshape(-1).tolist() if array.size > 1 else array.reshape(-1)[0].item()


def wavelets_of(config: ModelConfig, length: int) -> wtmm.Wavelets:
    """The grids of the configuration; scales end where an eighth of the window is reached, for more have no lines."""
    keys = config.kernels
    largest = max(length / LARGEST_SCALE_SHARE, 2.0 * keys.wtmm_scale_min)
    moments = np.linspace(keys.wtmm_q_min, keys.wtmm_q_max, keys.wtmm_q_steps)
    return wtmm.Wavelets(
        scales=tuple(np.geomspace(keys.wtmm_scale_min, largest, keys.wtmm_num_scales).tolist()),
        moments=tuple(sorted({*moments.tolist(), 0.0})),
        exponents=tuple(np.linspace(keys.wtmm_h_min, keys.wtmm_h_max, keys.wtmm_h_steps).tolist()),
        sigma=keys.wtmm_sigma,
        centre_frequency=keys.wtmm_fc,
        modulus_threshold=keys.wtmm_modulus_threshold,
        cone=keys.besov_cone_c,
    )


def of_sampling(config: ModelConfig, whole: State) -> dict[str, Any]:
    """The symbol's usual gap between ticks, and whether it is short enough for the wavelets; false before any gap."""
    clock = whole.shared.degraded
    dense = clock.usual_gap_s * NS_PER_S <= config.kernels.besov_nyquist_interval_ns
    return {"usual_gap_s": clock.usual_gap_s, "sampling_is_dense": dense & (clock.gaps_seen > 0.0)}


def of_signal(config: ModelConfig, window: jnp.ndarray, filled: jnp.ndarray) -> dict[str, Any]:
    """Singularity spectrum, stationarity, memory, quadratic variation and spectral peaks."""
    keys, bounds = config.kernels, config.validation
    lowest, highest = bounds.validation_holder_exponent_min, bounds.validation_holder_exponent_max
    singular = wtmm.wtmm_spectrum(window, filled, wavelets_of(config, window.shape[0]), lowest, highest)
    level = stationarity.kpss(window, filled)
    order, order_error = stationarity.fractional_order(window, filled)
    frequency, power = spectrum.spectral_peaks(window, filled, keys.koopman_top_k, keys.signal_sampling_interval)
    causal = spectrum.paley_wiener(window, filled, keys.koopman_min_power)
    return {
        "wtmm_exponent": singular.exponent,
        "wtmm_tau": singular.tau,
        "wtmm_lines": singular.lines,
        "kpss_statistic": level.statistic,
        "kpss_p_value": level.p_value,
        "fractional_order": order,
        "fractional_order_error": order_error,
        "quadratic_variation": identification.quadratic_variation(window, filled),
        "peak_frequencies": frequency,
        "peak_powers": jnp.where(power >= keys.koopman_min_power, power, 0.0),
        "paley_wiener_integral": causal,
        "paley_wiener_holds": causal <= keys.paley_wiener_integral_max,
    }


def increments_of(window: jnp.ndarray, filled: jnp.ndarray) -> jnp.ndarray:
    """The increments [n] of the filled part; fewer than are needed to say anything give none."""
    count = int(filled[0])
    return jnp.diff(window[window.shape[0] - count :, 0]) if count > FEWEST_INCREMENTS else jnp.zeros(0)


def of_law(config: ModelConfig, window: jnp.ndarray, filled: jnp.ndarray) -> dict[str, Any]:
    """Index and scale of the stable law of the increments; those of the configuration before the data speak."""
    increments = increments_of(window, filled)
    if increments.size == 0:
        return {"stable_index": config.kernels.kernel_c_alpha, "stable_scale": 0.0, "increments_are_gaussian": False}
    alpha, gamma = stable.estimate(increments)
    gaussian = alpha > config.kernels.kernel_c_alpha_gaussian_threshold
    return {"stable_index": alpha, "stable_scale": gamma, "increments_are_gaussian": gaussian}


def calibrate(config: ModelConfig, window: jnp.ndarray, filled: jnp.ndarray) -> tuple[jnp.ndarray, jnp.ndarray]:
    """Linear drift [2] and constant diffusion of the filled part by least squares, per tick.

    Before there are 30 increments: those of the configuration.
    """
    increments = increments_of(window, filled)
    if increments.size == 0:
        keys = config.kernels
        return jnp.array([keys.kernel_c_mu, keys.kernel_b_r]), jnp.asarray(keys.sde_diffusion_sigma)
    before = window[-increments.size - 1 : -1, 0]
    design = jnp.stack([jnp.ones_like(before), before], axis=1)
    drift, *_ = jnp.linalg.lstsq(design, increments)
    spread = jnp.sqrt(jnp.mean(jnp.square(increments - design @ drift)))
    return drift, jnp.maximum(spread, SMALLEST_DIFFUSION)


def of_solver(config: ModelConfig, whole: State, window: jnp.ndarray, filled: jnp.ndarray) -> dict[str, Any]:
    """Integrate the cubic drift that kernel C has fitted over its horizon, without noise, and report the path."""
    keys, rules = config.kernels, config.orchestration
    scaling = whole.shared.scaling
    a = whole.c.drift.weights[:, 0] / scaling.deviation[0]
    start = jnp.clip(scaling.history[-1] / scaling.deviation, -levy_sde.DRIFT_RANGE, levy_sde.DRIFT_RANGE)
    equation = sde_schemes.Equation(
        lambda x: value_function.polynomial(a, jnp.clip(x, -levy_sde.DRIFT_RANGE, levy_sde.DRIFT_RANGE)),
        lambda x: keys.sde_diffusion_sigma + 0.0 * x,
    )
    holder, _ = identification.holder_exponent(window, filled, 0.0, 1.0)
    limits = sde_schemes.thresholds(
        holder,
        jnp.maximum(keys.stiffness_low, rules.stiffness_min_low),
        jnp.maximum(keys.stiffness_high, rules.stiffness_min_high),
        jnp.asarray(rules.stiffness_calibration_c1),
        jnp.asarray(rules.stiffness_calibration_c2),
        jnp.asarray(rules.holder_exponent_guard),
    )
    dt = jnp.maximum(keys.sde_dt, keys.kernel_c_horizon / keys.sde_numel_integrations)
    shocks = jnp.zeros((keys.sde_numel_integrations, 1))
    end, metrics = sde_schemes.hybrid_path(equation, start, dt, shocks, limits, jnp.asarray(NEWTON_TOLERANCE))
    return {
        "path_end": end * scaling.deviation,
        "path_stiffness_max": metrics.stiffness_max,
        "path_newton_iterations_mean": metrics.iterations_mean,
        "path_residual_max": metrics.residual_max,
        "path_explicit_share": metrics.explicit_share,
        "path_diverged": metrics.diverged,
        "stiffness_low": limits[0],
        "stiffness_high": limits[1],
    }


def of_value_function(
    config: ModelConfig, program: Program, whole: State, window: jnp.ndarray, filled: jnp.ndarray
) -> dict[str, Any]:
    """Value function of the calibrated equation by the deep Galerkin method, and how good and how spread out it is."""
    keys, rules = config.kernels, config.orchestration
    drift, diffusion = calibrate(config, window, filled)
    here = whole.shared.scaling.history[-1, 0]
    reach = 4.0 * keys.kernel_b_spatial_range_factor * jnp.maximum(jnp.std(window), diffusion)
    problem = Problem(drift, diffusion[None], jnp.asarray(keys.kernel_b_horizon), here - reach, here + reach)
    network = value_function.make_network(keys.dgm_width_size, keys.dgm_depth, config.bank.feature_seed)
    activation = keys.dgm_activation
    solved = value_function.solve(network, problem, activation, COLLOCATION)
    check = value_function.collocation(problem, COLLOCATION, COLLOCATION)
    defect = value_function.residuals(solved, problem, activation, check) / reach
    grid = jnp.linspace(problem.low, problem.high, keys.kernel_b_spatial_samples)
    values = value_function.value_on(solved, problem, activation, jnp.linspace(0.0, 1.0, TIMES), grid)
    spread = value_function.variance_ratio(values, grid)
    entropy = identification.histogram_entropy(
        values[-1][:, None], problem.low[None], problem.high[None], keys.dgm_entropy_num_bins
    )
    baseline = whole.shared.collapse.baseline_entropy[0]
    ratio = float(entropy[0] / jnp.maximum(baseline, rules.entropy_baseline_floor)) if baseline > 0.0 else 1.0
    wanted = value_function.scaled_architecture(
        Architecture(keys.dgm_width_size, keys.dgm_depth),
        Architecture(keys.dgm_width_size, keys.dgm_depth),
        min(max(ratio, rules.entropy_ratio_min), rules.entropy_ratio_max),
        rules.entropy_scaling_trigger,
        rules.dgm_entropy_coupling_beta,
        rules.dgm_max_capacity_factor,
    )
    return {
        "value_at_level": value_function.value(solved, problem, activation, jnp.asarray(1.0), here),
        "value_residual_mean_square": jnp.mean(jnp.square(defect)),
        "value_residual_valid": jnp.mean(jnp.square(defect)) <= config.validation.validation_viscosity_residual_max,
        "value_variance_ratio_min": jnp.min(spread),
        "value_variance_ratio_median": jnp.median(spread),
        "value_entropy": entropy,
        "architecture_wanted": [wanted.width, wanted.depth],
    }
