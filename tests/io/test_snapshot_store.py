# SPDX-License-Identifier: MIT
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_examples import DOCUMENT, HEADER
from usp.io import failpoints
from usp.io import snapshot_errors as errors
from usp.io.snapshot_files import HOUR_NS, SnapshotFile, expendable
from usp.io.snapshots import (
    Retention,
    Snapshot,
    SnapshotError,
    SnapshotHeader,
    SnapshotStore,
    StoredSnapshot,
    encode_snapshot,
    snapshot_id,
)

NOW_NS = 1_700_000_000_000_000_000
LOG = HEADER.log_id
PERSIST_POINTS = [name for name in failpoints.NAMES if name.startswith("snapshot.") and "aside" not in name]


@pytest.fixture(autouse=True)
def no_failpoint() -> Iterator[None]:
    """Every test leaves the process unarmed."""
    yield
    failpoints.install(failpoints.ignore)


def put(store: SnapshotStore, next_offset: int, **other: object) -> StoredSnapshot:
    """A snapshot of this position in the store."""
    header: SnapshotHeader = replace(HEADER, next_offset=next_offset, step=next_offset, **other)  # pyright: ignore
    data = encode_snapshot(header, DOCUMENT | {"at": next_offset})
    return store.persist(data, snapshot_id(data), NOW_NS)


def newest(store: SnapshotStore, at_most: int = 10**9, log_id: str = LOG) -> int | None:
    """Position of the newest snapshot that the store would give."""
    found: Snapshot | None = store.newest("orchestrator", 3, log_id, at_most)
    return None if found is None else found.header.next_offset


def test_what_is_persisted_is_found_again(tmp_path: Path):
    """The name carries stage, partition, offset, step and hash; the contents are those that were sent."""
    store = SnapshotStore(tmp_path)
    stored = put(store, 12)
    assert stored.path.name == (f"orchestrator_00003_{12:020d}_{12:020d}_{stored.snapshot_id[:16]}.snapshot")
    found = store.newest("orchestrator", 3, LOG, 12)
    assert found is not None
    assert found.snapshot_id == stored.snapshot_id
    assert found.document["at"] == 12
    assert [each.next_offset for each in store.files()] == [12]


def test_the_newest_not_ahead_of_the_commit_is_chosen(tmp_path: Path):
    """A snapshot ahead of the committed offset belongs to a transaction that never was."""
    store = SnapshotStore(tmp_path)
    for next_offset in (9, 100, 20, 7):
        put(store, next_offset)
    assert [newest(store, at_most) for at_most in (1000, 100, 99, 20, 19, 6)] == [100, 100, 20, 20, 9, None]


def test_snapshots_of_another_log_stage_or_partition_are_not_ours(tmp_path: Path):
    """A topic that was deleted and made again is another log, although its name is the same."""
    store = SnapshotStore(tmp_path)
    put(store, 5)
    put(store, 50, log_id="cluster-2/ticks.validated.v1")
    put(store, 60, stage="ingest")
    put(store, 70, partition=4)
    assert newest(store) == 5
    assert newest(store, log_id="cluster-2/ticks.validated.v1") == 50
    assert newest(store, log_id="nobody") is None


def test_a_reader_can_refuse_a_snapshot_by_its_header(tmp_path: Path):
    """The next older one that the reader can use is taken."""
    store = SnapshotStore(tmp_path)
    put(store, 5)
    put(store, 6, fingerprint="another build")
    found = store.newest("orchestrator", 3, LOG, 10, lambda header: header.fingerprint == HEADER.fingerprint)
    assert found is not None
    assert found.header.next_offset == 5


def test_bad_files_are_reported_and_the_next_older_is_taken(tmp_path: Path):
    """Damage costs replay time, never correctness, and is never silent; a reader renames nothing."""
    reports: list[tuple[str, str]] = []
    store = SnapshotStore(
        tmp_path,
        retention=Retention(99),
        report=lambda path, fault: reports.append((path.name, type(fault).__name__)),
    )
    put(store, 1)
    flipped, cut, swapped, empty = (put(store, n).path for n in (2, 3, 4, 5))
    flipped.write_bytes(flipped.read_bytes()[:-40] + b"\xff" + flipped.read_bytes()[-39:])
    cut.write_bytes(cut.read_bytes()[:-1])
    swapped.write_bytes((tmp_path / put(store, 6).path).read_bytes())
    for each in store.files():
        if each.next_offset == 6:
            each.path.unlink()
    empty.write_bytes(b"")
    assert newest(store) == 1
    assert reports == [
        (empty.name, "SnapshotTruncated"),
        (swapped.name, "SnapshotMalformed"),
        (cut.name, "SnapshotTruncated"),
        (flipped.name, "DigestMismatch"),
    ]
    assert all(path.exists() for path in (flipped, cut, swapped, empty))


