# SPDX-License-Identifier: MIT
"""Tick files in, prediction files out: CSV at the edge of the process.

A tick file has a header with `timestamp_ns,symbol,price` and optionally `bid`, `ask`, `size`, in any order; other
columns are ignored. One line is one row: a field never spans lines, so a stray quote cannot swallow the rest of a file.
The reader judges form only (can the text be a number?); whether a price makes sense is for ingest to say.
"""

import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.resources.abc import Traversable
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Literal, NamedTuple, TextIO, TypeAlias

REQUIRED_COLUMNS = ("timestamp_ns", "symbol", "price")
OPTIONAL_COLUMNS = ("bid", "ask", "size")
HEADER = "timestamp_ns,symbol,price[,bid,ask,size]"
PREDICTION_COLUMNS = ("index", "timestamp_ns", "symbol", "pred", "median", "lo", "hi", "y")

LONGEST_LINE = 65_536  # characters; keeps a file without line ends from filling the memory
LONGEST_SHOWN = 120  # characters of a bad row that a report repeats
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

# Python's own parsers also take 1_000, blanks and the digits of other scripts, which no other reader of the file would.
INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?(inf|infinity|nan)", re.ASCII | re.IGNORECASE)


class TickFileError(ValueError):
    """The file as a whole cannot be read as ticks; a bad row is a `MalformedRow` instead."""


@dataclass(frozen=True, slots=True)
class TickRow:
    """One row of a tick file; `index` is its 0-based place among the rows, malformed ones counted too."""

    index: int
    timestamp_ns: int
    symbol: str
    price: float
    bid: float | None = None
    ask: float | None = None
    size: float | None = None

    @property
    def kind(self) -> Literal["trade", "quote"]:
        """A row with both sides of the book is a quote."""
        return "trade" if self.bid is None or self.ask is None else "quote"


@dataclass(frozen=True, slots=True)
class MalformedRow:
    """A row that is not a tick: where it is, what was found, what was expected."""

    index: int
    file: str
    line: int
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: found {self.found}, expected {self.expected}"


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """A forecast of input row `index`, made from earlier rows only; `lo` and `hi` bound the 95 % interval."""

    index: int
    timestamp_ns: int
    symbol: str
    pred: float
    median: float
    lo: float
    hi: float
    y: float


ReadRow: TypeAlias = TickRow | MalformedRow


class Columns(NamedTuple):
    """Where the header puts the known columns, and how many fields it has."""

    places: dict[str, int]
    width: int


