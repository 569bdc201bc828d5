# SPDX-License-Identifier: MIT
"""No record is handled before its partition is started, and none twice, whatever the client hands out."""

from usp.io.bus import Partition, RawRecord
from usp.io.expected_offsets import ExpectedOffsets

A, B = Partition("t", 0), Partition("t", 1)


def records(partition: Partition, *offsets: int) -> list[RawRecord]:
    """Records at these offsets."""
    return [RawRecord(partition, offset, None, b"", 0) for offset in offsets]


def due(expected: ExpectedOffsets, *given: list[RawRecord]) -> list[tuple[int, int]]:
    """(partition, offset) of what may be handled."""
    return [(r.partition.number, r.offset) for r in expected.due(record for some in given for record in some)]


def test_what_was_fetched_before_the_start_is_not_delivered() -> None:
    """A client that waits at the beginning of a log has the past in its hands."""
    expected = ExpectedOffsets()
    expected.start(B, 7)
    assert due(expected, records(A, 0, 1), records(B, 7, 8)) == [(1, 7), (1, 8)]
    expected.start(A, 4000)
    assert not expected.behind
    assert due(expected, records(A, 0, 1, 3999, 4000, 4001)) == [(0, 4000), (0, 4001)]
    assert expected.behind == {A}


def test_no_offset_comes_twice_and_gaps_are_no_fault() -> None:
    """Transactions leave gaps."""
    expected = ExpectedOffsets()
    expected.start(A, 5)
    assert due(expected, records(A, 6, 9, 9, 7, 10)) == [(0, 6), (0, 9), (0, 10)]
    assert due(expected, records(A, 10, 11)) == [(0, 11)]


def test_a_partition_that_was_given_up_delivers_nothing() -> None:
    """Until it is started again, wherever that is."""
    expected = ExpectedOffsets()
    expected.start(A, 5)
    expected.forget(A)
    assert due(expected, records(A, 5, 6)) == []
    expected.start(A, 2)
    assert due(expected, records(A, 2)) == [(0, 2)]
