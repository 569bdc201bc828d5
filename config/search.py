# SPDX-License-Identifier: MIT
"""The keys of the tuner: section [meta_optimization]. `search_X` is the interval in which X is searched."""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from .keys import Key

Whole: TypeAlias = tuple[int, int]
Real: TypeAlias = tuple[float, float]
PREFIX = "search_"


@dataclass(frozen=True, kw_only=True)
class MetaOptimization:
    """Budget, validation and search space of the tuner; power-of-two keys are searched over powers of two."""

    n_trials: Annotated[int, Key("trials of one search", "trials", "[1, 100000]")]
    n_startup_trials: Annotated[
        int, Key("random trials before the model of the search begins", "trials", "[1, 100000]")
    ]
    multivariate: Annotated[bool, Key("the search models the parameters jointly")]
    train_ratio: Annotated[float, Key("share of the data in the first training window", range="(0, 1)")]
    n_folds: Annotated[int, Key("walk-forward validation folds", "folds", "[1, 100]")]
    enable_deep_tuning: Annotated[bool, Key("search all parameters, not the fast tier alone")]
    fast_tier: Annotated[tuple[str, ...], Key("parameters of the fast tier")]
    log_scaled: Annotated[tuple[str, ...], Key("parameters that are searched on a logarithmic scale")]
    search_log_sig_depth: Annotated[Whole, Key("signature depth", "levels")]
    search_wtmm_buffer_size: Annotated[Whole, Key("wavelet buffer", "values")]
    search_besov_cone_c: Annotated[Real, Key("cone constant")]
    search_dgm_width_size: Annotated[Whole, Key("network width", "units")]
    search_dgm_depth: Annotated[Whole, Key("network depth", "layers")]
    search_dgm_entropy_num_bins: Annotated[Whole, Key("entropy bins", "bins")]
    search_stiffness_low: Annotated[Real, Key("theta_L", "1/time unit")]
    search_stiffness_high: Annotated[Real, Key("theta_H", "1/time unit")]
    search_sde_dt: Annotated[Real, Key("step of kernel C's diagnostics", "time units")]
    search_sde_numel_integrations: Annotated[Whole, Key("steps of kernel C's path", "steps")]
    search_sde_diffusion_sigma: Annotated[Real, Key("diffusion before the data speak", "reference scales")]
    search_kernel_ridge_lambda: Annotated[Real, Key("ridge of kernel A")]
    search_cusum_k: Annotated[Real, Key("slack of the CUSUM", "standardised errors")]
    search_cusum_h: Annotated[Real, Key("alarm level of the CUSUM", "standardised errors")]
    search_grace_period_steps: Annotated[Whole, Key("refractory time", "steps")]
    search_sinkhorn_alpha: Annotated[Real, Key("coupling of the regularisation to volatility")]
    search_sinkhorn_epsilon_min: Annotated[Real, Key("floor of the regularisation", "mean costs")]
    search_sinkhorn_epsilon_0: Annotated[Real, Key("base of the regularisation", "mean costs")]
    search_volatility_alpha: Annotated[Real, Key("EWMA weight of the newest squared error")]
    search_learning_rate: Annotated[Real, Key("step of the weight flow")]
    search_entropy_window: Annotated[Whole, Key("entropy horizon", "steps")]
    search_entropy_threshold: Annotated[Real, Key("gamma of the mode-collapse test")]
    search_holder_threshold: Annotated[Real, Key("threshold of the circuit breaker")]