class MalformedField(Exception):
    """Leaves this module only as a MalformedRow."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found, expected)
        self.found = found
        self.expected = expected


def read_ticks(path: Path | Traversable) -> Iterator[ReadRow]:
    """Rows of a tick file one by one, malformed ones in their place; the first may raise OSError or TickFileError."""
    with path.open("rb") as stream, text_of(stream) as handle:
        yield from parse_ticks(bounded_lines(handle), str(path))


def text_of(stream: IO[bytes]) -> TextIO:
    """The text of a file; bytes that are no UTF-8 come through marked, for the row that holds them to be reported."""
    return TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="\n")


def parse_ticks(lines: Iterable[str], file: str) -> Iterator[ReadRow]:
    """Rows from the lines of a tick file; `file` is its name in reports. Blank lines are no rows."""
    numbered = enumerate((line.rstrip("\r\n") for line in lines), start=1)
    columns = read_header(next(numbered, (1, ""))[1], file)
    index = 0
    for line, text in numbered:
        if not text.strip():
            continue
        yield parse_row(text, columns, index, file, line)
        index += 1


def restamp(rows: Sequence[TickRow], start_ns: int, rate_per_s: float) -> Iterator[TickRow]:
    """The rows with event times moved to begin at `start_ns` and squeezed to `rate_per_s` rows per second on average.

    One linear map for all rows, so order, ties and relative gaps stay. Rows that all carry one time are spread evenly.
    """
    if not (math.isfinite(rate_per_s) and rate_per_s > 0):
        raise ValueError(f"rate_per_s was {rate_per_s}, expected a finite number of rows per second above 0")
    if not rows:
        return
    target_ns = round((len(rows) - 1) / rate_per_s * 1e9)
    first_ns = min(row.timestamp_ns for row in rows)
    span_ns = max(row.timestamp_ns for row in rows) - first_ns
    for place, row in enumerate(rows):
        # Whole numbers throughout: floats cannot tell nanoseconds of this century apart.
        elapsed, span = (row.timestamp_ns - first_ns, span_ns) if span_ns else (place, max(1, len(rows) - 1))
        yield replace(row, timestamp_ns=start_ns + elapsed * target_ns // span)


def write_predictions(handle: TextIO, rows: Iterable[PredictionRow]) -> int:
    """Writes a header and the rows as CSV and returns their number; floats come back bit for bit when read."""
    writer = csv.writer(handle, lineterminator="\n")
    writer.writerow(PREDICTION_COLUMNS)
    count = 0
    for row in rows:
        numbers = (repr(float(value)) for value in (row.pred, row.median, row.lo, row.hi, row.y))
        writer.writerow((row.index, row.timestamp_ns, row.symbol, *numbers))
        count += 1
    return count


def bounded_lines(handle: TextIO) -> Iterator[str]:
    """The lines of a file, each cut after LONGEST_LINE + 1 characters."""
    while line := handle.readline(LONGEST_LINE + 1):
        rest = line
        while len(rest) > LONGEST_LINE and not rest.endswith("\n"):
            rest = handle.readline(LONGEST_LINE + 1)
        yield line


def read_header(text: str, file: str) -> Columns:
    """What the first line says about the rows."""
    names = [name.strip() for name in text.split(",")]
    missing = [name for name in REQUIRED_COLUMNS if name not in names]
    if missing:
        raise TickFileError(f"{file}:1: found {shown(text)}, expected a header {HEADER} (no {', '.join(missing)})")
    known = [name for name in names if name in REQUIRED_COLUMNS + OPTIONAL_COLUMNS]
    twice = sorted({name for name in known if known.count(name) > 1})
    if twice:
        raise TickFileError(f"{file}:1: found {', '.join(twice)} more than once, expected each column once")
    return Columns({name: names.index(name) for name in known}, len(names))


def parse_row(text: str, columns: Columns, index: int, file: str, line: int) -> ReadRow:
    """One line as a tick, or as a report of what is wrong with it."""
    try:
        return parse_fields(split_fields(text, columns.width), columns.places, index)
    except MalformedField as fault:
        return MalformedRow(index, file, line, fault.found, fault.expected)


def split_fields(text: str, width: int) -> list[str]:
    """The fields of one line, quotes and outer blanks removed."""
    if len(text) > LONGEST_LINE:
        raise MalformedField(f"a line that begins {shown(text)}", f"at most {LONGEST_LINE} characters")
    try:
        text.encode()
        fields = text.split(",") if '"' not in text else next(csv.reader([text], strict=True))
    except UnicodeEncodeError:
        raise MalformedField(shown(text), "UTF-8 text") from None
    except csv.Error as error:
        raise MalformedField(shown(text), f"well-formed CSV ({error})") from None
    if len(fields) != width:
        raise MalformedField(f"{len(fields)} fields in {shown(text)}", f"{width} fields as in the header")
    return [field.strip() for field in fields]


def parse_fields(fields: Sequence[str], places: dict[str, int], index: int) -> TickRow:
    """The fields as a tick; a column that the file lacks is as good as an empty field."""
    bid, ask, size = (
        parse_number(fields[places[name]], name) if name in places and fields[places[name]] else None
        for name in OPTIONAL_COLUMNS
    )
    timestamp_ns = parse_time(fields[places["timestamp_ns"]])
    price = parse_number(fields[places["price"]], "price")
    return TickRow(index, timestamp_ns, fields[places["symbol"]], price, bid, ask, size)


def parse_time(text: str) -> int:
    """Nanoseconds that fit the 64 bits of the records."""
    expected = "timestamp_ns as whole nanoseconds within 64 bits"
    if not INTEGER.fullmatch(text) or len(text) > 20:
        raise MalformedField(shown(text), expected)
    value = int(text)
    if not INT64_MIN <= value <= INT64_MAX:
        raise MalformedField(shown(text), expected)
    return value


def parse_number(text: str, name: str) -> float:
    """A number, NaN and infinities included: those are for ingest to refuse, with a reason code."""
    if not NUMBER.fullmatch(text):
        raise MalformedField(shown(text), f"{name} as a number")
    return float(text)


def shown(text: str) -> str:
    """Text as a report repeats it: quoted, printable, short."""
    cut = text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."
    return repr(cut.encode("utf-8", "backslashreplace").decode())
