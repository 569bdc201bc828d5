# SPDX-License-Identifier: MIT
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_examples import HEADER
from usp.io.snapshot_chunks import SET_PATIENCE_NS, Assembler, BadChunk, split_into_chunks
from usp.io.snapshots import snapshot_id
from usp.schemas.records import SnapshotChunk


def pieces(data: bytes, size: int, **other: object) -> list[SnapshotChunk]:
    """The pieces of some bytes; the assembler does not look into them."""
    return split_into_chunks(replace(HEADER, **other), data, size)  # pyright: ignore


@given(data=st.binary(min_size=1, max_size=200), size=st.integers(1, 50))
def test_the_pieces_make_the_whole(data: bytes, size: int):
    """Whatever the sizes, what is put together is what was split, at the last piece and not before."""
    assembler = Assembler()
    chunks = pieces(data, size)
    done = [assembler.add(chunk, n, 0) for n, chunk in enumerate(chunks)]
    assert done[:-1] == [None] * (len(chunks) - 1)
    assert done[-1] is not None
    assert done[-1].data == data
    assert done[-1].snapshot_id == snapshot_id(data)
    assert assembler.first_needed() is None


@given(st.permutations(range(6)), st.integers(0, 5))
def test_pieces_may_repeat_and_overtake_behind_the_first(order: list[int], again: int):
    """At-least-once producers send twice; the set is complete once all are there."""
    chunks = pieces(b"abcdefghijkl", 2)
    assembler = Assembler()
    found = [assembler.add(chunks[index], n, 0) for n, index in enumerate([0, *order[:again], *order])]
    assert [each.data for each in found if each is not None] == [b"abcdefghijkl"]


def test_a_piece_without_its_first_opens_nothing():
    """After a restart in the middle of a set the rest of it is no reason to wait."""
    assembler = Assembler()
    assert assembler.add(pieces(b"abcd", 2)[1], 7, 0) is None
    assert assembler.first_needed() is None


def test_the_first_piece_of_the_oldest_open_set_is_needed():
    """Two stages may send at the same time through one partition."""
    assembler = Assembler()
    orchestrator, ingest = pieces(b"abcd", 2), pieces(b"efgh", 2, stage="ingest")
    assembler.add(orchestrator[0], 10, 0)
    assembler.add(ingest[0], 11, 0)
    assert assembler.first_needed() == 10
    assembler.add(orchestrator[1], 12, 0)
    assert assembler.first_needed() == 11
    assembler.add(ingest[1], 13, 0)
    assert assembler.first_needed() is None


def test_a_newer_set_supersedes_an_older_one():
    """A sender that died half-way is not waited for once its successor sends."""
    assembler = Assembler()
    assembler.add(pieces(b"abcd", 2, next_offset=5)[0], 10, 0)
    newer = pieces(b"efgh", 2, next_offset=6)
    assembler.add(newer[0], 11, 0)
    assert assembler.first_needed() == 11
    assert assembler.add(newer[1], 12, 0) is not None
    assert assembler.sets == {}


def test_a_late_older_set_does_not_throw_out_the_newer_one():
    """Both may still complete; once one is complete, what began before it is gone."""
    assembler = Assembler()
    newer, older = pieces(b"abcd", 2, next_offset=9), pieces(b"efgh", 2, next_offset=3)
    assembler.add(newer[0], 10, 0)
    assembler.add(older[0], 11, 0)
    assert assembler.first_needed() == 10
    assert assembler.add(newer[1], 12, 0) is not None
    assert assembler.first_needed() is None


def test_sets_of_one_owner_do_not_pile_up():
    """However many are begun and never finished, memory stays bounded."""
    assembler = Assembler()
    for n in range(100):
        assembler.add(pieces(b"%04d" % n, 2, next_offset=1000 - n)[0], n, 0)
    assert len(assembler.sets) <= 2


def test_an_abandoned_set_expires_by_the_time_of_the_log():
    """A partition is not held for ever by a sender that never comes back."""
    assembler = Assembler()
    assembler.add(pieces(b"abcd", 2)[0], 10, 100)
    assert assembler.expire(100 + SET_PATIENCE_NS) == []
    assert [each.first_offset for each in assembler.expire(101 + SET_PATIENCE_NS)] == [10]
    assert assembler.first_needed() is None


@pytest.mark.parametrize(
    "change",
    [
        {"count": 0},
        {"count": -1},
        {"index": -1},
        {"index": 2},
        {"count": 10**9, "index": 5},
        {"partition": -1},
        {"next_offset": -5},
        {"step": -1},
        {"count": 16_000, "payload": bytes(2**20)},
        {"count": 3},
        {"stage": "ingest"},
        {"step": 99},
    ],
)
def test_impossible_pieces_are_refused_and_change_nothing(change: dict[str, object]):
    """Bad input is their fault; the open sets stay as they were."""
    assembler = Assembler()
    first, second = pieces(b"abcd", 2)
    assembler.add(first, 10, 0)
    with pytest.raises(BadChunk, match="found"):
        assembler.add(replace(second, **change), 11, 0)  # pyright: ignore
    assert assembler.first_needed() == 10
    assert assembler.add(second, 12, 0) is not None


def test_a_snapshot_of_real_size_fits_messages():
    """Half a mebibyte a piece, below the usual limit of a message."""
    chunks = split_into_chunks(HEADER, bytes(3 * 2**20 + 1))
    assert [len(chunk.payload) for chunk in chunks] == [2**19] * 6 + [1]
    assert {chunk.count for chunk in chunks} == {7}
