# SPDX-License-Identifier: MIT
"""The keys of identification and of the kernels' mathematics: section [kernels]."""

from dataclasses import dataclass
from typing import Annotated, Literal

from .keys import Key


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """Identification (WTMM, spectra, moments) and the mathematics of the kernels A to D."""

    log_sig_depth: Annotated[int, Key("truncation depth of kernel D's signatures", "levels", "[2, 5]", structural=True)]
    base_min_signal_length: Annotated[
        int, Key("least input length, and length of the signal history", "values", "[4, 4096]", structural=True)
    ]
    signal_sampling_interval: Annotated[float, Key("sample step of the spectral diagnostics", "time units", "(0, inf)")]
    numerical_epsilon: Annotated[float, Key("general guard against division by zero", range="(0, 1)")]
    pdf_min_sigma: Annotated[float, Key("floor of sigma in densities and intervals", "value units", "(0, inf)")]
    confidence_interval_z: Annotated[
        float, Key("half width of the interval before its window is filled", "sigmas", "(0, 10]")
    ]
    kurtosis_min: Annotated[float, Key("lower clip of the kurtosis", range="(0, inf)")]
    kurtosis_max: Annotated[float, Key("upper clip of the kurtosis", range="(0, inf)")]
    kurtosis_reference: Annotated[
        float, Key("kurtosis up to which the alarm level stays at cusum_h; a Gaussian has 3", range="(0, inf)")
    ]
    wtmm_buffer_size: Annotated[
        int, Key("values under the wavelet transform", "values", "[16, 4096]", power_of_two=True, structural=True)
    ]
    besov_cone_c: Annotated[float, Key("cone constant that links wavelet maxima", range="(0, inf)")]
    besov_nyquist_interval_ns: Annotated[int, Key("arrival gap above which sampling is too sparse", "ns", "[1, inf)")]
    wtmm_num_scales: Annotated[int, Key("number of wavelet scales", "scales", "[2, 256]", structural=True)]
    wtmm_scale_min: Annotated[float, Key("smallest wavelet scale", "values", "(0, inf)", structural=True)]
    wtmm_sigma: Annotated[float, Key("Gaussian width of the wavelet", range="(0, inf)", structural=True)]
    wtmm_fc: Annotated[float, Key("centre frequency of the wavelet", "cycles/value", "(0, inf)", structural=True)]
    wtmm_modulus_threshold: Annotated[float, Key("least modulus of a maximum", "mean moduli", "(0, inf)")]
    wtmm_q_min: Annotated[float, Key("lowest moment order of the partition function")]
    wtmm_q_max: Annotated[float, Key("highest moment order of the partition function")]
    wtmm_q_steps: Annotated[int, Key("number of moment orders", "points", "[2, 1024]", structural=True)]
    wtmm_h_min: Annotated[float, Key("left end of the Hoelder grid")]
    wtmm_h_max: Annotated[float, Key("right end of the Hoelder grid")]
    wtmm_h_steps: Annotated[int, Key("points of the Hoelder grid", "points", "[2, 4096]", structural=True)]
    kernel_ridge_lambda: Annotated[float, Key("ridge of kernel A; takes effect on a fresh state", range="(0, inf)")]
    koopman_top_k: Annotated[int, Key("spectral peaks reported", "peaks", "[1, 64]", structural=True)]
    koopman_min_power: Annotated[float, Key("spectral power below this is zero", range="(0, inf)")]
    paley_wiener_integral_max: Annotated[float, Key("bound of the Paley-Wiener integral", range="(0, inf)")]
    stiffness_low: Annotated[float, Key("theta_L until it is calibrated: explicit below", "1/time unit", "(0, inf)")]
    stiffness_high: Annotated[float, Key("theta_H until it is calibrated: implicit above", "1/time unit", "(0, inf)")]
    sde_dt: Annotated[float, Key("time step of kernel C's diagnostics", "time units", "(0, inf)")]
    sde_numel_integrations: Annotated[int, Key("steps of kernel C's path", "steps", "[1, 4096]")]
    sde_diffusion_sigma: Annotated[float, Key("diffusion before the data speak", "reference scales", "(0, inf)")]
    kernel_c_mu: Annotated[float, Key("drift before the data speak", "reference scales/time unit")]
    kernel_c_alpha: Annotated[float, Key("stability index before the data speak", range="(1, 2]")]
    kernel_c_horizon: Annotated[float, Key("time that kernel C looks ahead", "time units", "(0, inf)")]
    kernel_c_alpha_gaussian_threshold: Annotated[
        float, Key("stability index above which the law is Gaussian", range="(1, 2)")
    ]
    dgm_width_size: Annotated[
        int, Key("width of the DGM network", "units", "[4, 1024]", power_of_two=True, structural=True)
    ]
    dgm_depth: Annotated[int, Key("hidden layers of the DGM network", "layers", "[1, 16]", structural=True)]
    dgm_entropy_num_bins: Annotated[int, Key("bins of the entropy histogram", "bins", "[2, 1024]", structural=True)]
    dgm_activation: Annotated[
        Literal["tanh", "relu", "elu", "gelu", "sigmoid", "swish"],
        Key("activation of the DGM network", structural=True),
    ]
    kernel_b_r: Annotated[float, Key("drift rate of kernel B before the data speak", "1/time unit")]
    kernel_b_horizon: Annotated[float, Key("time that kernel B looks ahead", "time units", "(0, inf)")]
    kernel_b_spatial_samples: Annotated[int, Key("points of the spatial grid", "points", "[2, 4096]", structural=True)]
    kernel_b_spatial_range_factor: Annotated[float, Key("half width of the spatial grid, as a share", range="(0, 1)")]
