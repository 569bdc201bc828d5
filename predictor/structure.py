# SPDX-License-Identifier: MIT
"""What selects an executable: sizes, counts, windows and the bank. Symbols with equal structure share one program."""

from typing import NamedTuple

from ..config.model import ModelConfig


class Structure(NamedTuple):
    """Every structural key of the configuration, hashable; numeric keys travel as `Params` instead."""

    bank: str
    lane_width: int
    split_count: int
    feature_seed: int
    rkhs_lags: int
    rkhs_features: int
    fourier_window: int  # 0: no search for periods
    fourier_peaks: int
    fourier_lags: int
    volterra_lags: tuple[int, ...]
    cubic_lags: int  # 0: no cubic basis
    cubic_moments: int
    cubic_decay: float
    lattice_order: int
    lattice_orders: tuple[int, ...]
    huber_orders: tuple[int, ...]
    fast_order: int
    forgetting_orders: tuple[tuple[int, ...], ...]
    restart_orders: tuple[int, ...]
    solver_steps: int
    signature_windows: tuple[int, ...]
    signature_depth: int
    interval_window: int
    residual_window: int
    wavelet_window: int
    wavelet_scales: int
    entropy_bins: int
    spatial_samples: int
    dgm_width: int
    dgm_depth: int
    activation: str

    @property
    def history(self) -> int:
        """Number of past scaled levels that the state keeps."""
        lags = max(self.rkhs_lags, self.cubic_lags, *self.volterra_lags, *self.signature_windows)
        return max(self.wavelet_window, self.fourier_window, lags + 2)


def structure_of(config: ModelConfig, symbol: str) -> Structure:
    """The structure that `symbol` needs under `config`."""
    bank, kernels, core = config.bank, config.kernels, config.core
    full = config.symbols[symbol].bank == "full"
    return Structure(
        bank=config.symbols[symbol].bank,
        lane_width=core.lane_width,
        split_count=core.prng_split_count,
        feature_seed=bank.feature_seed,
        rkhs_lags=bank.full_rkhs_lags if full else bank.rkhs_lags,
        rkhs_features=bank.full_rkhs_features if full else bank.rkhs_features,
        fourier_window=bank.fourier_window if full else 0,
        fourier_peaks=bank.fourier_peaks if full else 0,
        fourier_lags=bank.fourier_lags if full else 0,
        volterra_lags=tuple(bank.volterra_lags),
        cubic_lags=bank.cubic_lags if full else 0,
        cubic_moments=bank.cubic_moments if full else 0,
        cubic_decay=bank.cubic_decay if full else 1.0,
        lattice_order=bank.lattice_order,
        lattice_orders=tuple(bank.lattice_orders),
        huber_orders=tuple(bank.huber_orders),
        fast_order=bank.fast_order,
        forgetting_orders=tuple(tuple(orders) for orders in bank.forgetting_orders),
        restart_orders=tuple(bank.restart_orders),
        solver_steps=bank.solver_steps,
        signature_windows=tuple(bank.signature_windows),
        signature_depth=kernels.log_sig_depth,
        interval_window=bank.interval_window,
        residual_window=config.orchestration.residual_window_size,
        wavelet_window=kernels.wtmm_buffer_size,
        wavelet_scales=kernels.wtmm_num_scales,
        entropy_bins=kernels.dgm_entropy_num_bins,
        spatial_samples=kernels.kernel_b_spatial_samples,
        dgm_width=kernels.dgm_width_size,
        dgm_depth=kernels.dgm_depth,
        activation=kernels.dgm_activation,
    )
