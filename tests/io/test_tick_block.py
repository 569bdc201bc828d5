# SPDX-License-Identifier: MIT
import struct
from dataclasses import replace
from math import inf, nan

import pytest

from usp.io.tick_block import pack_rows, row_count, single_row, unpack_ticks
from usp.schemas.records import Tick, TickBlock

TICK = Tick(
    symbol="EURUSD",
    venue="X",
    kind="quote",
    price=1.5,
    size=None,
    bid=1.4,
    ask=1.6,
    sequence=7,
    ts_event_ns=1_700_000_000_000_000_123,
    ts_publish_ns=5,
    producer_id="p",
)
TICKS = [TICK, replace(TICK, sequence=None, size=2.0, bid=None, ask=None, price=-1.0), replace(TICK, price=inf)]


def block_of(rows: bytes) -> TickBlock:
    return TickBlock(symbol="EURUSD", venue="X", kind="quote", rows=rows, ts_publish_ns=5, producer_id="p")


def test_ticks_survive_packing() -> None:
    """A block gives back the ticks that were packed, in order."""
    assert list(unpack_ticks(block_of(pack_rows(TICKS)))) == TICKS


def test_the_layout_is_the_documented_one() -> None:
    """Six little-endian fields of eight bytes, so that any language can pack them."""
    row = struct.pack("<qqdddd", 42, -1, 1.25, nan, 1.0, 1.5)
    (tick,) = unpack_ticks(block_of(row))
    assert (tick.ts_event_ns, tick.sequence, tick.price) == (42, None, 1.25)
    assert (tick.size, tick.bid, tick.ask) == (None, 1.0, 1.5)
    assert pack_rows([tick]) == row


@pytest.mark.parametrize("size", [0, 1, 47, 49, 95])
def test_broken_rows_are_refused_with_advice(size: int) -> None:
    """Half a row, or none, is an error that says what was expected."""
    with pytest.raises(ValueError, match=f"found {size} bytes of rows; expected a multiple of 48 above 0"):
        row_count(block_of(bytes(size)))


def test_a_single_row_is_a_block_of_its_own() -> None:
    """One row can be sent again without the others, NaN bits included."""
    rows = struct.pack("<qqdddd", 1, 1, nan, nan, nan, nan) + struct.pack("<qqdddd", 2, 2, 1.0, nan, nan, nan)
    block = block_of(rows)
    assert [rows[:48], rows[48:]] == [single_row(block, row).rows for row in range(row_count(block))]
