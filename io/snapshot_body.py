# SPDX-License-Identifier: MIT
"""A state as MessagePack, the same bytes for the same state: map keys sorted, every number exact.

A document is a map with text keys of None, bool, int, float, str, bytes, lists, maps and numpy arrays; tuples come
back as lists, numpy scalars as Python numbers. An array is the map {data, dtype, shape} with C-order little-endian
bytes, so that any MessagePack reader can read it. Each top-level entry is a segment of its own (the kernel blocks
S_A to S_D among them), with its own hash.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import msgpack  # pyright: ignore[reportMissingTypeStubs]  # the library has no types
import numpy as np
from numpy.typing import NDArray

from .snapshot_errors import SnapshotMalformed, SnapshotTooLarge, SnapshotUnencodable

Document: TypeAlias = Mapping[str, Any]
AnyArray: TypeAlias = NDArray[Any]

ARRAY_KEYS = {"data", "dtype", "shape"}
INTEGER_TYPES = ("|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8")
ARRAY_TYPES = frozenset(("|b1", *INTEGER_TYPES, "<f2", "<f4", "<f8", "<c8", "<c16"))
MAX_DEPTH = 64
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1

packb = cast(Callable[..., bytes], msgpack.packb)  # pyright: ignore[reportUnknownMemberType]
unpackb = cast(Callable[..., object], msgpack.unpackb)  # pyright: ignore[reportUnknownMemberType]


class Segment(NamedTuple):
    """One top-level entry of a document. `sha256` is hexadecimal."""

    name: str
    data: bytes
    sha256: str


class SnapshotLimits(NamedTuple):
    """What this process is ready to load. Bytes, and entries per list or map."""

    file_bytes: int = 4 * 2**30
    header_bytes: int = 2**20
    body_bytes: int = 4 * 2**30
    entries: int = 10_000_000


def pack_document(document: Document) -> list[Segment]:
    """The segments of a document, by name. SnapshotUnencodable names the place that cannot be held exactly."""
    segments: list[Segment] = []
    for name in sorted_keys(document, "document"):
        data = pack(canonical(document[name], name, 1))
        segments.append(Segment(name, data, hashlib.sha256(data).hexdigest()))
    return segments


def pack(value: object) -> bytes:
    """MessagePack of a canonical value."""
    try:
        return packb(value, use_bin_type=True)
    except ValueError as fault:
        raise SnapshotUnencodable(f"the state does not fit MessagePack: {fault}") from fault


def sorted_keys(value: Mapping[Any, Any], path: str) -> list[str]:
    """The keys of a map in order; only text sorts the same everywhere."""
    for key in value:
        if not isinstance(key, str):
            raise SnapshotUnencodable(f"{path}: found the key {key!r} ({type(key).__name__}), expected text keys")
    return sorted(value)


def canonical(value: Any, path: str, depth: int) -> object:
    """The value as MessagePack holds it, with sorted maps."""
    if depth > MAX_DEPTH:
        raise SnapshotUnencodable(f"{path[:200]}: found more than {MAX_DEPTH} levels, expected a flatter state")
    if value is None or isinstance(value, bool | bytes):
        return value
    if isinstance(value, np.generic):
        return canonical(value.item(), path, depth)
    if isinstance(value, int):
        return checked_integer(int(value), path)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return checked_text(value, path)
    if isinstance(value, bytearray):
        return bytes(value)
    return canonical_container(value, path, depth)


def canonical_container(value: Any, path: str, depth: int) -> object:
    """Maps, sequences and arrays."""
    if isinstance(value, Mapping):
        keys = sorted_keys(cast(Mapping[Any, Any], value), path)
        if set(keys) == ARRAY_KEYS:
            raise SnapshotUnencodable(f"{path}: a map with exactly the keys data, dtype, shape would read as an array")
        return {checked_text(key, path): canonical(value[key], f"{path}.{key}", depth + 1) for key in keys}
    if isinstance(value, list | tuple):
        items = cast(Sequence[Any], value)
        return [canonical(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(items)]
    if hasattr(value, "__array__"):
        return canonical_array(np.asarray(value), path)
    raise SnapshotUnencodable(
        f"{path}: found a {type(value).__name__}, expected None, bool, int, float, str, bytes, list, map or array"
    )


def checked_integer(value: int, path: str) -> int:
    """MessagePack ends at 64 bits."""
    if not MIN_INTEGER <= value <= MAX_INTEGER:
        raise SnapshotUnencodable(f"{path}: found an integer of {value.bit_length()} bits, expected at most 64")
    return value


def checked_text(value: str, path: str) -> str:
    """Text that UTF-8 can hold; lone surrogates cannot be."""
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise SnapshotUnencodable(f"{path}: found text with a lone surrogate, expected valid Unicode")
    return str(value)


def canonical_array(array: AnyArray, path: str) -> dict[str, object]:
    """{data, dtype, shape}; integers, bools and floats keep their type."""
    dtype = array.dtype.newbyteorder("<")
    if dtype.str not in ARRAY_TYPES:
        raise SnapshotUnencodable(
            f"{path}: found an array of {array.dtype}, expected one of {', '.join(sorted(ARRAY_TYPES))}"
        )
    return {
        "data": array.astype(dtype, order="C", copy=False).tobytes(),
        "dtype": dtype.str,
        "shape": list(array.shape),
    }


def unpack(data: bytes | memoryview, what: str, limits: SnapshotLimits) -> object:
    """One MessagePack value with its arrays rebuilt; SnapshotMalformed or SnapshotTooLarge says what is wrong."""
    entries = min(limits.entries, len(data))
    try:
        return unpackb(data, object_hook=rebuild, strict_map_key=True, max_array_len=entries, max_map_len=entries)
    except SnapshotMalformed as fault:
        raise SnapshotMalformed(f"{what}: {fault}") from fault
    except (ValueError, msgpack.UnpackException, RecursionError) as fault:
        if "exceeds max_" in str(fault) and limits.entries < len(data):
            raise SnapshotTooLarge(f"{what}: {fault}; expected at most {limits.entries} entries") from fault
        raise SnapshotMalformed(f"{what}: found broken MessagePack ({type(fault).__name__}: {fault})") from fault


def rebuild(entries: dict[Any, Any]) -> object:
    """Turns {data, dtype, shape} into the array it stands for."""
    if entries.keys() != ARRAY_KEYS:
        if any(not isinstance(key, str) for key in entries):
            raise SnapshotMalformed("found a map key that is no text")
        return entries
    dtype, shape, data = entries["dtype"], entries["shape"], entries["data"]
    if dtype not in ARRAY_TYPES or not isinstance(data, bytes) or not is_shape(shape):
        raise SnapshotMalformed(
            f"found an array of type {dtype!r} and shape {shape!r}, expected a known type and shape"
        )
    count = int(np.prod(shape, dtype=object))
    if count * np.dtype(dtype).itemsize != len(data):
        raise SnapshotMalformed(f"found {len(data)} bytes for an array of type {dtype} and shape {shape}")
    stored = np.frombuffer(data, dtype=dtype).reshape(shape)
    return stored.astype(stored.dtype.newbyteorder("="), order="C")


def is_shape(shape: object) -> bool:
    """A list of non-negative integers."""
    return isinstance(shape, list) and all(type(n) is int and n >= 0 for n in cast(list[object], shape))
