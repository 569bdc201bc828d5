# SPDX-License-Identifier: MIT
"""Append-only logs of telemetry: JSON Lines that know where they came from. A restart loses and repeats nothing.

Every line ends with its source: partition and offset in the log, and when it was logged. Before appending, the log
is caught up with the file: a torn tail is cut, and what the file already holds is not written again. Where steps of
a symbol are missing, a line says so. Several processes may share a file: each append holds an advisory lock.
Every line begins with a hash over itself and the line before it (`line_chain.py`).

Rotated files get numbers in order: `parity.jsonl` becomes `parity.000001.jsonl`, then `parity.000002.jsonl`, ...
"""

import fcntl
import json
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from .atomic_file import sync_folder, write_all
from .failpoints import failpoint
from .line_chain import GENESIS, chain, head_of
from .telemetry_line import Appended, Gap, Seen, Source, TelemetryLine, dumped, gap_before

MAX_BYTES = 64 * 2**20
READ_BYTES = 2**20
ROTATED_DIGITS = 6


class LineLogError(OSError):
    """The file cannot be written; the process must stop, for its input is still in the broker's log."""


class LineLog:
    """One file of lines. Not for several threads."""

    def __init__(self, path: Path, *, fsync: bool = True, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self.fsync = fsync
        self.max_bytes = max_bytes
        self.seen: dict[int, Seen] = {}
        self.inode: int = -1
        self.size: int = 0
        self.head: str = GENESIS

    def append(self, lines: Sequence[TelemetryLine]) -> Appended:
        """Write what is new, in order, durable on return. LineLogError if the system refuses."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.path) as handle:
                self.catch_up(handle)
                return self.write(handle, lines)
        except OSError as fault:
            self.inode = -1
            raise LineLogError(f"{self.path}: the system refused: {fault}; check permissions and the disk") from fault

    def write(self, handle: int, lines: Sequence[TelemetryLine]) -> Appended:
        """The new ones among the lines, in one write."""
        texts: list[str] = []
        gaps: list[Gap] = []
        restarted: list[int] = []
        new = 0
        for line in lines:
            seen = self.seen.setdefault(line.source.partition, Seen())
            if seen.is_before(line.source):
                seen = self.seen[line.source.partition] = Seen()
                restarted.append(line.source.partition)
                texts.append(dumped({"log_restarted": True}, line.source))
            if seen.has(line):
                continue
            gap = gap_before(line, seen)
            if gap is not None:
                gaps.append(gap)
                texts.append(dumped({"gap": gap._asdict()}, line.source))
            named = {"record_id": line.record_id, "symbol": line.symbol, "step": line.step}
            texts.append(dumped(named | dict(line.fields), line.source))
            seen.take(line.record_id, line.symbol, line.step, line.source)
            new += 1
        if texts:
            data, head = chain(texts, self.head)
            self.put(handle, data)
            self.head = head
        return Appended(new, len(lines) - new, tuple(gaps), tuple(restarted))

    def put(self, handle: int, data: bytes) -> None:
        """Append bytes, in the next file if this one would grow too large."""
        if self.size and self.size + len(data) > self.max_bytes:
            self.rotate()
            with locked(self.path) as fresh:
                self.inode, self.size = os.fstat(fresh).st_ino, 0
                self.write_out(fresh, data)
            return
        self.write_out(handle, data)

    def write_out(self, handle: int, data: bytes) -> None:
        """Append and make durable; a refused write is taken back."""
        try:
            write_all(handle, data)
        except OSError:
            os.ftruncate(handle, self.size)
            raise
        self.size += len(data)
        failpoint("lines.after_write")
        if self.fsync:
            os.fsync(handle)
        failpoint("lines.after_fsync")

    def rotate(self) -> None:
        """Give the full file its number."""
        numbers = [number for number, _ in rotated(self.path)]
        self.path.rename(rotated_path(self.path, max(numbers, default=0) + 1))
        if self.fsync:
            sync_folder(self.path.parent)
        failpoint("lines.after_rotate")

    def catch_up(self, handle: int) -> None:
        """Cut a torn tail and learn what the file holds that this process has not written itself."""
        facts = os.fstat(handle)
        if facts.st_ino == self.inode and facts.st_size == self.size:
            return
        start = self.size if facts.st_ino == self.inode and facts.st_size > self.size else 0
        if start == 0:
            self.seen, self.head = {}, GENESIS
            for _, path in rotated(self.path)[-1:]:
                self.learn(whole_lines(path.read_bytes()))
        data = read_from(handle, start)
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.ftruncate(handle, start + len(whole))
        self.learn(whole_lines(whole))
        self.inode, self.size = facts.st_ino, start + len(whole)

    def learn(self, lines: Iterable[bytes]) -> None:
        """Remember lines that are in the file; one that cannot be read is linked, and else passed over."""
        for text in lines:
            self.head = head_of(text, self.head)
            try:
                line = cast(dict[str, Any], json.loads(text))
                source = Source(**line["source"])
                if "log_restarted" in line:
                    self.seen[source.partition] = Seen()
                elif "gap" not in line:
                    seen = self.seen.setdefault(source.partition, Seen())
                    seen.take(line["record_id"], line["symbol"], line["step"], source)
            except (ValueError, KeyError, TypeError):
                continue


@contextmanager
def locked(path: Path) -> Generator[int]:
    """The file that has this name now, opened to append and locked."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if is_named(handle, path):
                yield handle
                return
        finally:
            os.close(handle)


def is_named(handle: int, path: Path) -> bool:
    """True if the open file still has this name; another process may have rotated it."""
    try:
        return os.fstat(handle).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def read_from(handle: int, start: int) -> bytes:
    """All bytes from `start` on."""
    pieces: list[bytes] = []
    while piece := os.pread(handle, READ_BYTES, start):
        pieces.append(piece)
        start += len(piece)
    return b"".join(pieces)


def whole_lines(data: bytes) -> list[bytes]:
    """The lines that end."""
    return data.split(b"\n")[:-1]


def rotated_path(path: Path, number: int) -> Path:
    """The name of a full file."""
    return path.with_name(f"{path.stem}.{number:0{ROTATED_DIGITS}d}{path.suffix}")


def rotated(path: Path) -> list[tuple[int, Path]]:
    """The full files, oldest first."""
    found: list[tuple[int, Path]] = []
    for each in path.parent.glob(f"{path.stem}.*{path.suffix}"):
        middle = each.name[len(path.stem) + 1 : len(each.name) - len(path.suffix)]
        if len(middle) == ROTATED_DIGITS and middle.isdecimal():
            found.append((int(middle), each))
    return sorted(found)


def files_of(path: Path) -> list[Path]:
    """The files of a log that exist, oldest first."""
    return [each for each in [*(full for _, full in rotated(path)), path] if each.exists()]


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole line of a log without its hash, the rotated files first; what is no JSON object is passed over."""
    for each in files_of(path):
        for text in whole_lines(each.read_bytes()):
            try:
                line: object = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                entries = cast(dict[str, Any], line)
                entries.pop("chain", None)
                yield entries
