# SPDX-License-Identifier: MIT
"""Names of the rows of the packed input and output arrays."""

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

import numpy as np

NS_PER_S = 1_000_000_000
KERNELS = ("A", "B", "C", "D")


class Inputs(IntEnum):
    """Row of each input. Flags are 0.0 or 1.0; LEVEL_SHIFT: ingest has confirmed a new level. Event time is split since
    int64 nanoseconds do not fit a float64."""

    ACTIVE = 0
    ACCEPT = 1
    SUSPEND_JKO_UPDATE = 2
    DEGRADED = 3
    FREEZE_KERNEL_D = 4
    PRICE = 5
    TIME_S = 6
    TIME_REMAINDER_NS = 7
    LEVEL_SHIFT = 8


INPUT_COUNT = len(Inputs)


def split_time_ns(time_ns: int) -> tuple[float, float]:
    """Whole seconds and the nanoseconds after them, both exact in float64 for any int64."""
    seconds, remainder = divmod(time_ns, NS_PER_S)
    return float(seconds), float(remainder)


class Outputs(NamedTuple):
    """Row (int) or rows (slice) of each output in the packed output array; `OUTPUTS` is the one instance."""

    mean: int
    median: int
    lo: int
    hi: int
    sigma: int
    last_prediction_error: int
    kernel_mean: slice
    kernel_sigma: slice
    kernel_health: slice
    rho: slice
    free_energy: int
    ot_cost: int
    sinkhorn_converged: int
    sinkhorn_epsilon: int
    sinkhorn_iterations: int
    sinkhorn_max_err: int
    fisher_rao_distance: int
    kurtosis: int
    holder_exponent: int
    holder_uncertainty: int
    dgm_entropy: int
    entropy_ratio: int
    cusum_g_plus: int
    cusum_g_minus: int
    adaptive_threshold: int
    distance_to_collapse: int
    ema_variance: int
    entropy_window: int
    learning_rate: int
    stiffness_low: int
    stiffness_high: int
    max_stiffness_metric: int
    num_internal_iterations_mean: int
    implicit_residual_norm_max: int
    scheme_frequency_explicit: int
    scheme_frequency_implicit: int
    degraded_mode: int
    emergency_mode: int
    breaker_active: int
    regime_changed: int
    mode_collapse_warning: int
    kernel_d_frozen: int
    coverage: int
    state_step: int
    operating_mode: int

    def view(self, outputs: np.ndarray) -> Mapping[str, np.ndarray]:
        """Name -> [L] or [4, L] views of a packed output array."""
        return {name: outputs[rows] for name, rows in zip(self._fields, self, strict=True)}


def lay_out() -> Outputs:
    """Rows in order of the fields; the four-kernel fields take four rows."""
    rows: list[int | slice] = []
    next_row = 0
    for name, kind in Outputs.__annotations__.items():
        del name
        wide = kind is slice
        rows.append(slice(next_row, next_row + len(KERNELS)) if wide else next_row)
        next_row += len(KERNELS) if wide else 1
    return Outputs(*rows)  # type: ignore[arg-type]  # built from the annotations themselves


OUTPUTS = lay_out()
OUTPUT_COUNT = OUTPUTS.operating_mode + 1
