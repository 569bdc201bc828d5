# SPDX-License-Identifier: MIT
"""Optional compression of a snapshot's body; what comes out never exceeds what the header announced."""

import zlib
from importlib import import_module
from typing import Any, Literal, TypeAlias

from .snapshot_errors import CompressionUnsupported, SnapshotMalformed

Compression: TypeAlias = Literal["none", "gzip", "brotli"]

GZIP = 16 + zlib.MAX_WBITS
GZIP_LEVEL = 1
BROTLI_QUALITY = 4
INPUT_PIECE = 64 * 1024


def compress(data: bytes, how: Compression) -> bytes:
    """`data` as it is stored."""
    if how == "none":
        return data
    if how == "gzip":
        squeezer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP)
        return squeezer.compress(data) + squeezer.flush()
    if how == "brotli":
        return brotli().compress(data, quality=BROTLI_QUALITY)
    raise unknown(how)


def decompress(data: memoryview, how: str, size: int, source: str) -> memoryview:
    """The `size` bytes that were stored; SnapshotMalformed when they are not that many."""
    if how == "none":
        plain = data
    elif how == "gzip":
        plain = memoryview(gunzip(data, size, source))
    elif how == "brotli":
        plain = memoryview(unbrotli(data, size, source))
    else:
        raise unknown(how)
    if len(plain) != size:
        raise SnapshotMalformed(f"{source}: found a body of {len(plain)} bytes, expected {size} as the header says")
    return plain


def gunzip(data: memoryview, size: int, source: str) -> bytes:
    """At most `size` bytes, and no more in the input than they need."""
    expander = zlib.decompressobj(GZIP)
    try:
        plain = expander.decompress(data, size + 1)
        if not expander.eof and len(plain) <= size:
            plain += expander.flush()
    except zlib.error as fault:
        raise SnapshotMalformed(f"{source}: found a broken gzip body ({fault})") from fault
    if not expander.eof or expander.unused_data:
        raise SnapshotMalformed(f"{source}: found a gzip body that does not end after {size} bytes")
    return plain


def unbrotli(data: memoryview, size: int, source: str) -> bytes:
    """Piece by piece, so that a small input cannot fill the memory unseen."""
    library = brotli()
    expander, plain = library.Decompressor(), bytearray()
    try:
        for start in range(0, len(data), INPUT_PIECE):
            plain += expander.process(bytes(data[start : start + INPUT_PIECE]))
            if len(plain) > size:
                break
    except library.error as fault:
        raise SnapshotMalformed(f"{source}: found a broken brotli body ({fault})") from fault
    return bytes(plain)


def brotli() -> Any:
    """The brotli library; not a dependency of the project."""
    try:
        return import_module("brotli")
    except ImportError as fault:
        raise CompressionUnsupported(
            'found snapshot_compression "brotli", but the library is not installed; '
            'expected "none" or "gzip", or `pip install brotli`'
        ) from fault


def unknown(how: str) -> CompressionUnsupported:
    """For a name that is no compression."""
    return CompressionUnsupported(f"found snapshot compression {how!r}, expected none, gzip or brotli")
