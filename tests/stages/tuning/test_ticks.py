# SPDX-License-Identifier: MIT
"""Recorded ticks for the tuner: through ingest, newest rows held out, bad files told."""

from pathlib import Path

import numpy as np
import pytest

from usp.config.model import packaged_defaults
from usp.io.tick_files import TickFileError
from usp.predictor import Inputs
from usp.predictor.tuning import TooFewRows
from usp.stages.tuning.ticks import HELD_OUT, digest, newest, series_of, ticks_of_file, walks_of

CONFIG = packaged_defaults()


def tick_file(path: Path, rows: int, symbols: tuple[str, ...] = ("A",), extra: str = "") -> Path:
    """A file of random walks, one tick per second."""
    prices = 100 + np.cumsum(np.random.default_rng(5).standard_normal((rows, len(symbols))), axis=0) * 0.1
    lines = [
        f"{1_700_000_000_000_000_000 + row * 1_000_000_000},{symbol},{prices[row, place]:.4f}"
        for row in range(rows)
        for place, symbol in enumerate(symbols)
    ]
    path.write_text("timestamp_ns,symbol,price\n" + "\n".join(lines) + "\n" + extra)
    return path


def test_what_ingest_refuses_is_left_out_and_counted(tmp_path: Path) -> None:
    """Malformed rows, impossible prices and repeats teach nothing; everything else comes in order."""
    bad = "x,A,1\n1700000000000000000,A,100.0\n1800000000000000000,A,nan\n"
    ticks, refused = ticks_of_file(tick_file(tmp_path / "a.csv", 50, extra=bad), CONFIG)
    assert (len(ticks), refused) == (50, 3)
    series = series_of(ticks)[0]
    assert series.inputs[:, Inputs.PRICE].tolist() == [tick.price for tick in ticks]
    assert np.all(np.diff(series.inputs[:, Inputs.TIME_S]) == 1.0)


def test_the_newest_rows_are_not_searched(tmp_path: Path) -> None:
    """No fold touches the rows that confirm the outcome, and those are tested on the rows after all folds."""
    ticks, _ = ticks_of_file(tick_file(tmp_path / "a.csv", 600, ("A", "B")), CONFIG)
    walk = walks_of(series_of(ticks), CONFIG)
    assert len(walk.searched) == 2 * CONFIG.meta_optimization.n_folds
    assert {series.symbol for series, _ in walk.held_out} == {"A", "B"}
    end = max(split.stop for _, split in walk.searched)
    assert end == 600 - int(600 * HELD_OUT)
    assert all((split.test, split.stop) == (end, 600) and split.start > 0 for _, split in walk.held_out)


def test_a_symbol_with_too_few_ticks_is_told(tmp_path: Path) -> None:
    """The others are tuned on; with none left there is nothing to do, and the message says what is needed."""
    ticks, _ = ticks_of_file(tick_file(tmp_path / "a.csv", 600, ("A", "B")), CONFIG)
    few = [tick for tick in ticks if tick.symbol == "A"] + [tick for tick in ticks if tick.symbol == "B"][:100]
    walk = walks_of(series_of(few), CONFIG)
    assert "at least 334" in walk.left_out["B"]
    with pytest.raises(TooFewRows, match="B: found 85 rows"):
        walks_of(series_of([tick for tick in few if tick.symbol == "B"]), CONFIG)
    with pytest.raises(TooFewRows, match="no tick at all"):
        walks_of([], CONFIG)


def test_only_the_newest_ticks_are_taken(tmp_path: Path) -> None:
    """So many of each symbol, in their order."""
    ticks, _ = ticks_of_file(tick_file(tmp_path / "a.csv", 60, ("A", "B")), CONFIG)
    assert newest(ticks, 10) == ticks[-20:]
    assert newest(ticks, 1000) == ticks


def test_one_other_price_is_another_record(tmp_path: Path) -> None:
    """A search is never resumed on other ticks."""
    ticks, _ = ticks_of_file(tick_file(tmp_path / "a.csv", 60), CONFIG)
    first, other = series_of(ticks), series_of(ticks)
    assert digest(first) == digest(other)
    other[0].inputs[30, Inputs.PRICE] += 1e-9
    assert digest(first) != digest(other)


def test_a_file_that_is_no_tick_file_is_told(tmp_path: Path) -> None:
    """The header names what is missing."""
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(TickFileError, match="no timestamp_ns"):
        ticks_of_file(path, CONFIG)
