# SPDX-License-Identifier: MIT
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from snapshot_examples import DOCUMENT, HEADER
from usp.io import snapshot_errors as errors
from usp.io.snapshot_body import SnapshotLimits
from usp.io.snapshots import (
    SnapshotError,
    SnapshotHeader,
    decode_snapshot,
    document_hash,
    encode_snapshot,
    load_snapshot,
    save_snapshot,
    snapshot_id,
    verify_snapshot,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "snapshots"


def same(left: Any, right: Any) -> bool:
    """Equality to the bit, types and shapes included; tuples count as lists."""
    if isinstance(left, np.ndarray):
        right = np.asarray(right)
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return isinstance(right, float) and struct.pack("<d", left) == struct.pack("<d", right)
    return type(left) is type(right) and left == right


def test_the_golden_file_is_read_and_written_as_ever():
    """A file of format 1 holds what it held when it was written, and is written the same today."""
    data = (GOLDEN / "good_v1.snapshot").read_bytes()
    snapshot = decode_snapshot(data)
    assert snapshot.header == HEADER
    assert same(dict(snapshot.document), DOCUMENT)
    assert encode_snapshot(HEADER, DOCUMENT) == data


@pytest.mark.parametrize("name", ["good_v1_crc32c", "good_v1_gzip"])
def test_golden_variants_hold_the_same_state(name: str):
    """Algorithm and compression change the file, not the state nor its body hash."""
    snapshot = load_snapshot(GOLDEN / f"{name}.snapshot")
    assert same(dict(snapshot.document), DOCUMENT)
    assert snapshot.body_hash == document_hash(DOCUMENT)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("bit_flipped", errors.DigestMismatch, "expected"),
        ("truncated", errors.SnapshotTruncated, "bytes, expected"),
        ("from_the_future", errors.FormatVersionUnsupported, "found format version 2, expected 1"),
        ("wrong_algorithm", errors.AlgorithmUnsupported, "found hash algorithm 9, expected one of 1 (sha256)"),
    ],
)
def test_golden_bad_files_are_refused(name: str, error: type[SnapshotError], words: str):
    """Each kind of damage has its own error, which names the file, what was found and what was expected."""
    path = GOLDEN / f"{name}.snapshot"
    with pytest.raises(error) as caught:
        load_snapshot(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    with pytest.raises(error):
        verify_snapshot(path)


@pytest.mark.parametrize("algorithm", ["sha256", "crc32c"])
def test_every_single_bit_flip_is_refused(algorithm: Any):
    """No byte of a file can change, in any bit, without the file being refused."""
    data = encode_snapshot(replace(HEADER, hash_algorithm=algorithm), {"a": 1})
    for position in range(len(data)):
        for bit in range(8):
            bad = bytearray(data)
            bad[position] ^= 1 << bit
            with pytest.raises(SnapshotError):
                decode_snapshot(bytes(bad))


@pytest.mark.parametrize("algorithm", ["sha256", "crc32c"])
def test_every_other_value_of_every_byte_is_refused(algorithm: Any):
    """The same for whole bytes: all 255 other values at each place."""
    data = encode_snapshot(replace(HEADER, hash_algorithm=algorithm, anchors={}, previous_hash=""), {})
    for position in range(len(data)):
        for value in range(256):
            if value != data[position]:
                with pytest.raises(SnapshotError):
                    decode_snapshot(data[:position] + bytes([value]) + data[position + 1 :])


def test_every_length_but_its_own_is_refused():
    """Cut anywhere, or followed by anything, a file is refused."""
    data = encode_snapshot(HEADER, DOCUMENT)
    for length in range(len(data)):
        with pytest.raises(SnapshotError):
            decode_snapshot(data[:length])
    with pytest.raises(errors.SnapshotTruncated):
        decode_snapshot(data + b"\0")


ARRAYS = hnp.arrays(
    dtype=st.sampled_from(["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(), st.binary(), ARRAYS
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


@settings(max_examples=80, deadline=None)
@given(document=st.dictionaries(st.text(), VALUES, max_size=5), data=st.data())
def test_a_state_survives_encode_and_decode_to_the_bit(document: dict[str, Any], data: st.DataObject):
    """Any document comes back with the same types, shapes and bits, under any policy."""
    header = replace(
        HEADER,
        compression=data.draw(st.sampled_from(["none", "gzip"])),
        hash_algorithm=data.draw(st.sampled_from(["sha256", "crc32c"])),
    )
    encoded = encode_snapshot(header, document)
    snapshot = decode_snapshot(encoded)
    assert same(document, dict(snapshot.document))
    assert snapshot.header == header
    assert snapshot.snapshot_id == snapshot_id(encoded)
    assert snapshot.body_hash == document_hash(document)
    assert encode_snapshot(header, snapshot.document) == encoded


def test_the_order_of_insertion_and_of_memory_does_not_matter():
    """Equal states give equal bytes: map order, Fortran order, byte order and strides are not part of a state."""
    array = np.arange(6, dtype=np.float64).reshape(2, 3)
    plain = encode_snapshot(HEADER, {"a": {"x": 1, "y": array}, "b": 2})
    for other in (np.asfortranarray(array), array.astype(">f8"), np.repeat(array, 2, axis=1)[:, ::2]):
        assert encode_snapshot(HEADER, {"b": 2, "a": {"y": other, "x": 1}}) == plain


def test_arrays_come_back_writable_and_native():
    """A restored state may be changed in place."""
    array = decode_snapshot(encode_snapshot(HEADER, {"a": np.ones(3)})).document["a"]
    array += 1
    assert array.dtype.isnative


def test_a_negative_zero_and_a_nan_keep_their_bits():
    """Floats are stored, not printed."""
    values = np.array([-0.0, np.nan, -np.inf, 5e-324])
    found = decode_snapshot(encode_snapshot(HEADER, {"a": values})).document["a"]
    assert found.tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({1: 2}, "document: found the key 1 (int), expected text keys"),
        ({"a": {b"x": 2}}, "a: found the key b'x' (bytes)"),
        ({"a": {"b": {1, 2}}}, "a.b: found a set"),
        ({"a": [0, object()]}, "a[1]: found a object"),
        ({"a": 2**64}, "a: found an integer of 65 bits"),
        ({"a": np.array(["x"])}, "a: found an array of <U1"),
        ({"a": np.array([None])}, "a: found an array of object"),
        ({"a": {"data": b"", "dtype": "<f8", "shape": [0]}}, "would read as an array"),
        ({"a": "\ud800"}, "a: found text with a lone surrogate"),
    ],
)
def test_what_cannot_be_held_exactly_is_refused_with_its_place(document: dict[str, Any], words: str):
    """Nothing is rounded, renamed or dropped; the error says where the value stands."""
    with pytest.raises(errors.SnapshotUnencodable) as caught:
        encode_snapshot(HEADER, document)
    assert words in str(caught.value)


def test_a_state_without_end_is_refused():
    """A list that holds itself is an error, not a crash of the interpreter."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(errors.SnapshotUnencodable, match="found more than 64 levels"):
        encode_snapshot(HEADER, {"a": endless})


def test_protobuf_is_refused_clearly():
    """The reserved format is not written, and the error says what is."""
    with pytest.raises(errors.SerializationUnsupported, match="found snapshot_format 'protobuf', expected \"msgpack\""):
        encode_snapshot(replace(HEADER, serialization="protobuf"), {})


def test_brotli_without_its_library_is_refused_clearly():
    """The policy brotli says what to install; nothing else is written in its place."""
    try:
        import brotli  # noqa: F401  # pyright: ignore
    except ImportError:
        with pytest.raises(errors.CompressionUnsupported, match="pip install brotli"):
            encode_snapshot(replace(HEADER, compression="brotli"), {})
    else:
        document = {"a": list(range(100))}
        encoded = encode_snapshot(replace(HEADER, compression="brotli"), document)
        assert decode_snapshot(encoded).document == document


@pytest.mark.parametrize(
    "limits",
    [SnapshotLimits(file_bytes=100), SnapshotLimits(header_bytes=100), SnapshotLimits(body_bytes=100)],
    ids=["file", "header", "body"],
)
def test_a_snapshot_beyond_a_limit_is_refused(limits: SnapshotLimits):
    """This process says how much it is ready to load."""
    with pytest.raises(errors.SnapshotTooLarge):
        decode_snapshot(encode_snapshot(HEADER, DOCUMENT), limits)


def test_a_list_beyond_the_limit_of_entries_is_refused():
    """Also what is well-formed inside may be too much."""
    with pytest.raises(errors.SnapshotTooLarge, match="at most 50 entries"):
        decode_snapshot(encode_snapshot(HEADER, {"a": list(range(100))}), SnapshotLimits(entries=50))


def test_a_compressed_body_cannot_grow_beyond_what_the_header_says():
    """A small file never fills the memory: only as much is unpacked as was announced."""
    encoded = encode_snapshot(replace(HEADER, compression="gzip"), {"a": bytes(10_000_000)})
    assert len(encoded) < 100_000
    with pytest.raises(errors.SnapshotTooLarge):
        decode_snapshot(encoded, SnapshotLimits(body_bytes=1_000_000))


def test_segments_have_hashes_of_their_own():
    """Two states can be compared block by block without parsing them."""
    left = decode_snapshot(encode_snapshot(HEADER, DOCUMENT)).segment_hashes
    right = decode_snapshot(encode_snapshot(HEADER, DOCUMENT | {"S_C": {"scale": [0.2]}})).segment_hashes
    assert [name for name in left if left[name] != right[name]] == ["S_C"]


def test_the_body_hash_depends_on_the_state_alone():
    """The same state at another place, by another build, at another time has the same body hash."""
    other = replace(HEADER, next_offset=9, created_ns=1, fingerprint="x", compression="gzip", hash_algorithm="crc32c")
    left, right = (decode_snapshot(encode_snapshot(header, DOCUMENT)) for header in (HEADER, other))
    assert left.body_hash == right.body_hash
    assert left.snapshot_id != right.snapshot_id


def test_save_and_load_go_through_a_file(tmp_path: Path):
    """The file that is saved is the one that is loaded, and its id is its SHA-256."""
    path = tmp_path / "deep" / "state.snapshot"
    identity = save_snapshot(path, HEADER, DOCUMENT)
    assert load_snapshot(path).snapshot_id == identity
    assert verify_snapshot(path) == HEADER
    assert [each.name for each in path.parent.iterdir()] == ["state.snapshot"]


def test_a_missing_file_is_a_snapshot_error(tmp_path: Path):
    """One kind of error for all that can go wrong while loading."""
    with pytest.raises(SnapshotError, match=r"nothing.snapshot: cannot be read"):
        load_snapshot(tmp_path / "nothing.snapshot")


@pytest.mark.parametrize("field", ["partition", "next_offset", "step", "config_epoch", "created_ns"])
def test_headers_with_impossible_numbers_are_refused(field: str):
    """A negative position cannot have been written by us."""
    with pytest.raises(errors.SnapshotMalformed, match=f"found {field} = -1"):
        decode_snapshot(encode_snapshot(replace(HEADER, **{field: -1}), {}))


def test_other_files_are_no_snapshots():
    """What never was a snapshot is said to be none."""
    for data in (b"PK\x03\x04 something else entirely, long enough for a header and a footer" * 3, b"x"):
        with pytest.raises(errors.NotASnapshot):
            decode_snapshot(data)
    with pytest.raises(errors.SnapshotTruncated):
        decode_snapshot(b"")


def test_the_header_has_defaults_for_what_not_everybody_knows():
    """A stage without configuration or history can still be snapshotted."""
    header = SnapshotHeader(
        log_id="l", stage="ingest", partition=0, next_offset=0, step=0, config_epoch=0, config_hash="", fingerprint=""
    )
    assert decode_snapshot(encode_snapshot(header, {})).header == header