def test_nothing_is_found_where_nothing_is(tmp_path: Path):
    """No folder, an empty one, or one with other things in it: a cold start, no error."""
    assert newest(SnapshotStore(tmp_path / "missing")) is None
    (tmp_path / "README").write_text("hello")
    (tmp_path / "orchestrator_x.snapshot").write_text("hello")
    assert newest(SnapshotStore(tmp_path)) is None


def test_persisting_twice_changes_nothing(tmp_path: Path):
    """The effect may run again after a crash."""
    store = SnapshotStore(tmp_path)
    first = put(store, 5)
    before = first.path.stat().st_mtime_ns
    assert put(store, 5) == first
    assert first.path.stat().st_mtime_ns == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_half_written_file_under_the_same_name_is_replaced(tmp_path: Path):
    """What another program left there does not stop the good one."""
    store = SnapshotStore(tmp_path)
    stored = put(store, 5)
    stored.path.write_bytes(b"torn")
    put(store, 5)
    assert newest(store) == 5


def test_bytes_that_are_not_what_was_announced_never_reach_the_disk(tmp_path: Path):
    """Verified before it is written."""
    store = SnapshotStore(tmp_path)
    data = encode_snapshot(HEADER, DOCUMENT)
    with pytest.raises(errors.DigestMismatch):
        store.persist(data, "00" * 32, NOW_NS)
    with pytest.raises(SnapshotError):
        store.persist(data[:-1], snapshot_id(data[:-1]), NOW_NS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["../../etc", "a/b", "", "A", ".hidden", "x" * 65, "a\0b"])
def test_a_stage_name_cannot_lead_out_of_the_folder(tmp_path: Path, stage: str):
    """Names come from the log; they are not trusted."""
    folder = tmp_path / "inner"
    store = SnapshotStore(folder)
    data = encode_snapshot(replace(HEADER, stage=stage), DOCUMENT)
    with pytest.raises(errors.UnsafeSnapshotName):
        store.persist(data, snapshot_id(data), NOW_NS)
    with pytest.raises(errors.UnsafeSnapshotName):
        store.newest(stage, 0, LOG, 1)
    assert list(tmp_path.iterdir()) == []


def test_twice_the_size_must_be_free(tmp_path: Path):
    """A disk that fills up is noticed before it is full, and says how much is missing."""
    size = len(encode_snapshot(replace(HEADER, next_offset=1, step=1), DOCUMENT | {"at": 1}))
    with pytest.raises(errors.InsufficientStorage, match=f"found {2 * size - 1} free bytes, expected {2 * size}"):
        put(SnapshotStore(tmp_path, free_bytes=lambda folder: 2 * size - 1), 1)
    assert list(tmp_path.iterdir()) == []
    put(SnapshotStore(tmp_path, free_bytes=lambda folder: 2 * size), 1)


def test_a_folder_that_refuses_is_said_clearly(tmp_path: Path):
    """A file where the folder should be: an error of the store, nothing else."""
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.SnapshotWriteFailed, match="the system refused"):
        put(SnapshotStore(tmp_path / "file"), 1)


def file_of(number: int, written_ns: int, pinned: bool = False) -> SnapshotFile:
    """A file as the retention sees it."""
    return SnapshotFile(Path(str(number)), "s", 0, number, number, "0" * 16, written_ns, 1, pinned)


