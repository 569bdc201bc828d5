# SPDX-License-Identifier: MIT
"""The Avro schemas of every record: loaded once, found by name or by fingerprint.

The fingerprint is CRC-64-AVRO over the parsing canonical form (Avro 1.11, "Schema Fingerprints"), in the
little-endian byte order in which single-object encoding puts it on the wire.
"""

import json
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from .records import RECORDS, AnyRecord

JsonSchema = dict[str, Any]


class Schema(NamedTuple):
    """One record schema, ready to encode with."""

    name: str
    json: JsonSchema
    parsed: Any
    fingerprint: bytes


def file_name(record_name: str) -> str:
    """`ValidatedTick` is described by `validated_tick.avsc`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in record_name).lstrip("_") + ".avsc"


def fingerprint_of(schema: JsonSchema) -> bytes:
    """Eight bytes that name a schema on the wire."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


@cache
def schema_of(record: type[AnyRecord]) -> Schema:
    """The schema of a record type, read from its .avsc file."""
    text = resources.files(__name__).joinpath(file_name(record.__name__)).read_text(encoding="utf-8")
    raw: JsonSchema = json.loads(text)
    return Schema(record.__name__, raw, fastavro.parse_schema(raw), fingerprint_of(raw))


@cache
def by_fingerprint() -> dict[bytes, type[AnyRecord]]:
    """Every record type under the fingerprint that its schema has today."""
    return {schema_of(record).fingerprint: record for record in RECORDS}
