# SPDX-License-Identifier: MIT
"""Whole files or none: temporary file in the target folder, write, fsync, rename, fsync of the folder."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from .failpoints import ignore

TEMPORARY_SUFFIX = ".tmp"

Step = Callable[[str], None]


def write_atomically(path: Path, data: bytes, *, fsync: bool = True, mode: int = 0o644, reached: Step = ignore) -> None:
    """Put `data` under `path`, replacing what is there; a reader sees the old file or the new one, never a part.

    `reached` hears after_temp, after_write, after_fsync, after_rename, after_folder_fsync. On an OSError the
    temporary file is removed; after a crash it stays, and `remove_leftovers` clears it at the next start.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=TEMPORARY_SUFFIX, dir=path.parent)
    temporary = Path(name)
    try:
        write_out(handle, data, mode, fsync, reached)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    reached("after_rename")
    if fsync:
        sync_folder(path.parent)
    reached("after_folder_fsync")


def write_out(handle: int, data: bytes, mode: int, fsync: bool, reached: Step) -> None:
    """Fill the temporary file and close it."""
    try:
        reached("after_temp")
        os.fchmod(handle, mode)
        write_all(handle, data)
        reached("after_write")
        if fsync:
            os.fsync(handle)
        reached("after_fsync")
    finally:
        os.close(handle)


def write_all(handle: int, data: bytes) -> None:
    """Write every byte; the kernel may take fewer than it is given."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def sync_folder(folder: Path) -> None:
    """Make names in a folder survive a power loss."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(folder: Path, suffix: str, older_than_ns: int) -> int:
    """Delete temporary files that a crash left for files with this suffix; younger ones may still be written."""
    removed = 0
    for leftover in folder.glob(f"*{suffix}.*{TEMPORARY_SUFFIX}"):
        try:
            if leftover.stat().st_mtime_ns < older_than_ns:
                leftover.unlink()
                removed += 1
        except FileNotFoundError:
            continue
    return removed
