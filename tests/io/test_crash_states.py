# SPDX-License-Identifier: MIT
"""What a power loss may leave of one save: every prefix of its system calls, each with every loss that is legal.

Bytes that were not fsynced may be there in part, not at all, or as zeros; names that were made, moved or removed since
the folder's last fsync may each be there or not (POSIX promises no more; Pillai et al., "All File Systems Are Not
Created Equal", OSDI 2014). Each such folder is built and loaded.
"""

import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, combinations, product
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from snapshot_examples import DOCUMENT, HEADER
from usp.io.snapshots import Retention, SnapshotStore, encode_snapshot, snapshot_id

OLD, NEW = 1, 2
NOW_NS = 1_700_000_000_000_000_000
NAMING = ("create", "rename", "unlink")


def put(store: SnapshotStore, next_offset: int) -> Path:
    """A snapshot of this position in the store."""
    data = encode_snapshot(replace(HEADER, next_offset=next_offset, step=next_offset), DOCUMENT)
    return store.persist(data, snapshot_id(data), NOW_NS).path


class Call(NamedTuple):
    """One system call of a save: on which name, with which bytes or other name."""

    kind: str
    name: str
    what: Any = None


def recorded(patch: pytest.MonkeyPatch, folder: Path, fsync: bool) -> list[Call]:
    """The calls by which the store writes a second snapshot and drops the first."""
    store = SnapshotStore(folder, retention=Retention(1, 0), fsync=fsync)
    os.utime(put(store, OLD), ns=(1, 1))
    calls: list[Call] = []
    names: dict[int, str] = {}
    make, write, sync, move, drop = tempfile.mkstemp, os.write, os.fsync, os.replace, os.unlink

    def mkstemp(**options: Any) -> tuple[int, str]:
        handle, path = make(**options)
        names[handle] = Path(path).name
        calls.append(Call("create", names[handle]))
        return handle, path

    def writing(handle: int, data: Any) -> int:
        calls.append(Call("write", names[handle], bytes(data)))
        return write(handle, data)

    def syncing(handle: int) -> None:
        is_file = stat.S_ISREG(os.fstat(handle).st_mode)
        calls.append(Call("fsync", names[handle]) if is_file else Call("fsync folder", ""))
        sync(handle)

    def moving(source: Any, target: Any) -> None:
        calls.append(Call("rename", Path(source).name, Path(target).name))
        move(source, target)

    def dropping(path: Any, **options: Any) -> None:
        calls.append(Call("unlink", Path(path).name))
        drop(path, **options)

    with patch.context() as while_saving:
        while_saving.setattr(tempfile, "mkstemp", mkstemp)
        for name, watched in (("write", writing), ("fsync", syncing), ("replace", moving), ("unlink", dropping)):
            while_saving.setattr(os, name, watched)
        put(store, NEW)
    return calls


def states(before: Mapping[str, bytes], calls: list[Call]) -> Iterator[dict[str, bytes]]:
    """Every folder that a power loss during these calls may leave."""
    for count in range(len(calls) + 1):
        done = calls[:count]
        folder_synced = max((n for n, call in enumerate(done) if call.kind == "fsync folder"), default=-1)
        sure = [n for n, call in enumerate(done) if call.kind in NAMING and n < folder_synced]
        open_ones = [n for n, call in enumerate(done) if call.kind in NAMING and n > folder_synced]
        subsets = chain.from_iterable(combinations(open_ones, size) for size in range(len(open_ones) + 1))
        for kept, content in product(list(subsets), contents(done)):
            yield left(before, done, {*sure, *kept}, content)


def contents(done: list[Call]) -> list[bytes]:
    """What the new file may hold."""
    written = b"".join(call.what for call in done if call.kind == "write")
    synced = any(call.kind == "fsync" for call in done)
    return [written] if synced else [b"", written[: len(written) // 2], written, bytes(len(written))]


def left(before: Mapping[str, bytes], done: list[Call], kept: set[int], content: bytes) -> dict[str, bytes]:
    """The folder with these of the changes of names; a name that moved is made, too."""
    found = dict(before)
    for n, call in enumerate(done):
        if n not in kept:
            continue
        if call.kind == "unlink":
            found.pop(call.name, None)
        else:
            found.pop(call.name, None)
            found[call.what or call.name] = content
    return found


def loaded(folder: Path, files: Mapping[str, bytes]) -> tuple[int | None, int]:
    """Which snapshot a start would find in such a folder, and how many files it had to refuse."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    refused: list[Path] = []
    store = SnapshotStore(folder, retention=Retention(1, 0), report=lambda path, fault: refused.append(path))
    found = store.newest(HEADER.stage, HEADER.partition, HEADER.log_id, NEW)
    return None if found is None else found.header.next_offset, len(refused)


def outcomes(patch: pytest.MonkeyPatch, tmp_path: Path, fsync: bool) -> set[tuple[int | None, int]]:
    """What a start finds after every possible loss."""
    reference = tmp_path / "before"
    path = put(SnapshotStore(reference), OLD)
    calls = recorded(patch, tmp_path / "saved", fsync)
    assert [call.kind for call in calls if call.kind in NAMING] == ["create", "rename", "unlink"]
    legal = states({path.name: path.read_bytes()}, calls)
    return {loaded(tmp_path / f"state{n}", files) for n, files in enumerate(legal)}


def test_every_legal_state_holds_the_old_snapshot_or_the_new(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whole, and nothing has to be refused."""
    assert outcomes(monkeypatch, tmp_path, fsync=True) == {(OLD, 0), (NEW, 0)}


def test_without_fsync_a_state_is_found_that_lost_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The check can fail; and what is torn is refused even then, never loaded."""
    found = outcomes(monkeypatch, tmp_path, fsync=False)
    assert (None, 0) in found
    assert (None, 1) in found
    assert {at for at, _ in found} == {None, OLD, NEW}
