# SPDX-License-Identifier: MIT
"""The snapshot file, as pure functions of bytes.

    magic (8) | format version (u16) | header length (u32) | body length (u64)      little-endian
    header    MessagePack: what state this is, and the table of the body's segments
    body      the segments one after another (see snapshot_body.py), compressed if the policy says so
    footer    algorithm (1) | digest over everything before it, padded with zeros to 32 bytes

The whole file is verified before anything in it is parsed; a state that is not proven whole is never loaded.
The snapshot's id is the SHA-256 of the file; its body hash depends on the state alone.
"""

import hashlib
import hmac
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, cast

from .checksums import ALGORITHMS, HashAlgorithm
from .snapshot_body import Document, Segment, SnapshotLimits, pack, pack_document, unpack
from .snapshot_compression import Compression, compress, decompress
from .snapshot_errors import (
    AlgorithmUnsupported,
    DigestMismatch,
    FormatVersionUnsupported,
    NotASnapshot,
    SerializationUnsupported,
    SnapshotMalformed,
    SnapshotTooLarge,
    SnapshotTruncated,
)

MAGIC = b"USPSNAP\n"
FORMAT_VERSION = 1
PREAMBLE = struct.Struct("<8sHIQ")
DIGEST_BYTES = 32
FOOTER_BYTES = 1 + DIGEST_BYTES
DIGEST_SIZES: Mapping[HashAlgorithm, int] = {"sha256": 32, "crc32c": 4}
ALGORITHM_OF: Mapping[int, HashAlgorithm] = {1: "sha256", 2: "crc32c"}
ALGORITHM_IDS = {name: number for number, name in ALGORITHM_OF.items()}
DEFAULT_LIMITS = SnapshotLimits()


@dataclass(frozen=True, kw_only=True)
class SnapshotHeader:
    """What a snapshot is a snapshot of.

    `log_id` names the very log of the input partition, `next_offset` is the first offset that the state has not
    seen. `previous_hash` is the id of the snapshot before it, empty for the first. `clean_stop` tells that the process
    had handled all that it had read. `anchors` are heads of other chains (the audit log) that this file bears witness
    to.
    """

    log_id: str
    stage: str
    partition: int
    next_offset: int
    step: int
    config_epoch: int
    config_hash: str
    fingerprint: str
    schema_version: str = "1.0"
    created_ns: int = 0
    previous_hash: str = ""
    clean_stop: bool = False
    anchors: Mapping[str, str] = field(default_factory=dict[str, str])
    compression: Compression = "none"
    hash_algorithm: HashAlgorithm = "sha256"
    serialization: str = "msgpack"


class Verified(NamedTuple):
    """A file whose footer is right. `segments` maps the name of a segment to (bytes, SHA-256)."""

    header: SnapshotHeader
    segments: Mapping[str, tuple[int, str]]
    body: memoryview
    snapshot_id: str

    @property
    def body_hash(self) -> str:
        """Of the state alone: equal states have equal body hashes, whoever wrote them and when."""
        return body_hash({name: digest for name, (_, digest) in self.segments.items()})


class Snapshot(NamedTuple):
    """A verified and parsed snapshot."""

    header: SnapshotHeader
    document: Document
    snapshot_id: str
    body_hash: str
    segment_hashes: Mapping[str, str]


def encode(header: SnapshotHeader, document: Document) -> bytes:
    """The file's bytes; the same state and header give the same bytes. SnapshotUnencodable names the bad place."""
    if header.serialization != "msgpack":
        raise unsupported_serialization(header.serialization, "the configuration")
    segments = pack_document(document)
    body = compress(b"".join(segment.data for segment in segments), header.compression)
    head = pack(header_entries(header, segments))
    preamble = PREAMBLE.pack(MAGIC, FORMAT_VERSION, len(head), len(body))
    covered = (preamble, head, body, bytes([ALGORITHM_IDS[header.hash_algorithm]]))
    digest = ALGORITHMS[header.hash_algorithm](covered)
    return b"".join((*covered, digest.ljust(DIGEST_BYTES, b"\0")))


