# SPDX-License-Identifier: MIT
"""Ticks of one symbol packed as rows of 48 bytes, the body of a TickBlock.

A row is little-endian: ts_event_ns i8, sequence i8 (-1 if none), price, size, bid, ask f8 (NaN if none).
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import nan

import numpy as np

from ..schemas.records import Tick, TickBlock
from .avro import adopt

ROW = np.dtype(
    [("ts_event_ns", "<i8"), ("sequence", "<i8"), ("price", "<f8"), ("size", "<f8"), ("bid", "<f8"), ("ask", "<f8")]
)
NO_SEQUENCE = -1


def row_count(block: TickBlock) -> int:
    """How many ticks the block holds; ValueError if its bytes are not whole rows, or none."""
    count, rest = divmod(len(block.rows), ROW.itemsize)
    if rest or not count:
        raise ValueError(f"found {len(block.rows)} bytes of rows; expected a multiple of {ROW.itemsize} above 0")
    return count


def pack_rows(ticks: Iterable[Tick]) -> bytes:
    """The rows of ticks, in their order; what a row has no place for is left to the block's head."""
    return np.array([packed_row(tick) for tick in ticks], dtype=ROW).tobytes()


def packed_row(tick: Tick) -> tuple[float, ...]:
    """The fields of a row, with the values that stand for what is not there."""
    sequence = NO_SEQUENCE if tick.sequence is None else tick.sequence
    optional = (nan if value is None else value for value in (tick.size, tick.bid, tick.ask))
    return (tick.ts_event_ns, sequence, tick.price, *optional)


def unpack_ticks(block: TickBlock) -> Iterator[Tick]:
    """The ticks of a block, in their order; ValueError as `row_count`."""
    row_count(block)
    head: dict[str, object] = {name: value for name, value in block.__dict__.items() if name != "rows"}
    for ts_event_ns, sequence, price, size, bid, ask in np.frombuffer(block.rows, dtype=ROW).tolist():
        fields: dict[str, object] = head | {
            "ts_event_ns": ts_event_ns,
            "sequence": sequence if sequence >= 0 else None,
            "price": price,
            "size": size if size == size else None,
            "bid": bid if bid == bid else None,
            "ask": ask if ask == ask else None,
        }
        yield adopt(Tick, fields)


def single_row(block: TickBlock, row: int) -> TickBlock:
    """The block with one of its rows alone, bytes as they came."""
    return replace(block, rows=block.rows[row * ROW.itemsize : (row + 1) * ROW.itemsize])
