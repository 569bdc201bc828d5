# SPDX-License-Identifier: MIT
"""The prices that ship with the package are the ones that their provenance describes."""

import hashlib
import itertools
import math
import re

import pytest

from usp.io.bundled_data import BUNDLED_SERIES, DATA, bundled_file
from usp.io.tick_files import TickRow, read_ticks

PROVENANCE_ROW = re.compile(r"^\| (\S+\.csv) \| (\w+) \| (\d+) \|.*\| ([0-9a-f]{64}) \|$", re.MULTILINE)


def provenance() -> dict[str, tuple[str, int, str]]:
    """Symbol to file, rows and sha256, as PROVENANCE.md states them."""
    text = (DATA / "PROVENANCE.md").read_text(encoding="utf-8")
    return {symbol: (file, int(rows), digest) for file, symbol, rows, digest in PROVENANCE_ROW.findall(text)}


def series(symbol: str) -> list[TickRow]:
    """All rows of a bundled file, which must be well-formed."""
    rows = list(read_ticks(bundled_file(symbol)))
    assert all(isinstance(row, TickRow) for row in rows)
    return [row for row in rows if isinstance(row, TickRow)]


@pytest.mark.parametrize("symbol", BUNDLED_SERIES)
def test_each_file_is_the_one_in_its_provenance(symbol: str) -> None:
    """Name, number of rows and sha256 agree with PROVENANCE.md."""
    file, rows, digest = provenance()[symbol]
    content = bundled_file(symbol).read_bytes()
    assert BUNDLED_SERIES[symbol] == file
    assert hashlib.sha256(content).hexdigest() == digest
    assert len(series(symbol)) == rows
    assert content.startswith(b"timestamp_ns,symbol,price\n") and b"\r" not in content


def test_the_provenance_names_no_other_file() -> None:
    """Provenance, table of series and folder list the same files."""
    listed = sorted(file for file, _, _ in provenance().values())
    assert listed == sorted(BUNDLED_SERIES.values())
    assert listed == sorted(entry.name for entry in DATA.iterdir() if entry.name.endswith(".csv"))


@pytest.mark.parametrize(
    ("symbol", "rows", "first", "last"),
    [
        ("EURUSD", 6225, (1_483_311_600_000_000_000, 1.05227), (1_514_584_800_000_000_000, 1.20075)),
        ("SP500", 5031, (915_408_000_000_000_000, 1228.1), (1_546_214_400_000_000_000, 2506.85)),
    ],
)
def test_the_series_are_whole_and_in_order(
    symbol: str, rows: int, first: tuple[int, float], last: tuple[int, float]
) -> None:
    """The bundled series begin and end where the sources do; times rise, prices are positive numbers."""
    ticks = series(symbol)
    assert len(ticks) == rows
    assert (ticks[0].timestamp_ns, ticks[0].price) == first
    assert (ticks[-1].timestamp_ns, ticks[-1].price) == last
    assert {tick.symbol for tick in ticks} == {symbol}
    assert all(earlier.timestamp_ns < later.timestamp_ns for earlier, later in itertools.pairwise(ticks))
    assert all(math.isfinite(tick.price) and tick.price > 0 for tick in ticks)


@pytest.mark.parametrize(
    ("file", "notices"),
    [
        (
            "gym-anytrading-2.0.0.txt",
            ["MIT License", "Copyright (c) 2019 Mohammad Amin Haghpanah", "permission notice shall be included"],
        ),
        (
            "arch-8.0.0.md",
            ["Copyright (c) 2017 Kevin Sheppard", "Redistributions in binary form", "Neither the names of"],
        ),
    ],
)
def test_the_licences_that_the_sources_ask_for_ship_too(file: str, notices: list[str]) -> None:
    """Copyright, permission and disclaimer of both sources lie beside the data and are named in the provenance."""
    text = " ".join((DATA / "licences" / file).read_text(encoding="utf-8").split())
    assert all(notice in text for notice in [*notices, 'THE SOFTWARE IS PROVIDED "AS IS"'])
    assert f"licences/{file}" in (DATA / "PROVENANCE.md").read_text(encoding="utf-8")


def test_an_unknown_series_is_refused_with_the_ones_there_are() -> None:
    """A wrong name is answered with the right ones."""
    with pytest.raises(KeyError, match=r"bundled series was 'GBPUSD', expected one of \['EURUSD', 'SP500'\]"):
        bundled_file("GBPUSD")
