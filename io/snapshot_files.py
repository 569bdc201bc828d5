# SPDX-License-Identifier: MIT
"""Names of snapshot files, and which of them are kept. The name says all that a search needs, in sortable digits."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from .snapshot_errors import UnsafeSnapshotName
from .snapshot_format import SnapshotHeader

SUFFIX = ".snapshot"
BROKEN_SUFFIX = ".broken"
PIN_SUFFIX = ".pin"
STAGE_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
FILE_NAME = re.compile(
    rf"({STAGE_NAME.pattern})_(\d{{5,10}})_(\d{{20}})_(\d{{20}})_([0-9a-f]{{16}}){re.escape(SUFFIX)}"
)
HOUR_NS = 3_600_000_000_000


class Retention(NamedTuple):
    """How many of the newest snapshots are kept, and for how many hours one each."""

    keep_last: int = 5
    keep_hourly: int = 24


class SnapshotFile(NamedTuple):
    """A snapshot by its name; nothing in it has been read. `written_ns` is the file's time."""

    path: Path
    stage: str
    partition: int
    next_offset: int
    step: int
    short_hash: str
    written_ns: int
    size: int
    pinned: bool

    @property
    def position(self) -> tuple[int, int, int]:
        """How far in its log the state is; among equals the one written last."""
        return self.next_offset, self.step, self.written_ns


def file_name(header: SnapshotHeader, snapshot_id: str) -> str:
    """The name of a snapshot; UnsafeSnapshotName if its stage could lead out of the folder."""
    check_stage(header.stage)
    return (
        f"{header.stage}_{header.partition:05d}_{header.next_offset:020d}_{header.step:020d}_{snapshot_id[:16]}{SUFFIX}"
    )


def check_stage(stage: str) -> None:
    """Only small letters, digits and dashes can be part of a name."""
    if not STAGE_NAME.fullmatch(stage):
        raise UnsafeSnapshotName(f"found stage {stage[:100]!r}, expected small letters, digits and dashes")


def listed(folder: Path, stage: str | None = None, partition: int | None = None) -> list[SnapshotFile]:
    """The snapshots of a folder; everything else in it is passed over."""
    found = (read_name(path) for path in folder.glob(f"*{SUFFIX}"))
    return [
        each
        for each in found
        if each is not None and stage in (None, each.stage) and partition in (None, each.partition)
    ]


def read_name(path: Path) -> SnapshotFile | None:
    """What a file's name says; None if it is no snapshot or is gone."""
    match = FILE_NAME.fullmatch(path.name)
    if match is None:
        return None
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    stage, partition, next_offset, step, short_hash = match.groups()
    pinned = path.with_name(path.name + PIN_SUFFIX).exists()
    return SnapshotFile(
        path, stage, int(partition), int(next_offset), int(step), short_hash, facts.st_mtime_ns, facts.st_size, pinned
    )


def expendable(files: Iterable[SnapshotFile], rule: Retention, now_ns: int) -> Sequence[SnapshotFile]:
    """The files of one stage and partition that may go.

    Kept are the newest `keep_last`, the newest of each of the last `keep_hourly` hours, and what is pinned. Newest
    is what was written last: after a log was made anew its offsets begin again.
    """
    ordered = sorted(files, key=lambda each: (each.written_ns, each.position), reverse=True)
    kept = {each.path for each in ordered[: max(1, rule.keep_last)]}
    hours: dict[int, Path] = {}
    for each in ordered:
        hours.setdefault(each.written_ns // HOUR_NS, each.path)
    oldest_hour = now_ns // HOUR_NS - rule.keep_hourly
    kept |= {path for hour, path in hours.items() if hour > oldest_hour}
    return [each for each in ordered if each.path not in kept and not each.pinned]
