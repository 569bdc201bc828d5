# SPDX-License-Identifier: MIT
"""The trials of a search as JSON Lines: a first line that says what was searched, then one line per batch.

Plain data: loading it runs nothing. A line is durable before the next batch begins; a line that a crash left torn is
cut, and its batch is measured again with the same outcome.
"""

import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from .atomic_file import sync_folder, write_all
from .file_lock import locked

FORMAT = 1


class TrialLogError(ValueError):
    """The file does not hold this search; the message says what to do."""


class TrialLog:
    """One search. `batches` are those that the file held when it was opened."""

    def __init__(self, path: Path, header: Mapping[str, Any], handle: int) -> None:
        self.path = path
        self.handle = handle
        self.batches = self.stored(header)

    def stored(self, header: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The batches in the file; a torn end is cut, and a new file gets its first line."""
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        os.ftruncate(self.handle, len(whole))
        lines = [parsed(text, self.path, number) for number, text in enumerate(whole.splitlines(), start=1)]
        wanted = json.loads(json.dumps({"format": FORMAT, **header}))
        if not lines:
            self.append(wanted)
            return []
        differing = sorted(name for name in {*wanted, *lines[0]} if wanted.get(name) != lines[0].get(name))
        if differing:
            found = "; ".join(f"{name} {lines[0].get(name)!r:.80}" for name in differing)
            wishes = "; ".join(f"{name} {wanted.get(name)!r:.80}" for name in differing)
            raise TrialLogError(f"{self.path}: found a search with {found}; expected {wishes}. Name another file")
        return lines[1:]

    def append(self, document: Mapping[str, Any]) -> None:
        """One more line, durable on return; a write that the system refuses is taken back."""
        data = json.dumps(document, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        size = os.lseek(self.handle, 0, os.SEEK_END)
        try:
            write_all(self.handle, data)
            os.fsync(self.handle)
        except OSError:
            os.ftruncate(self.handle, size)
            raise


def parsed(text: bytes, path: Path, number: int) -> dict[str, Any]:
    """One line as a mapping."""
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TrialLogError(f"{path}:{number}: found no JSON object; expected the trials of a search. Remove the file")
    return cast(dict[str, Any], found)


@contextmanager
def opened(path: Path, header: Mapping[str, Any], *, resume: bool) -> Generator[TrialLog]:
    """The log of a search, locked against a second process.

    TrialLogError if the file holds another search, or holds one already and `resume` is False; LockBusy if another
    process is at it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path, deadline_s=0.5):
        if not resume and path.exists() and path.stat().st_size:
            raise TrialLogError(f"{path}: found an earlier search; go on with --resume, or remove the file")
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            sync_folder(path.parent)
            yield TrialLog(path, header, handle)
        finally:
            os.close(handle)