def header_entries(header: SnapshotHeader, segments: Sequence[Segment]) -> dict[str, object]:
    """The header map, sorted."""
    entries: dict[str, object] = {f.name: getattr(header, f.name) for f in fields(header)}
    entries["anchors"] = dict(sorted(header.anchors.items()))
    entries["segments"] = [[s.name, len(s.data), s.sha256] for s in segments]
    return dict(sorted(entries.items()))


def snapshot_id(data: bytes) -> str:
    """SHA-256 of the whole file, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def body_hash(segment_hashes: Mapping[str, str]) -> str:
    """SHA-256 over the names and hashes of the segments, in order."""
    lines = "".join(f"{name}\0{digest}\n" for name, digest in sorted(segment_hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def hash_of_body(data: bytes) -> str:
    """The body hash of bytes that `encode` has just made; the body itself is not read again."""
    head_length, _ = read_preamble(data, DEFAULT_LIMITS, "snapshot")
    head = memoryview(data)[PREAMBLE.size : PREAMBLE.size + head_length]
    _, segments = read_header(head, DEFAULT_LIMITS, "snapshot")
    return body_hash({name: digest for name, (_, digest) in segments.items()})


def document_hash(document: Document) -> str:
    """The body hash that a snapshot of this state has."""
    return body_hash({segment.name: segment.sha256 for segment in pack_document(document)})


def decode(data: bytes, limits: SnapshotLimits = DEFAULT_LIMITS, source: str = "snapshot") -> Snapshot:
    """Verify, then parse. Every failure is a SnapshotError that says found, expected and `source`."""
    verified = verify(data, limits, source)
    size = sum(length for length, _ in verified.segments.values())
    body = decompress(verified.body, verified.header.compression, size, source)
    document: dict[str, object] = {}
    start = 0
    for name, (length, _) in verified.segments.items():
        document[name] = unpack(body[start : start + length], f"{source}, segment {name}", limits)
        start += length
    hashes = {name: digest for name, (_, digest) in verified.segments.items()}
    return Snapshot(verified.header, document, verified.snapshot_id, verified.body_hash, hashes)


def verify(data: bytes, limits: SnapshotLimits = DEFAULT_LIMITS, source: str = "snapshot") -> Verified:
    """Prove that the bytes are what was written, and read the header; the body is not parsed."""
    if len(data) > limits.file_bytes:
        raise SnapshotTooLarge(f"{source}: found {len(data)} bytes, expected at most {limits.file_bytes}")
    head_length, body_length = read_preamble(data, limits, source)
    expected = PREAMBLE.size + head_length + body_length + FOOTER_BYTES
    if len(data) != expected:
        raise SnapshotTruncated(f"{source}: found {len(data)} bytes, expected {expected} as its first bytes say")
    algorithm = check_footer(data, source)
    view = memoryview(data)
    body_start = PREAMBLE.size + head_length
    header, segments = read_header(view[PREAMBLE.size : body_start], limits, source)
    if header.hash_algorithm != algorithm:
        raise SnapshotMalformed(f"{source}: found {algorithm} in the footer, expected {header.hash_algorithm}")
    return Verified(header, segments, view[body_start:-FOOTER_BYTES], snapshot_id(data))


def peek(data: bytes, limits: SnapshotLimits = DEFAULT_LIMITS, source: str = "snapshot") -> SnapshotHeader:
    """The header from the first bytes of a file, not verified: good for a listing, never for a decision to load."""
    head_length, _ = read_preamble(data, limits, source)
    if len(data) < PREAMBLE.size + head_length:
        raise SnapshotTruncated(f"{source}: found {len(data)} bytes, expected a header of {head_length} among them")
    return read_header(memoryview(data)[PREAMBLE.size : PREAMBLE.size + head_length], limits, source)[0]


def read_preamble(data: bytes, limits: SnapshotLimits, source: str) -> tuple[int, int]:
    """Lengths of header and body, as the file claims."""
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise NotASnapshot(f"{source}: found {bytes(data[:8])!r} at the start, expected {MAGIC!r}")
    if len(data) < PREAMBLE.size:
        raise SnapshotTruncated(f"{source}: found {len(data)} bytes, expected at least {PREAMBLE.size + FOOTER_BYTES}")
    _, version, head_length, body_length = PREAMBLE.unpack_from(data)
    if version != FORMAT_VERSION:
        raise FormatVersionUnsupported(
            f"{source}: found format version {version}, expected {FORMAT_VERSION}; read it with the build that wrote it"
        )
    if head_length > limits.header_bytes:
        raise SnapshotTooLarge(
            f"{source}: found a header of {head_length} bytes, expected at most {limits.header_bytes}"
        )
    return head_length, body_length


def check_footer(data: bytes, source: str) -> HashAlgorithm:
    """The algorithm whose digest is right; DigestMismatch or AlgorithmUnsupported otherwise."""
    number = data[-FOOTER_BYTES]
    algorithm = ALGORITHM_OF.get(number)
    if algorithm is None:
        raise AlgorithmUnsupported(
            f"{source}: found hash algorithm {number}, expected one of "
            + ", ".join(f"{n} ({name})" for n, name in ALGORITHM_OF.items())
        )
    stored = data[-DIGEST_BYTES:]
    found = ALGORITHMS[algorithm]((memoryview(data)[:-DIGEST_BYTES],)).ljust(DIGEST_BYTES, b"\0")
    if not hmac.compare_digest(stored, found):
        size = DIGEST_SIZES[algorithm]
        raise DigestMismatch(f"{source}: found {algorithm} {found[:size].hex()}, expected {stored[:size].hex()}")
    return algorithm


def read_header(
    head: memoryview, limits: SnapshotLimits, source: str
) -> tuple[SnapshotHeader, Mapping[str, tuple[int, str]]]:
    """The header and the table of segments, every type checked."""
    entries = unpack(head, f"{source}, header", limits)
    expected = {f.name for f in fields(SnapshotHeader)} | {"segments"}
    if not isinstance(entries, dict) or entries.keys() != expected:
        raise SnapshotMalformed(f"{source}: found another header than {', '.join(sorted(expected))}")
    table = cast(dict[str, Any], entries)
    segments = read_segments(table.pop("segments"), limits, source)
    for f in fields(SnapshotHeader):
        check_type(f.name, table[f.name], source)
    if table["serialization"] != "msgpack":
        raise unsupported_serialization(table["serialization"], source)
    return SnapshotHeader(**table), segments


INTEGERS = frozenset(("partition", "next_offset", "step", "config_epoch", "created_ns"))


def check_type(name: str, value: object, source: str) -> None:
    """Integers are not negative, flags are bool, anchors a map of text, all else text."""
    if name in INTEGERS:
        good = type(value) is int and value >= 0
    elif name == "clean_stop":
        good = isinstance(value, bool)
    elif name == "anchors":
        good = isinstance(value, dict) and all(isinstance(v, str) for v in cast(dict[str, object], value).values())
    else:
        good = isinstance(value, str)
    if not good:
        raise SnapshotMalformed(f"{source}: found {name} = {value!r} in the header")


def read_segments(value: object, limits: SnapshotLimits, source: str) -> Mapping[str, tuple[int, str]]:
    """Name to (bytes, hash), in the order of the body."""
    table: dict[str, tuple[int, str]] = {}
    for row in cast(list[object], value) if isinstance(value, list) else [None]:
        match row:
            case [str(name), int(length), str(digest)] if length >= 0 and name not in table:
                table[name] = (length, digest)
            case _:
                raise SnapshotMalformed(f"{source}: found a segment table that is none")
    size = sum(length for length, _ in table.values())
    if size > limits.body_bytes:
        raise SnapshotTooLarge(f"{source}: found a body of {size} bytes, expected at most {limits.body_bytes}")
    return table


def unsupported_serialization(found: object, source: str) -> SerializationUnsupported:
    """Protobuf is a reserved name without a writer."""
    return SerializationUnsupported(f'{source}: found snapshot_format {found!r}, expected "msgpack"; no other is built')
