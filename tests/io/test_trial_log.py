# SPDX-License-Identifier: MIT
"""The trials of a search as plain lines: durable, resumable, and refused where they are another search's."""

from pathlib import Path

import pytest

from usp.io.file_lock import LockBusy
from usp.io.trial_log import TrialLogError, opened

HEADER = {"tier": "fast", "space": [["a", 0.0, 1.0]]}
BATCHES = [{"first": 0, "value": 0.1 + 0.2}, {"first": 8, "value": 5e-324}]


def written(path: Path) -> None:
    """A log with two batches."""
    with opened(path, HEADER, resume=False) as log:
        for batch in BATCHES:
            log.append(batch)


def test_batches_come_back_bit_for_bit(tmp_path: Path) -> None:
    """What was appended is there after a restart, floats exact."""
    path = tmp_path / "tuning" / "a.jsonl"
    written(path)
    with opened(path, HEADER, resume=True) as log:
        assert log.batches == BATCHES


def test_a_torn_line_is_cut_at_every_length(tmp_path: Path) -> None:
    """Whatever part of the last line a crash left, the whole lines before it are found and the log goes on."""
    path = tmp_path / "a.jsonl"
    written(path)
    data = path.read_bytes()
    start = data[:-1].rfind(b"\n") + 1
    for length in range(start, len(data)):
        path.write_bytes(data[:length])
        with opened(path, HEADER, resume=True) as log:
            assert log.batches == BATCHES[:1]
            log.append(BATCHES[1])
        assert path.read_bytes() == data


def test_another_search_is_refused(tmp_path: Path) -> None:
    """A file whose first line differs is not gone on with; the message names what differs."""
    path = tmp_path / "a.jsonl"
    written(path)
    with (
        pytest.raises(TrialLogError, match=r"tier 'fast'.*expected tier 'deep'"),
        opened(path, HEADER | {"tier": "deep"}, resume=True),
    ):
        pass


def test_an_earlier_search_is_never_overwritten(tmp_path: Path) -> None:
    """Without `resume` a file that holds trials is left alone."""
    path = tmp_path / "a.jsonl"
    written(path)
    before = path.read_bytes()
    with pytest.raises(TrialLogError, match="--resume"), opened(path, HEADER, resume=False):
        pass
    assert path.read_bytes() == before


@pytest.mark.parametrize("line", [b"\x80\x04pickle\n", b"[1]\n", b"{\n", b"[" * 100_000 + b"\n"])
def test_what_is_no_trial_log_is_refused(tmp_path: Path, line: bytes) -> None:
    """Lines that hold no object are told with their number; nothing in them is run."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(line)
    with pytest.raises(TrialLogError, match=r"a\.jsonl:1"), opened(path, HEADER, resume=True):
        pass


def test_one_search_at_a_time(tmp_path: Path) -> None:
    """A second process at the same file is refused at once."""
    path = tmp_path / "a.jsonl"
    with opened(path, HEADER, resume=False), pytest.raises(LockBusy), opened(path, HEADER, resume=True):
        pass