def test_the_newest_few_one_per_hour_and_the_pinned_are_kept():
    """Older files go, each hour's newest stays for a day, pins stay for ever."""
    files = [file_of(n, NOW_NS - n * HOUR_NS // 4) for n in range(40)]
    files[37] = file_of(37, files[37].written_ns, pinned=True)
    gone = {each.next_offset for each in expendable(files, Retention(keep_last=3, keep_hourly=3), NOW_NS)}
    hours: dict[int, int] = {}
    for each in files:
        hours.setdefault(each.written_ns // HOUR_NS, each.next_offset)
    newest_of_hours = {hours[NOW_NS // HOUR_NS - back] for back in range(3)}
    assert set(range(40)) - gone == {0, 1, 2, 37} | newest_of_hours


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 200)), unique=True), st.integers(1, 9), st.integers(0, 9))
def test_the_file_written_last_is_never_expendable(ages: list[tuple[int, int]], last: int, hours: int):
    """Whatever the rule, something can be restored."""
    files = [file_of(number, NOW_NS - age * HOUR_NS // 10) for number, age in ages]
    gone = expendable(files, Retention(last, hours), NOW_NS)
    assert len(files) - len(gone) >= min(last, len(files))
    if files:
        assert max(files, key=lambda each: (each.written_ns, each.position)) not in gone


def test_a_new_log_does_not_lose_its_snapshots_to_an_old_one(tmp_path: Path):
    """Offsets begin again after a topic was made anew; what was written last counts as newest."""
    store = SnapshotStore(tmp_path, retention=Retention(2, 0))
    for n, written in ((1000, 1), (2000, 2), (3000, 3)):
        os.utime(put(store, n, log_id="old").path, ns=(written, written))
    put(store, 5)
    put(store, 6)
    assert sorted(each.next_offset for each in store.files()) == [5, 6]


def test_pins_are_kept_and_can_be_taken_back(tmp_path: Path):
    """A pinned snapshot outlives the retention."""
    store = SnapshotStore(tmp_path, retention=Retention(1, 0))
    first = put(store, 1).path
    store.pin(first.name)
    os.utime(first, ns=(1, 1))
    os.utime(put(store, 2).path, ns=(2, 2))
    os.utime(put(store, 3).path, ns=(3, 3))
    assert [each.next_offset for each in store.files()] == [1, 3]
    store.unpin(first.name)
    put(store, 4)
    assert [each.next_offset for each in store.files()] == [4]
    for name in ("../x", "/etc/passwd", "orchestrator.snapshot", str(first)):
        with pytest.raises(errors.UnsafeSnapshotName):
            store.pin(name)


def test_scrubbing_sets_broken_files_aside_and_clears_leftovers(tmp_path: Path):
    """Corrupt files are renamed, not deleted; those of another format stay; old temporary files go, young ones not."""
    store = SnapshotStore(tmp_path)
    good, bad, future = put(store, 1).path, put(store, 2).path, put(store, 3).path
    bad.write_bytes(bad.read_bytes()[:-1])
    contents = bytearray(future.read_bytes())
    contents[8] = 2
    future.write_bytes(contents)
    old, young = tmp_path / f"{good.name}.abc.tmp", tmp_path / f"{good.name}.def.tmp"
    for leftover, written in ((old, NOW_NS - HOUR_NS), (young, NOW_NS)):
        leftover.write_bytes(b"")
        os.utime(leftover, ns=(written, written))
    broken = store.scrub(NOW_NS)
    assert [each.path for each in broken] == [bad.with_name(bad.name + ".broken")]
    assert "found" in broken[0].reason
    assert {path.name for path in tmp_path.iterdir()} == {good.name, future.name, young.name, broken[0].path.name}
    assert store.scrub(NOW_NS) == []


@pytest.mark.parametrize("name", PERSIST_POINTS)
def test_a_crash_between_any_two_steps_leaves_old_or_new(tmp_path: Path, name: str):
    """Wherever the process dies, the folder holds the old snapshot or the new one, whole; the next write repairs it."""
    store = SnapshotStore(tmp_path, retention=Retention(1, 0))
    os.utime(put(store, 1).path, ns=(1, 1))
    failpoints.configure(f"{name}:raise")
    with pytest.raises(failpoints.Crash):
        put(store, 2)
    failpoints.install(failpoints.ignore)
    reports: list[Path] = []
    restarted = SnapshotStore(tmp_path, retention=Retention(1, 0), report=lambda path, fault: reports.append(path))
    assert newest(restarted) in (1, 2)
    assert reports == []
    put(restarted, 2)
    restarted.scrub(2**62)
    assert [path.name for path in tmp_path.iterdir()] == [restarted.files()[0].path.name]
    assert newest(restarted) == 2


CHILD = """
import sys
from pathlib import Path
from usp.io import failpoints
from usp.io.snapshots import SnapshotStore, snapshot_id
data = Path(sys.argv[2]).read_bytes()
failpoints.configure(sys.argv[3])
SnapshotStore(Path(sys.argv[1])).persist(data, snapshot_id(data), 0)
"""


@pytest.mark.parametrize(("action", "code"), [("kill", -signal.SIGKILL), ("exit", failpoints.EXIT_CODE)])
def test_a_killed_process_leaves_no_part_of_a_snapshot(tmp_path: Path, action: str, code: int):
    """SIGKILL between write and rename: readers see nothing, the temporary file is no snapshot."""
    data = tmp_path / "data"
    data.write_bytes(encode_snapshot(HEADER, DOCUMENT))
    folder = tmp_path / "store"
    arguments = [sys.executable, "-c", CHILD, str(folder), str(data), f"snapshot.after_fsync:{action}"]
    assert subprocess.run(arguments, check=False).returncode == code
    assert [path.suffix for path in folder.iterdir()] == [".tmp"]
    assert newest(SnapshotStore(folder)) is None
