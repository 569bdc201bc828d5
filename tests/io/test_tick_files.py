# SPDX-License-Identifier: MIT
"""Tick files are read row by row without losing any; prediction files come back bit for bit."""

import csv
import io
import math
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usp.io.tick_files import (
    LONGEST_LINE,
    PREDICTION_COLUMNS,
    MalformedRow,
    PredictionRow,
    TickFileError,
    TickRow,
    parse_ticks,
    read_ticks,
    restamp,
    write_predictions,
)

HEADER = "timestamp_ns,symbol,price\n"


def one_row(text: str, header: str = HEADER) -> TickRow | MalformedRow:
    """What the reader makes of a file with one row."""
    (row,) = parse_ticks([header, text], "ticks.csv")
    return row


def ticks_at(*times: int) -> list[TickRow]:
    """Ticks with these event times."""
    return [TickRow(index, time, "EURUSD", 1.0) for index, time in enumerate(times)]


def bits(value: float) -> bytes:
    """A float as it lies in memory: tells -0.0 from 0.0."""
    return struct.pack("<d", value)


def test_columns_are_found_by_name() -> None:
    """Order does not matter, optional columns may lack or be empty, others are ignored."""
    header = "price, size ,venue,symbol,bid,ask,timestamp_ns\n"
    assert one_row("1.5,,XPAR,EURUSD,1.4,1.6,7\r\n", header) == TickRow(0, 7, "EURUSD", 1.5, 1.4, 1.6, None)
    assert one_row("7,EURUSD,1.5\n") == TickRow(0, 7, "EURUSD", 1.5)


def test_a_row_with_both_sides_is_a_quote() -> None:
    """Bid and ask make a quote; anything less is a trade."""
    assert TickRow(0, 0, "EURUSD", 1.5, 1.4, 1.6).kind == "quote"
    assert TickRow(0, 0, "EURUSD", 1.5, 1.4, None).kind == "trade"


@pytest.mark.parametrize(
    ("text", "found", "expected"),
    [
        ("12,EURUSD", "2 fields in '12,EURUSD'", "3 fields as in the header"),
        ("12,EURUSD,1,2", "4 fields in '12,EURUSD,1,2'", "3 fields as in the header"),
        ("1.5e9,EURUSD,1", "'1.5e9'", "timestamp_ns as whole nanoseconds within 64 bits"),
        (",EURUSD,1", "''", "timestamp_ns as whole nanoseconds within 64 bits"),
        (f"{2**63},EURUSD,1", f"'{2**63}'", "timestamp_ns as whole nanoseconds within 64 bits"),
        (f"{'9' * 50},EURUSD,1", f"'{'9' * 50}'", "timestamp_ns as whole nanoseconds within 64 bits"),
        ("1_000,EURUSD,1", "'1_000'", "timestamp_ns as whole nanoseconds within 64 bits"),
        ("12,EURUSD,abc", "'abc'", "price as a number"),
        ("12,EURUSD,", "''", "price as a number"),
        ("12,EURUSD,1_0", "'1_0'", "price as a number"),
        ("12,EURUSD,0x10", "'0x10'", "price as a number"),
        ('12,"EURUSD,1', "'12,\"EURUSD,1'", "well-formed CSV (unexpected end of data)"),
    ],
)
def test_a_malformed_row_is_reported_where_it_is(text: str, found: str, expected: str) -> None:
    """The report says file, line, what was found and what was expected."""
    assert one_row(text) == MalformedRow(0, "ticks.csv", 2, found, expected)
    assert str(one_row(text)) == f"ticks.csv:2: found {found}, expected {expected}"


def test_bad_rows_do_not_hide_good_ones() -> None:
    """Rows after a bad one are read, even after an open quote; places count every row, and blank lines are none."""
    lines = [HEADER, '1,"EURUSD,1\n', "\n", "nonsense\n", "3,EURUSD,2\n", "  \n"]
    first, second, third = parse_ticks(lines, "ticks.csv")
    assert isinstance(first, MalformedRow) and (first.index, first.line) == (0, 2)
    assert isinstance(second, MalformedRow) and (second.index, second.line) == (1, 4)
    assert third == TickRow(2, 3, "EURUSD", 2.0)


def test_bytes_that_are_no_text_are_a_malformed_row(tmp_path: Path) -> None:
    """Only the row with the bad bytes suffers; a byte order mark and Windows line ends are fine."""
    path = tmp_path / "ticks.csv"
    path.write_bytes(b"\xef\xbb\xbftimestamp_ns,symbol,price\r\n1,EUR\xffUSD,1\r\n2,EURUSD,1\r\n")
    bad, good = read_ticks(path)
    assert str(bad) == f"{path}:2: found '1,EUR\\\\udcffUSD,1', expected UTF-8 text"
    assert good == TickRow(1, 2, "EURUSD", 1.0)


def test_an_endless_line_is_cut_and_reported(tmp_path: Path) -> None:
    """A line beyond the limit is one malformed row, not a full memory; the longest legal line is read."""
    path = tmp_path / "ticks.csv"
    longest = "1," + "X" * (LONGEST_LINE - 4) + ",1"
    path.write_text(f"{HEADER}{longest}\n{'9' * 300_000}\n2,EURUSD,1\n", encoding="utf-8")
    first, second, third = read_ticks(path)
    assert isinstance(first, TickRow) and len(first.symbol) == LONGEST_LINE - 4
    assert isinstance(second, MalformedRow) and second.line == 3
    assert second.expected == f"at most {LONGEST_LINE} characters"
    assert third == TickRow(2, 2, "EURUSD", 1.0)


