# SPDX-License-Identifier: MIT
"""The wire format: what goes in comes out, and bad bytes are named, never raised."""

import json
from dataclasses import replace
from io import BytesIO

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usp.io import avro
from usp.io.avro import HEADER_BYTES, Undecodable, decode, encode
from usp.schemas import Written, parsed, schema_of
from usp.schemas.records import Tick

TICK = Tick(
    symbol="EURUSD",
    venue="sim",
    kind="quote",
    price=1.0875,
    size=None,
    bid=1.0874,
    ask=1.0876,
    sequence=7,
    ts_event_ns=1_700_000_000_000_000_001,
    ts_publish_ns=1_700_000_000_000_000_002,
    producer_id="test",
)
INT64 = st.integers(-(2**63), 2**63 - 1)


@given(symbol=st.text(max_size=50), price=st.floats(allow_nan=False), sequence=st.none() | INT64, at=INT64)
def test_round_trip(symbol: str, price: float, sequence: int | None, at: int) -> None:
    """Every value that the schema allows survives, bit for bit."""
    tick = replace(TICK, symbol=symbol, price=price, sequence=sequence, ts_event_ns=at)
    assert tick == decode(encode(tick))


def test_the_frame_is_single_object_encoding() -> None:
    """Any Avro library can read our bytes: marker, CRC-64-AVRO fingerprint, body."""
    wire = encode(TICK)
    assert b"\xc3\x01" + schema_of(Tick).fingerprint == wire[:HEADER_BYTES]
    assert vars(TICK) == fastavro.schemaless_reader(BytesIO(wire[HEADER_BYTES:]), schema_of(Tick).json, None)


def test_every_truncation_is_named() -> None:
    """No prefix of a record decodes, none raises."""
    wire = encode(TICK)
    reasons = {decode(wire[:n]).reason for n in range(len(wire))}
    assert {"not_single_object", "truncated_avro"} == reasons


@given(st.binary(max_size=200))
def test_garbage_is_named(garbage: bytes) -> None:
    """Arbitrary bytes give a reason."""
    assert isinstance(decode(garbage), Undecodable)


@given(st.binary(max_size=200))
def test_garbage_behind_a_good_header_never_raises(garbage: bytes) -> None:
    """A body of noise is either named or happens to be a record."""
    assert isinstance(decode(encode(TICK)[:HEADER_BYTES] + garbage), Undecodable | Tick)


def test_other_faults_have_their_own_names() -> None:
    """Tombstone, unknown fingerprint, trailing bytes."""
    wire = encode(TICK)
    assert "tombstone" == decode(None).reason
    assert "unknown_schema" == decode(wire[:2] + b"\0" * 8 + wire[10:]).reason
    assert "trailing_bytes" == decode(wire + b"x").reason


def test_what_an_older_release_wrote_is_a_record_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its fingerprint is known, and a field that it did not have gets its default."""
    today = schema_of(Tick).json
    new = {"name": "producer_id", "type": "string", "default": "unknown", "doc": "made for this test"}
    others = [field for field in today["fields"] if field["name"] != "producer_id"]
    reads = parsed("Tick", json.dumps({**today, "fields": [*others, new]}))
    wrote = parsed("Tick", json.dumps({**today, "fields": others}))
    body = BytesIO()
    fastavro.schemaless_writer(body, wrote.parsed, vars(TICK))
    wire = b"\xc3\x01" + wrote.fingerprint + body.getvalue()
    assert decode(wire).reason == "unknown_schema"
    monkeypatch.setattr(avro, "by_fingerprint", lambda: {wrote.fingerprint: Written(Tick, wrote)})
    monkeypatch.setattr(avro, "schema_of", lambda record: reads)
    assert decode(wire) == replace(TICK, producer_id="unknown")
