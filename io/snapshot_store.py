# SPDX-License-Identifier: MIT
"""A folder of snapshots. Files appear whole or not at all; only whole ones are ever loaded.

The snapshotter alone calls what writes: `persist`, `scrub`, `set_aside`, `pin`. All stages may call `newest`.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import structlog

from .atomic_file import remove_leftovers, sync_folder, write_atomically
from .failpoints import failpoint
from .snapshot_errors import (
    DigestMismatch,
    InsufficientStorage,
    SnapshotCorrupt,
    SnapshotError,
    SnapshotMalformed,
    SnapshotWriteFailed,
    UnsafeSnapshotName,
)
from .snapshot_files import (
    BROKEN_SUFFIX,
    PIN_SUFFIX,
    SUFFIX,
    Retention,
    SnapshotFile,
    check_stage,
    expendable,
    file_name,
    listed,
    read_name,
)
from .snapshot_format import DEFAULT_LIMITS, Snapshot, SnapshotHeader, SnapshotLimits, decode, peek, verify

FREE_SPACE_FACTOR = 2
PEEK_BYTES = 64 * 1024
DEFAULT_RETENTION = Retention()
LEFTOVER_AGE_NS = 600_000_000_000

Report = Callable[[Path, SnapshotError], None]


class StoredSnapshot(NamedTuple):
    """A snapshot that is safe on disk."""

    path: Path
    snapshot_id: str
    header: SnapshotHeader


class Broken(NamedTuple):
    """A file that was set aside, and why."""

    path: Path
    reason: str


def log_refusal(path: Path, fault: SnapshotError) -> None:
    """An integrity failure is never silent."""
    structlog.get_logger().critical("snapshot refused", path=str(path), kind=type(fault).__name__, reason=str(fault))


def free_bytes(folder: Path) -> int:
    """Room on the file system."""
    return shutil.disk_usage(folder).free


class SnapshotStore:
    """Snapshots of all stages and partitions in one folder.

    `report` hears of every file that a search had to pass over. `free_bytes` tells the room left.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fsync: bool = True,
        retention: Retention = DEFAULT_RETENTION,
        limits: SnapshotLimits = DEFAULT_LIMITS,
        report: Report = log_refusal,
        free_bytes: Callable[[Path], int] = free_bytes,
    ) -> None:
        self.folder = folder
        self.fsync = fsync
        self.retention = retention
        self.limits = limits
        self.report = report
        self.free_bytes = free_bytes

    def persist(self, data: bytes, snapshot_id: str, now_ns: int) -> StoredSnapshot:
        """Write a verified snapshot under its name, then drop what the retention no longer keeps.

        Repeating it changes nothing. DigestMismatch if the bytes have another id than the sender said;
        InsufficientStorage and SnapshotWriteFailed leave the folder as it was.
        """
        verified = verify(data, self.limits, f"snapshot {snapshot_id[:16]} on its way to disk")
        if verified.snapshot_id != snapshot_id:
            raise DigestMismatch(f"found the snapshot {verified.snapshot_id}, expected {snapshot_id}")
        path = self.folder / file_name(verified.header, snapshot_id)
        try:
            self.write(path, data)
            self.prune(verified.header.stage, verified.header.partition, path, now_ns)
        except OSError as fault:
            raise SnapshotWriteFailed(f"{path}: the system refused: {fault}; check permissions and the disk") from fault
        return StoredSnapshot(path, snapshot_id, verified.header)

    def write(self, path: Path, data: bytes) -> None:
        """Atomically, and only where twice the size is free."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_bytes() == data:
            return
        free = self.free_bytes(self.folder)
        if free < FREE_SPACE_FACTOR * len(data):
            raise InsufficientStorage(
                f"{self.folder}: found {free} free bytes, expected {FREE_SPACE_FACTOR * len(data)}"
                f" for a snapshot of {len(data)}; free some space"
            )
        failpoint("snapshot.before_temp")
        write_atomically(path, data, fsync=self.fsync, reached=lambda step: failpoint(f"snapshot.{step}"))

    def prune(self, stage: str, partition: int, written: Path, now_ns: int) -> None:
        """Remove what the retention no longer keeps; never what was just written."""
        for each in expendable(listed(self.folder, stage, partition), self.retention, now_ns):
            if each.path != written:
                failpoint("snapshot.before_prune")
                each.path.unlink(missing_ok=True)

    def newest(
        self,
        stage: str,
        partition: int,
        log_id: str,
        at_most_offset: int,
        usable: Callable[[SnapshotHeader], bool] = lambda header: True,
    ) -> Snapshot | None:
        """The newest valid snapshot of this log with `next_offset <= at_most_offset`; None if there is none.

        Files of other logs and those that are not `usable` are passed over; bad ones are reported and passed over.
        """

        def fits(header: SnapshotHeader) -> bool:
            owner = (header.stage, header.partition, header.log_id)
            return owner == (stage, partition, log_id) and header.next_offset <= at_most_offset and usable(header)

        check_stage(stage)
        files = [each for each in listed(self.folder, stage, partition) if each.next_offset <= at_most_offset]
        for each in sorted(files, key=lambda file: file.position, reverse=True):
            snapshot = self.load_if(each, fits)
            if snapshot is not None:
                return snapshot
        return None

    def load_if(self, file: SnapshotFile, fits: Callable[[SnapshotHeader], bool]) -> Snapshot | None:
        """The file's snapshot if its proven header fits."""
        try:
            if not self.may_fit(file.path, fits):
                return None
            snapshot = decode(file.path.read_bytes(), self.limits, str(file.path))
            check_name(file, snapshot.header, snapshot.snapshot_id)
            return snapshot if fits(snapshot.header) else None
        except FileNotFoundError:
            return None
        except SnapshotError as fault:
            self.report(file.path, fault)
        except OSError as fault:
            self.report(file.path, SnapshotError(f"{file.path}: cannot be read: {fault}"))
        return None

    def may_fit(self, path: Path, fits: Callable[[SnapshotHeader], bool]) -> bool:
        """A look at the unproven header, to spare reading what is of no use; when in doubt, read."""
        with path.open("rb") as file:
            start = file.read(PEEK_BYTES)
        try:
            return fits(peek(start, self.limits, str(path)))
        except SnapshotError:
            return True

    def files(self, stage: str | None = None, partition: int | None = None) -> list[SnapshotFile]:
        """What is there by name, oldest position first; nothing is read."""
        return sorted(
            listed(self.folder, stage, partition), key=lambda file: (file.stage, file.partition, file.position)
        )

    def broken(self) -> list[Path]:
        """The files that were set aside."""
        return sorted(self.folder.glob(f"*{SUFFIX}{BROKEN_SUFFIX}"))

    def scrub(self, now_ns: int) -> list[Broken]:
        """Set broken files aside and remove what crashes left; looks at the newest `keep_last` of each owner."""
        remove_leftovers(self.folder, SUFFIX, now_ns - LEFTOVER_AGE_NS)
        return [
            Broken(self.set_aside(each.path), str(fault))
            for each, fault in self.checked()
            if isinstance(fault, SnapshotCorrupt)
        ]

    def checked(self) -> Iterator[tuple[SnapshotFile, SnapshotError | None]]:
        """The newest files of each owner, and what is wrong with them."""
        owners: dict[tuple[str, int], list[SnapshotFile]] = {}
        for each in self.files():
            owners.setdefault((each.stage, each.partition), []).append(each)
        for files in owners.values():
            for each in files[-self.retention.keep_last :]:
                yield each, self.fault_of(each)

    def fault_of(self, file: SnapshotFile) -> SnapshotError | None:
        """Why a file would be refused; None if it is good, or gone."""
        try:
            verified = verify(file.path.read_bytes(), self.limits, str(file.path))
            check_name(file, verified.header, verified.snapshot_id)
        except FileNotFoundError:
            return None
        except SnapshotError as fault:
            return fault
        except OSError as fault:
            return SnapshotError(f"{file.path}: cannot be read: {fault}")
        return None

    def set_aside(self, path: Path) -> Path:
        """Rename a broken file, so that nobody tries it again and somebody can look at it."""
        target = path.with_name(path.name + BROKEN_SUFFIX)
        path.replace(target)
        sync_folder(self.folder)
        failpoint("snapshot.after_set_aside")
        return target

    def pin(self, name: str) -> None:
        """Keep a snapshot until it is unpinned."""
        self.named(name).path.with_name(name + PIN_SUFFIX).touch()

    def unpin(self, name: str) -> None:
        """Let the retention decide again."""
        self.named(name).path.with_name(name + PIN_SUFFIX).unlink(missing_ok=True)

    def named(self, name: str) -> SnapshotFile:
        """The snapshot of that file name; UnsafeSnapshotName if it is none of this folder."""
        found = read_name(self.folder / name) if Path(name).name == name else None
        if found is None:
            raise UnsafeSnapshotName(f"{self.folder}: found no snapshot named {name!r}, expected one of this folder")
        return found


def check_name(file: SnapshotFile, header: SnapshotHeader, snapshot_id: str) -> None:
    """A good file under another file's name is not what was asked for."""
    expected = file_name(header, snapshot_id)
    if file.path.name != expected:
        raise SnapshotMalformed(f"{file.path}: found the contents of {expected}, expected those of the name")