@pytest.mark.parametrize("price", ["nan", "-inf", "Infinity", "0", "-1.5", "1e400"])
def test_senseless_numbers_are_left_to_ingest(price: str) -> None:
    """The reader judges form only: NaN, infinity and prices below zero are ticks, and ingest refuses them."""
    row = one_row(f"1,EURUSD,{price}")
    assert isinstance(row, TickRow) and bits(row.price) == bits(float(price))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", r"ticks.csv:1: found '', expected a header timestamp_ns,symbol,price.*no timestamp_ns, symbol, price"),
        ("1,EURUSD,1.5", r"ticks.csv:1: found '1,EURUSD,1.5', expected a header"),
        ("timestamp_ns,symbol,close", r"no price\)"),
        ("timestamp_ns,symbol,price,price", r"found price more than once, expected each column once"),
    ],
)
def test_a_file_without_the_columns_is_refused(header: str, message: str) -> None:
    """A wrong header stops the reading at once, with the right one in the message."""
    with pytest.raises(TickFileError, match=message):
        list(parse_ticks([header, "1,EURUSD,1.5"], "ticks.csv"))


def test_an_empty_file_is_refused_and_a_file_without_rows_is_empty() -> None:
    """No header is an error; no rows are none."""
    with pytest.raises(TickFileError):
        list(parse_ticks([], "ticks.csv"))
    assert list(parse_ticks([HEADER], "ticks.csv")) == []


def test_restamped_ticks_have_the_wanted_start_rate_and_shape() -> None:
    """Relative gaps stay; the mean rate is the wanted one; nothing else changes."""
    rows = list(restamp(ticks_at(0, 10, 20, 80), start_ns=1_000_000_000_000, rate_per_s=3.0))
    assert [row.timestamp_ns - 1_000_000_000_000 for row in rows] == [0, 125_000_000, 250_000_000, 1_000_000_000]
    assert [(row.index, row.symbol, row.price) for row in rows] == [(index, "EURUSD", 1.0) for index in range(4)]


def test_ticks_that_all_carry_one_time_are_spread_evenly() -> None:
    """A file without distinct times is published at the rate all the same."""
    rows = restamp(ticks_at(5, 5, 5), start_ns=100, rate_per_s=2.0)
    assert [row.timestamp_ns for row in rows] == [100, 500_000_100, 1_000_000_100]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30), st.floats(0.01, 1e6))
def test_restamping_keeps_the_order(times: list[int], rate_per_s: float) -> None:
    """A tick that was not later than another is not later afterwards, out-of-order rows included."""
    rows = list(restamp(ticks_at(*times), start_ns=10**18, rate_per_s=rate_per_s))
    if len(set(times)) > 1:
        by_old = [row.timestamp_ns for row in sorted(rows, key=lambda row: times[row.index])]
        assert by_old == sorted(by_old)
    assert min(row.timestamp_ns for row in rows) == 10**18
    assert max(row.timestamp_ns for row in rows) == 10**18 + round((len(times) - 1) / rate_per_s * 1e9)


@pytest.mark.parametrize("rate_per_s", [0.0, -1.0, math.nan, math.inf])
def test_an_impossible_rate_is_refused(rate_per_s: float) -> None:
    """The message says what was found and what was expected."""
    with pytest.raises(ValueError, match=r"rate_per_s was .*, expected a finite number of rows per second above 0"):
        list(restamp(ticks_at(1), start_ns=0, rate_per_s=rate_per_s))


@given(st.lists(st.tuples(*[st.floats(allow_nan=False)] * 5), max_size=5), st.text(alphabet='A",\n é', min_size=1))
def test_predictions_come_back_bit_for_bit(values: list[tuple[float, ...]], symbol: str) -> None:
    """Floats are written by repr, so reading them gives the same bits; symbols may hold commas and quotes."""
    rows = [PredictionRow(index, 10**18 + index, symbol, *numbers) for index, numbers in enumerate(values)]
    handle = io.StringIO(newline="")
    assert write_predictions(handle, rows) == len(rows)
    handle.seek(0)
    read = list(csv.DictReader(handle))
    assert [(int(row["index"]), int(row["timestamp_ns"]), row["symbol"]) for row in read] == [
        (row.index, row.timestamp_ns, row.symbol) for row in rows
    ]
    columns = PREDICTION_COLUMNS[3:]
    assert [[bits(float(row[name])) for name in columns] for row in read] == [
        [bits(getattr(row, name)) for name in columns] for row in rows
    ]


def test_a_prediction_file_looks_as_documented() -> None:
    """Header and one line, to the character."""
    handle = io.StringIO()
    write_predictions(handle, [PredictionRow(1, 7, "EURUSD", 0.1, 0.2, 0.0, 1e-17, math.nan)])
    assert handle.getvalue() == "index,timestamp_ns,symbol,pred,median,lo,hi,y\n1,7,EURUSD,0.1,0.2,0.0,1e-17,nan\n"
