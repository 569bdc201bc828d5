# SPDX-License-Identifier: MIT
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usp.io import failpoints
from usp.io.line_chain import split
from usp.io.line_log import LineLog, LineLogError, read_lines, rotated
from usp.io.telemetry_line import Gap, Source, TelemetryLine


@pytest.fixture(autouse=True)
def no_failpoint() -> Iterator[None]:
    """Every test leaves the process unarmed."""
    yield
    failpoints.install(failpoints.ignore)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is."""
    return tmp_path / "deep" / "parity.jsonl"


def line(offset: int, step: int | None = None, symbol: str = "X", partition: int = 0, **other: Any) -> TelemetryLine:
    """The record at this offset; logged in the order of offsets."""
    source = Source(partition, offset, 0, 1_000 + offset)
    fields = {"value": offset / 3, **other}
    return TelemetryLine(f"id{partition}-{offset}", symbol, offset if step is None else step, 1, source, fields)


def offsets(path: Path) -> list[int]:
    """Source offsets of the records in the file; gap and restart lines are left out."""
    return [each["source"]["offset"] for each in read_lines(path) if "record_id" in each]


def test_lines_end_with_their_source(path: Path):
    """One JSON object per line, numbers exact, the source last."""
    assert LineLog(path).append([line(0), line(1)]).written == 2
    text = path.read_text()
    named, body = split(text.splitlines()[1].encode())
    assert len(named) == 64
    assert body.decode() == (
        '{"record_id":"id0-1","symbol":"X","step":1,"value":0.3333333333333333,'
        '"source":{"partition":0,"offset":1,"row":0,"logged_ns":1001}}'
    )
    assert text.endswith("}\n")


def test_what_is_not_finite_is_still_json(path: Path):
    """NaN and infinities are named, in lists and maps too."""
    LineLog(path).append([line(0, numbers=[float("nan"), 1.0], deep={"x": float("-inf")})])
    (found,) = read_lines(path)
    assert found["numbers"] == ["NaN", 1.0]
    assert found["deep"] == {"x": "-Infinity"}


def test_what_comes_again_is_not_written_again(path: Path):
    """Not within one process, not after a restart, not under another offset with the same id."""
    log = LineLog(path)
    log.append([line(0), line(1), line(0)])
    again = line(9)._replace(record_id="id0-1", step=1)
    assert log.append([line(1), again]).repeated == 2
    assert LineLog(path).append([line(0), line(1), again, line(2)])[:2] == (1, 3)
    assert offsets(path) == [0, 1, 2]


def test_partitions_are_independent(path: Path):
    """Equal offsets of different partitions are different records."""
    LineLog(path).append([line(0, symbol="X"), line(0, symbol="Y", partition=1)])
    assert LineLog(path).append([line(0, symbol="Y", partition=1), line(1, symbol="Y", partition=1)])[:2] == (1, 1)


@pytest.mark.parametrize("garbage", [b'{"record_id":"id0-2","symb', b"\x00\xff", b'{"record_id":"id0-2"}'])
def test_a_torn_tail_is_cut_at_the_next_start(path: Path, garbage: bytes):
    """A line without its end never was; the record comes again from the topic."""
    LineLog(path).append([line(0), line(1)])
    whole = path.read_bytes()
    path.write_bytes(whole + garbage)
    LineLog(path).append([line(1), line(2)])
    assert path.read_bytes().startswith(whole)
    assert offsets(path) == [0, 1, 2]


def test_a_cut_at_any_length_loses_nothing(path: Path):
    """Wherever the machine stopped writing, the resumed log is the log that would have been."""
    lines = [line(n, step=n + (n > 1)) for n in range(3)]
    LineLog(path).append(lines)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        LineLog(path, fsync=False).append(lines)
        assert offsets(path) == [0, 1, 2]
        assert all(json.loads(text) for text in path.read_text().splitlines())


def test_missing_steps_leave_an_honest_line(path: Path):
    """Within a batch, between batches and across a restart; not for another symbol's first step."""
    log = LineLog(path)
    assert log.append([line(0, 5), line(1, 6), line(2, 9)]).gaps == (Gap("X", 6, 9),)
    assert LineLog(path).append([line(3, 12), line(4, 3, "Y")]).gaps == (Gap("X", 9, 12),)
    assert [each.get("gap") for each in read_lines(path)] == [
        None,
        None,
        {"symbol": "X", "after_step": 6, "before_step": 9},
        None,
        {"symbol": "X", "after_step": 9, "before_step": 12},
        None,
        None,
    ]


