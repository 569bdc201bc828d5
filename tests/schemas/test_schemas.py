# SPDX-License-Identifier: MIT
"""The schemas: documented, equal to their classes, compatible with every released version."""

import dataclasses
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from usp import schemas
from usp.schemas import by_fingerprint, file_name, schema_of
from usp.schemas.compatibility import problems
from usp.schemas.records import RECORDS, Tick

RELEASED = Path(schemas.__file__).parent / "released"
PYTHON = {"string": str, "long": int, "int": int, "double": float, "boolean": bool, "bytes": bytes}


def python_type(avro: Any) -> Any:
    """The annotation that stands for an Avro type in records.py."""
    match avro:
        case ["null", inner]:
            return python_type(inner) | None
        case {"type": "array", "items": inner}:
            return list[python_type(inner)]
        case {"type": "map", "values": inner}:
            return dict[str, python_type(inner)]
        case {"type": "enum", "symbols": symbols}:
            return tuple(symbols)
        case str():
            return PYTHON[avro]
    raise AssertionError(avro)


@pytest.mark.parametrize("record", RECORDS)
def test_class_and_schema_agree(record: Any) -> None:
    """Every field stands in both, in the same order, with the same type."""
    hints = get_type_hints(record)
    found = [
        (f.name, get_args(hints[f.name]) if "Literal" in str(hints[f.name]) else hints[f.name])
        for f in dataclasses.fields(record)
    ]
    expected = [(f["name"], python_type(f["type"])) for f in schema_of(record).json["fields"]]
    assert expected == found


@pytest.mark.parametrize("record", RECORDS)
def test_everything_is_documented(record: Any) -> None:
    """The record and each of its fields say what they mean."""
    schema = schema_of(record).json
    assert len(schema["doc"]) > 20
    assert [] == [f["name"] for f in schema["fields"] if len(f.get("doc", "")) < 5]


@pytest.mark.parametrize("path", sorted(RELEASED.rglob("*.avsc")), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_today_reads_what_was_released(path: Path) -> None:
    """BACKWARD_TRANSITIVE: each schema of today resolves against every released version of it."""
    today = {file_name(record.__name__): schema_of(record).json for record in RECORDS}
    assert [] == problems(today[path.name], json.loads(path.read_text()))


def test_every_release_keeps_all_its_schemas() -> None:
    """The version that is being made too: nothing that it writes may become unreadable."""
    assert version("usp") in {path.name for path in RELEASED.iterdir()}
    assert {path.name for path in (RELEASED / version("usp")).iterdir()} == {file_name(r.__name__) for r in RECORDS}


def test_no_two_schemas_share_a_fingerprint() -> None:
    """A fingerprint names one record type."""
    assert {written.record for written in by_fingerprint().values()} == set(RECORDS)
    assert all(by_fingerprint()[schema_of(record).fingerprint].schema is schema_of(record) for record in RECORDS)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "extra", "type": "long"}, ".extra: is new and has no default"),
        ({"name": "symbol", "type": "long"}, ".symbol: string was written, long is read"),
    ],
)
def test_an_incompatible_change_is_seen(change: dict[str, str], complaint: str) -> None:
    """The compatibility check is able to fail: a new field without default, a changed type."""
    old = schema_of(Tick).json
    fields = [f for f in old["fields"] if f["name"] != change["name"]]
    assert [complaint] == problems({**old, "fields": [*fields, change]}, old)


def test_a_new_field_with_a_default_is_compatible() -> None:
    """The change that evolution allows."""
    old = schema_of(Tick).json
    new = {**old, "fields": [*old["fields"], {"name": "extra", "type": ["null", "long"], "default": None}]}
    assert [] == problems(new, old)
