# SPDX-License-Identifier: MIT
"""The Avro schemas of every record: loaded once, found by name or by fingerprint.

`*.avsc` are those that are written today. `released/VERSION/` keeps those of every release: logs and snapshots outlive
releases, so what an older one wrote is resolved into the record of today.

The fingerprint is CRC-64-AVRO over the parsing canonical form (Avro 1.11, "Schema Fingerprints"), in the
little-endian byte order in which single-object encoding puts it on the wire.
"""

import json
from functools import cache
from importlib import resources
from pathlib import Path
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
    return parsed(record.__name__, text)


class Written(NamedTuple):
    """What a fingerprint on the wire says: the record type of today, and the schema that it was written with."""

    record: type[AnyRecord]
    schema: Schema


@cache
def by_fingerprint() -> dict[bytes, Written]:
    """Every schema that a record may have been written with, today's and all released ones."""
    today = [Written(record, schema_of(record)) for record in RECORDS]
    return {written.schema.fingerprint: written for written in [*released(), *today]}


def released() -> list[Written]:
    """The schemas of every release, of records that are still read."""
    folder = Path(str(resources.files(__name__) / "released"))
    records = {file_name(record.__name__): record for record in RECORDS}
    paths = [path for path in sorted(folder.glob("*/*.avsc")) if path.name in records]
    return [Written(records[path.name], parsed(records[path.name].__name__, path.read_text())) for path in paths]


def parsed(name: str, text: str) -> Schema:
    """A schema from the text of its file."""
    raw: JsonSchema = json.loads(text)
    return Schema(name, raw, fastavro.parse_schema(raw), fingerprint_of(raw))
