# SPDX-License-Identifier: MIT
"""Records to bytes and back: Avro single-object encoding.

`C3 01`, the eight-byte fingerprint of the writer's schema, the Avro body. No registry is needed and several
record types may share a topic.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple, TypeVar

import fastavro

from ..schemas import Written, by_fingerprint, schema_of
from ..schemas.records import AnyRecord

reader: Callable[..., Any] = fastavro.schemaless_reader  # type: ignore[reportUnknownMemberType]  # typed in part
writer: Callable[..., Any] = fastavro.schemaless_writer  # type: ignore[reportUnknownMemberType]  # typed in part

R = TypeVar("R")
MARKER = b"\xc3\x01"
HEADER_BYTES = 10


class Undecodable(NamedTuple):
    """Bytes that are no record of ours; the reason is decided by the bytes alone."""

    reason: str
    detail: str


def encode(record: AnyRecord) -> bytes:
    """The wire form of a record."""
    schema = schema_of(type(record))
    buffer = BytesIO()
    buffer.write(MARKER + schema.fingerprint)
    writer(buffer, schema.parsed, record.__dict__)
    return buffer.getvalue()


def decode(value: bytes | None) -> AnyRecord | Undecodable:
    """The record that the bytes hold, or why they hold none. Never raises on bad bytes."""
    if value is None:
        return Undecodable("tombstone", "found a record without a value; expected a single-object encoded record")
    if value[:2] != MARKER or len(value) < HEADER_BYTES:
        return Undecodable("not_single_object", f"found {value[:2].hex() or 'nothing'}; expected to start with c301")
    written = by_fingerprint().get(value[2:HEADER_BYTES])
    if written is None:
        found = value[2:HEADER_BYTES].hex()
        return Undecodable("unknown_schema", f"found schema fingerprint {found}; expected one that this build knows")
    return decode_body(written, value)


def decode_body(written: Written, value: bytes) -> AnyRecord | Undecodable:
    """The body after a good header, as a record of today; bytes left over are a fault too."""
    record, today = written.record, schema_of(written.record)
    buffer = BytesIO(value)
    buffer.seek(HEADER_BYTES)
    try:
        fields = reader(buffer, written.schema.parsed, None if written.schema is today else today.parsed)
    except Exception as fault:  # fastavro raises many types on bad bytes; each means the same to us
        return Undecodable("truncated_avro", f"found a broken {record.__name__} body ({type(fault).__name__})")
    if buffer.tell() != len(value):
        return Undecodable("trailing_bytes", f"found {len(value) - buffer.tell()} bytes after the {record.__name__}")
    return adopt(record, fields)


def adopt(record: type[R], fields: dict[str, Any]) -> R:
    """An instance around all its fields, ten times faster than `record(**fields)`; schemas and classes agree."""
    instance = object.__new__(record)
    object.__setattr__(instance, "__dict__", fields)
    return instance
