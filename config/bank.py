# SPDX-License-Identifier: MIT
"""The keys of the expert banks inside the four kernels and of their aggregation: section [bank]."""

from dataclasses import dataclass
from typing import Annotated, Literal

from .keys import Key


@dataclass(frozen=True, kw_only=True)
class Bank:
    """Experts inside the kernels A to D, their aggregation, intervals and the robustness of the breaker."""

    name: Annotated[
        Literal["core", "full"], Key("set of experts of a symbol that [symbols] does not override", structural=True)
    ]
    feature_seed: Annotated[int, Key("seed of the fixed random Fourier features", range="[0, inf)", structural=True)]
    scale_steps: Annotated[int, Key("increments whose RMS fixes a symbol's internal scale", "steps", "[10, 200]")]
    rkhs_lags: Annotated[int, Key("lags under kernel A's random Fourier features", "lags", "[2, 16]", structural=True)]
    rkhs_features: Annotated[int, Key("random Fourier features of kernel A", "features", "[4, 128]", structural=True)]
    rkhs_bandwidth: Annotated[float, Key("bandwidth of kernel A's Gaussian kernel", "internal scales", "[0.05, 100]")]
    full_rkhs_lags: Annotated[int, Key("the same lags in the bank full", "lags", "[2, 16]", structural=True)]
    full_rkhs_features: Annotated[
        int, Key("the same features in the bank full", "features", "[4, 128]", structural=True)
    ]
    full_rkhs_bandwidth: Annotated[float, Key("the same bandwidth in the bank full", "internal scales", "[0.05, 100]")]
    fourier_window: Annotated[
        int,
        Key(
            "levels in which the bank full looks for periods",
            "steps",
            "[128, 4096]",
            power_of_two=True,
            structural=True,
        ),
    ]
    fourier_peaks: Annotated[int, Key("periods that it uses at most", "periods", "[1, 5]", structural=True)]
    fourier_lags: Annotated[int, Key("lags beside the periods", "lags", "[1, 10]", structural=True)]
    fourier_refresh_steps: Annotated[int, Key("time between two searches for periods", "steps", "[16, 4096]")]
    fourier_threshold: Annotated[
        float, Key("power from which a peak is a period", "geometric mean powers", "[1, 1000]")
    ]
    fourier_ridge: Annotated[float, Key("prior precision of the regression on periods", range="[1e-9, 100]")]
    volterra_lags: Annotated[
        tuple[int, ...], Key("lags of kernel B's quadratic bases", "lags", "[1, 8]", "[1, 3]", structural=True)
    ]
    volterra_ridge: Annotated[float, Key("prior precision of kernel B; on a fresh state", range="[1e-12, 10]")]
    cubic_lags: Annotated[
        int,
        Key("levels whose moments enter kernel B's cubic basis, in the bank full", "lags", "[4, 32]", structural=True),
    ]
    cubic_moments: Annotated[int, Key("moments that enter it", "moments", "[2, 6]", structural=True)]
    cubic_decay: Annotated[
        float, Key("weight of a level against the next newer one", range="[0.5, 1]", structural=True)
    ]
    cubic_ridge: Annotated[float, Key("prior precision of that basis; on a fresh state", range="[1e-9, 10]")]
    lattice_order: Annotated[int, Key("order of kernel C's long lattice", "lags", "[2, 64]", structural=True)]
    lattice_orders: Annotated[
        tuple[int, ...], Key("its orders that are experts", "lags", "[1, 64]", ascending=True, structural=True)
    ]
    huber_orders: Annotated[
        tuple[int, ...],
        Key("orders of its Huber twin that are experts", "lags", "[1, 64]", ascending=True, structural=True),
    ]
    huber_knee: Annotated[float, Key("Huber clip of the lattice innovation", "robust sigmas", "[0.1, 10]")]
    fast_order: Annotated[int, Key("order of the lattices with forgetting", "lags", "[2, 64]", structural=True)]
    forgetting: Annotated[
        tuple[float, ...], Key("forgetting factors; their number is structural", "1/step", "(0.5, 1]", "[1, 8]")
    ]
    forgetting_orders: Annotated[
        tuple[tuple[int, ...], ...],
        Key("orders that are experts, per factor", "lags", "[1, 64]", "[1, 8]", structural=True),
    ]
    restart_orders: Annotated[
        tuple[int, ...],
        Key("orders of the lattice that restarts at change points", "lags", "[1, 64]", ascending=True, structural=True),
    ]
    lattice_delta: Annotated[float, Key("initial energy of the lattices; on a fresh state", range="[1e-9, 10]")]
    ewma_gain: Annotated[float, Key("gain of the EWMA expert", range="(0, 1)")]
    holt_level_gain: Annotated[float, Key("level gain of Holt's expert", range="(0, 1)")]
    holt_trend_gain: Annotated[float, Key("trend gain of Holt's expert", range="(0, 1)")]
    restart_slack: Annotated[float, Key("slack of the restart CUSUM", "squared standardised errors", "[0, 5]")]
    restart_level: Annotated[float, Key("alarm level of that CUSUM", "squared standardised errors", "[1, 1000]")]
    restart_grace_steps: Annotated[int, Key("least time between two restarts", "steps", "[1, 1000]")]
    solver_steps: Annotated[
        int, Key("inner steps on which kernel C measures stiffness", "steps", "[1, 32]", structural=True)
    ]
    newton_tolerance: Annotated[float, Key("residual norm at which Newton stops", "internal scales", "[1e-15, 1e-2]")]
    signature_windows: Annotated[
        tuple[int, ...], Key("windows of kernel D", "increments", "[2, 64]", "[1, 3]", structural=True)
    ]
    signature_ridge: Annotated[float, Key("prior precision of kernel D; on a fresh state", range="[1e-9, 100]")]
    gibbs_discounts: Annotated[tuple[float, float, float], Key("discounts of the Gibbs rules", "1/step", "(0.5, 1)")]
    top_discount: Annotated[float, Key("discount of the Gibbs rule over the rules", "1/step", "(0.5, 1)")]
    loss_cap: Annotated[float, Key("losses are clipped at the square of this", "error scales", "(1, inf)")]
    loss_scale_gain: Annotated[float, Key("EWMA gain of the error scale", range="(0, 1)")]
    aggregation_warmup_steps: Annotated[int, Key("steps with uniform expert weights", "steps", "[0, 1000]")]
    weight_floor: Annotated[
        float, Key("least public kernel weight, so that a dead kernel can return", range="[0, 0.01]")
    ]
    kernel_sigma_gain: Annotated[float, Key("EWMA gain of each kernel's squared error", range="(0, 1)")]
    interval_window: Annotated[int, Key("residuals behind the interval", "steps", "[50, 250]", structural=True)]
    interval_coverage: Annotated[float, Key("nominal coverage of the interval", range="[0.5, 0.999]")]
    conformal_gain: Annotated[float, Key("step of the adaptive conformal level", range="[0, 0.5]")]
    interval_gains: Annotated[
        tuple[float, float],
        Key("slow and fast EWMA gain of the running deviations behind the interval", range="(0, 1)"),
    ]
    interval_reach_gain: Annotated[float, Key("step of the running intervals' reach per miss", range="[0, 1]")]
    interval_discount: Annotated[float, Key("discount of the scores that weigh the intervals", "1/step", "(0.5, 1)")]
    coverage_gain: Annotated[float, Key("EWMA gain of the coverage that is reported", range="(0, 1)")]
    holder_hysteresis: Annotated[float, Key("the breaker releases this far above holder_threshold", range="[0, 0.5]")]
    holder_confidence: Annotated[float, Key("how surely the exponent must lie below", "standard errors", "[0, 10]")]
    holder_baseline_gain: Annotated[float, Key("gain of a symbol's own long-run Hoelder exponent", range="(0, 1)")]
    holder_min_drop: Annotated[float, Key("the breaker also needs this drop below that exponent", range="[0, 1]")]
    cusum_clip: Annotated[float, Key("clip of the errors that enter the CUSUM", "standardised errors", "[1, 100]")]
