# SPDX-License-Identifier: MIT
"""Hashes by which two machines can show that they computed the same numbers, without showing the numbers."""

import hashlib
import struct
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from .checksums import ALGORITHMS, HashAlgorithm

QUIET_NAN = struct.unpack("<d", b"\x00\x00\x00\x00\x00\x00\xf8\x7f")[0]


def canonical_float64(values: Any) -> bytes:
    """C-order little-endian float64 with one zero and one NaN, so that equal numbers have equal bytes."""
    numbers: list[float] = values if is_plain(values) else np.asarray(values, np.float64).ravel().tolist()
    return struct.pack(f"<{len(numbers)}d", *[QUIET_NAN if value != value else value + 0.0 for value in numbers])


def canonical_rows(values: Any) -> bytes:
    """The same bytes for a whole array at once."""
    numbers = np.array(values, "<f8") + 0.0
    numbers[np.isnan(numbers)] = QUIET_NAN
    return numbers.tobytes()


def digests(data: bytes, width: int, algorithm: HashAlgorithm) -> list[bytes]:
    """The digest of each `width` bytes; the usual algorithm without a detour, since it runs at every step."""
    parts = [data[place : place + width] for place in range(0, len(data), width)]
    if algorithm == "sha256":
        return [hashlib.sha256(part).digest() for part in parts]
    return [ALGORITHMS[algorithm]((part,)) for part in parts]


def is_plain(values: Any) -> bool:
    """A list of Python's own floats, which needs no array."""
    return type(values) is list and all(type(value) is float for value in cast("list[Any]", values))


def parity_hash(values: Any, algorithm: HashAlgorithm) -> str:
    """Hexadecimal digest of the canonical bytes."""
    return ALGORITHMS[algorithm]((canonical_float64(values),)).hex()


def parity_hashes(weights: Any, ot_cost: Any, algorithm: HashAlgorithm) -> Mapping[str, str]:
    """{rho_<algorithm>, ot_cost_<algorithm>} of one step."""
    return {
        f"rho_{algorithm}": parity_hash(weights, algorithm),
        f"ot_cost_{algorithm}": parity_hash([ot_cost] if type(ot_cost) is float else ot_cost, algorithm),
    }
