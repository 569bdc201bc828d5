# SPDX-License-Identifier: MIT
from pathlib import Path

import pytest

from usp.io.line_chain import GENESIS, check_chain, split
from usp.io.line_log import LineLog, files_of, read_lines
from usp.io.telemetry_line import Source, TelemetryLine


def line(n: int) -> TelemetryLine:
    """The n-th step of a symbol."""
    return TelemetryLine(f"id{n}", "X", n, 1, Source(0, n, 0, 1_000 + n), {"weights": [0.5, 0.5], "name": "ä"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of ten lines, written by two processes."""
    path = tmp_path / "parity.jsonl"
    LineLog(path).append([line(n) for n in range(4)])
    LineLog(path).append([line(n) for n in range(2, 10)])
    return path


def test_an_untouched_log_has_no_break(path: Path):
    """Also over a restart; its last hash is the head."""
    report = check_chain(files_of(path))
    assert (report.lines, report.problems, report.torn_bytes) == (10, (), 0)
    assert report.head == split(path.read_bytes().splitlines()[-1])[0]


def test_any_changed_byte_is_found(path: Path):
    """Wherever it is, line ends included."""
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        report = check_chain(files_of(path))
        assert report.problems or report.torn_bytes, place


def test_lines_that_are_missing_added_or_moved_are_found(path: Path):
    """The place is told."""
    lines = path.read_bytes().splitlines(keepends=True)
    for tampered in (
        lines[:3] + lines[4:],
        lines[1:],
        [*lines[:5], lines[2], *lines[5:]],
        [lines[1], lines[0], *lines[2:]],
        [*lines[:5], b'{"step":1}\n', *lines[5:]],
    ):
        path.write_bytes(b"".join(tampered))
        assert check_chain(files_of(path)).problems
    path.write_bytes(b"".join(lines[:3] + lines[4:]))
    assert check_chain(files_of(path)).problems[0].startswith("parity.jsonl:4: found hash")


def test_a_torn_tail_is_no_break_and_the_next_line_goes_on(path: Path):
    """A crash while writing leaves half a line; the log is whole again after the next append."""
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"chain":"00')
    report = check_chain(files_of(path))
    assert (report.problems, report.torn_bytes) == ((), 12)
    LineLog(path).append([line(10)])
    report = check_chain(files_of(path))
    assert (report.lines, report.problems, report.torn_bytes) == (11, (), 0)


def test_the_chain_goes_through_all_files(tmp_path: Path):
    """Numbered files are one log; one that is gone from the middle is a break, at the start it is not."""
    path = tmp_path / "parity.jsonl"
    log = LineLog(path, max_bytes=600)
    for n in range(12):
        log.append([line(n)])
    files = files_of(path)
    assert len(files) > 4
    assert check_chain(files).problems == ()
    assert check_chain(files[1:]).problems == ()
    assert check_chain(files[:1] + files[2:]).problems != ()


def test_a_log_from_before_the_chain_is_continued_and_covered(path: Path):
    """Lines without a hash are problems, and those behind them are linked to them all the same."""
    old = b'{"record_id":"a","symbol":"Y","step":1,"source":{"partition":1,"offset":0,"row":0,"logged_ns":1}}\n'
    path.write_bytes(old)
    LineLog(path).append([line(0), line(1)])
    report = check_chain(files_of(path))
    assert len(report.problems) == 1
    path.write_bytes(path.read_bytes().replace(b'"symbol":"Y"', b'"symbol":"Z"'))
    assert len(check_chain(files_of(path)).problems) == 2


def test_readers_do_not_see_the_hash(path: Path):
    """It belongs to the log, not to the record."""
    assert all("chain" not in each for each in read_lines(path))
    assert check_chain([]).head == GENESIS