def test_steps_that_repeat_or_keep_their_stride_are_no_gap(path: Path):
    """A rejected tick repeats its step; with a wider interval steps come in strides."""
    lines = [line(n, step)._replace(stride=10) for n, step in enumerate((10, 10, 20, 30))]
    assert LineLog(path).append(lines).gaps == ()


def test_a_topic_that_was_made_anew_is_noticed(path: Path):
    """Low offsets with later stamps are new records, not old ones; the log says so and goes on."""
    LineLog(path).append([line(n) for n in range(5)])
    anew = [
        each._replace(source=each.source._replace(logged_ns=9_000 + each.source.offset)) for each in (line(0), line(1))
    ]
    log = LineLog(path)
    assert log.append(anew[:1])[:1] + log.append(anew)[:1] == (1, 1)
    assert offsets(path) == [0, 1, 2, 3, 4, 0, 1]
    assert next(each for each in read_lines(path) if "log_restarted" in each)["source"]["offset"] == 0
    assert LineLog(path).append(anew).repeated == 2


def test_full_files_get_numbers_in_order(path: Path):
    """Nothing is overwritten or lost; what the last full file holds is still known after a restart."""
    for n in range(20):
        assert LineLog(path, max_bytes=300).append([line(n - 1), line(n)] if n else [line(n)]).gaps == ()
    files = rotated(path)
    assert [number for number, _ in files] == list(range(1, len(files) + 1))
    assert len(files) > 3
    assert all(file.stat().st_size <= 300 for _, file in files)
    assert offsets(path) == list(range(20))


def append_many(path: Path, partition: int) -> None:
    """One of several sinks that share a file."""
    log = LineLog(path, fsync=False, max_bytes=5_000)
    for n in range(60):
        log.append([line(n, symbol=f"S{partition}", partition=partition)])


def test_several_processes_share_a_file(path: Path):
    """Each append is whole and once, also while the other one rotates."""
    code = (
        "import pathlib, runpy, sys; test, path, partition = sys.argv[1:];"
        "runpy.run_path(test)['append_many'](pathlib.Path(path), int(partition))"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code, __file__, path, str(partition)]) for partition in range(2)]
    assert [0, 0] == [worker.wait(60) for worker in workers]
    for partition in range(2):
        found = [each["source"]["offset"] for each in read_lines(path) if each["source"]["partition"] == partition]
        assert found == list(range(60))


@settings(max_examples=40, deadline=None)
@given(crashes=st.lists(st.integers(1, 6), max_size=5), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_whatever_crash_the_log_is_the_one_without_it(
    crashes: list[int], sizes: list[int], tmp_path_factory: pytest.TempPathFactory
):
    """Dying between write, sync and rotation: after the restart every line is there once, in order."""
    path = tmp_path_factory.mktemp("log") / "parity.jsonl"
    schedule, passed = iter(crashes), 0
    next_crash = next(schedule, 0)

    def planted(name: str) -> None:
        nonlocal passed, next_crash
        passed += 1
        if passed == next_crash:
            passed, next_crash = 0, next(schedule, 0)
            raise failpoints.Crash(name)

    failpoints.install(planted)
    log, first = LineLog(path, fsync=False, max_bytes=350), 0
    for size in sizes:
        batch = [line(n) for n in range(first, first + size)]
        while True:
            try:
                log.append(batch)
                break
            except failpoints.Crash:
                log = LineLog(path, fsync=False, max_bytes=350)
        first += size
    assert offsets(path) == list(range(first))
    assert [each for each in read_lines(path) if "gap" in each] == []


def test_a_folder_that_refuses_ends_with_a_clear_error(tmp_path: Path):
    """The process must stop: its input is safe in the topic."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LineLogError, match="the system refused"):
        LineLog(tmp_path / "file" / "parity.jsonl").append([line(0)])


def test_a_full_disk_takes_the_torn_line_back(tmp_path: Path):
    """After an error the file ends with a whole line, and the next append writes what was refused."""
    import resource

    path = tmp_path / "parity.jsonl"
    log = LineLog(path)
    log.append([line(0)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
    try:
        with pytest.raises(LineLogError):
            log.append([line(1)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_bytes().endswith(b"}\n")
    log.append([line(1)])
    assert offsets(path) == [0, 1]
