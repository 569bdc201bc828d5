# SPDX-License-Identifier: MIT
"""Hashes by which two machines can show that they computed the same numbers, without showing the numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .checksums import ALGORITHMS, HashAlgorithm

QUIET_NAN = np.frombuffer(b"\x00\x00\x00\x00\x00\x00\xf8\x7f", dtype="<f8")[0]


def canonical_float64(values: Any) -> bytes:
    """C-order little-endian float64 with one zero and one NaN, so that equal numbers have equal bytes."""
    numbers = np.array(values, dtype="<f8", order="C")
    numbers = np.where(np.isnan(numbers), QUIET_NAN, numbers + 0.0)
    return numbers.astype("<f8", order="C").tobytes()


def parity_hash(values: Any, algorithm: HashAlgorithm) -> str:
    """Hexadecimal digest of the canonical bytes."""
    return ALGORITHMS[algorithm]((canonical_float64(values),)).hex()


def parity_hashes(weights: Any, ot_cost: Any, algorithm: HashAlgorithm) -> Mapping[str, str]:
    """{rho_<algorithm>, ot_cost_<algorithm>} of one step."""
    return {
        f"rho_{algorithm}": parity_hash(weights, algorithm),
        f"ot_cost_{algorithm}": parity_hash(ot_cost, algorithm),
    }
