# SPDX-License-Identifier: MIT
"""The two checksums of the pipeline: SHA-256, and CRC-32C (Castagnoli; RFC 3720 appendix B.4) for speed."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeAlias, cast

import google_crc32c

HashAlgorithm: TypeAlias = Literal["sha256", "crc32c"]
Buffer: TypeAlias = bytes | memoryview

extend = cast(Callable[[int, bytes], int], google_crc32c.extend)  # pyright: ignore[reportUnknownMemberType]


def sha256(parts: Iterable[Buffer]) -> bytes:
    """32 bytes."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def crc32c(parts: Iterable[Buffer]) -> bytes:
    """4 bytes, big-endian. Finds accidents, not forgery."""
    value = 0
    for part in parts:
        value = extend(value, bytes(part))
    return value.to_bytes(4, "big")


ALGORITHMS: Mapping[HashAlgorithm, Callable[[Iterable[Buffer]], bytes]] = {"sha256": sha256, "crc32c": crc32c}
