# SPDX-License-Identifier: MIT
"""The audit log: JSON Lines, each fsynced before the call returns, each chained to the one before by hash.

`verify` finds every line that was edited, removed, inserted or moved, and a lost end. It cannot find that somebody
with write access rewrote the whole log *and* its head with fresh hashes: for that, compare with a head kept elsewhere.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from .atomic_file import sync_folder, write_all, write_atomically
from .failpoints import failpoint
from .file_lock import locked

GENESIS = "0" * 64
HEAD_SUFFIX = ".head"
CHAIN_FIELDS = ("sequence", "prev_hash", "hash")
BLOCK_BYTES = 65_536

Entry = dict[str, Any]


def utc_stamp() -> str:
    """Now in UTC, ISO 8601 with microseconds and a Z."""
    now = datetime.now(UTC)  # the edge of the process may look at the clock
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def append_audit_log(log_path: Path, entry: Mapping[str, Any]) -> str:
    """Append one event as one durable line and return the new head of the chain.

    A `timestamp` is added if the entry has none. The torn end of a write that a crash cut short is cut off first,
    and said so in a line of its own.
    """
    with locked(log_path):
        torn = cut_torn_end(log_path)
        if torn:
            add_line(log_path, {"event": "AUDIT_REPAIRED", "cut": torn.decode(errors="replace")})
        return add_line(log_path, entry)


def add_line(log_path: Path, entry: Mapping[str, Any]) -> str:
    """One line and the head; the caller holds the lock."""
    previous = last_entry(log_path)
    chained = {"timestamp": utc_stamp(), **entry} | {
        "sequence": previous.get("sequence", 0) + 1,
        "prev_hash": previous.get("hash", GENESIS),
    }
    line = rendered(chained)
    is_new = not log_path.exists()
    handle = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        write_all(handle, line + b"\n")
        failpoint("audit.after_write")
        os.fsync(handle)
    finally:
        os.close(handle)
    if is_new:
        sync_folder(log_path.parent)
    failpoint("audit.before_head")
    head = str(json.loads(line)["hash"])
    write_atomically(head_path(log_path), f"{chained['sequence']} {head}\n".encode(), fsync=False)
    return head


def rendered(entry: Mapping[str, Any]) -> bytes:
    """An entry as its line, without the line break; its `hash` is that of the line without this field."""
    body = {name: jsonable(value) for name, value in entry.items() if name != "hash"}
    text = json.dumps(body, allow_nan=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{text[:-1]}, "hash": "{digest}"}}'.encode()


def jsonable(value: Any) -> Any:
    """The value as JSON knows it: paths and numbers that are not finite become text, tuples become lists."""
    if isinstance(value, Mapping):
        return {str(name): jsonable(item) for name, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in cast("list[Any]", value)]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def head_path(log_path: Path) -> Path:
    """Where the newest hash of the log is kept beside it."""
    return log_path.with_name(log_path.name + HEAD_SUFFIX)


def cut_torn_end(log_path: Path) -> bytes:
    """Remove what stands behind the last line break, and return it."""
    if not log_path.exists():
        return b""
    with log_path.open("r+b") as log:
        tail = read_tail(log_path)
        torn = tail.rpartition(b"\n")[2]
        if torn:
            log.truncate(log.seek(0, os.SEEK_END) - len(torn))
            os.fsync(log.fileno())
    return torn


def read_tail(log_path: Path) -> bytes:
    """The end of the log: at least its last line and the line break before it."""
    size = log_path.stat().st_size
    with log_path.open("rb") as log:
        blocks = b""
        while size > 0 and blocks.count(b"\n") < 2:
            start = max(0, size - BLOCK_BYTES)
            log.seek(start)
            blocks = log.read(size - start) + blocks
            size = start
    return blocks


def last_entry(log_path: Path) -> Entry:
    """The newest complete entry, {} if there is none. An unreadable one breaks the chain visibly, not the append."""
    lines = read_tail(log_path).splitlines() if log_path.exists() else []
    return parsed(lines[-1]) or {"sequence": 0, "hash": "unreadable"} if lines else {}


def parsed(line: bytes) -> Entry | None:
    """The entry on a line, None if it is none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(entry, dict) and isinstance(cast(Entry, entry).get("sequence"), int)
    return cast(Entry, entry) if whole and isinstance(cast(Entry, entry).get("hash"), str) else None


def entries(log_path: Path) -> list[Entry]:
    """All readable entries, oldest first; [] if there is no log."""
    if not log_path.exists():
        return []
    found = (parsed(line) for line in log_path.read_bytes().splitlines())
    return [entry for entry in found if entry is not None]


def verify(log_path: Path, *noted: str | None) -> list[str]:
    """What is wrong with the log, one sentence per fault; [] if nothing is.

    `noted` are hashes of lines that were noted elsewhere; the one kept beside the log is always used.
    """
    heads = [head for head in noted if head]
    if not log_path.exists():
        return [] if not heads and not head_path(log_path).exists() else [f"{log_path}: the log is gone"]
    content = log_path.read_bytes()
    lines = content.split(b"\n")
    problems = [*broken_links(lines[:-1])]
    if lines[-1]:
        problems.append(f"line {len(lines)}: incomplete; a crash cut its write short, the next append will repair it")
    hashes = [str((parsed(line) or {}).get("hash")) for line in lines[:-1]]
    return [*problems, *lost_end(log_path, hashes, heads)]


def broken_links(lines: list[bytes]) -> Iterator[str]:
    """Faults of each line in itself and of its link to the line before."""
    previous, sequence = GENESIS, 0
    for number, line in enumerate(lines, 1):
        entry = parsed(line)
        if entry is None or rendered(entry) != line:
            yield f"line {number}: was edited: its content does not have the hash that it names"
        if entry is None:
            previous, sequence = "unreadable", sequence + 1
            continue
        if entry.get("prev_hash") != previous:
            yield f"line {number}: does not follow the line before it; lines were removed, inserted or moved here"
        if entry["sequence"] != sequence + 1:
            yield f"line {number}: has sequence number {entry['sequence']}, expected {sequence + 1}"
        previous, sequence = entry["hash"], entry["sequence"]


def lost_end(log_path: Path, hashes: list[str], noted: list[str]) -> Iterator[str]:
    """Heads that the log does not reach. A head one line behind is a crash between the two writes."""
    kept = head_path(log_path)
    if kept.exists():
        found = kept.read_text().split()
        if len(found) != 2 or found[1] not in hashes[-2:]:
            yield f"{kept}: names {found[1:]}, which is not the end of the log; lines are missing at the end"
    elif hashes:
        yield f"{kept}: is missing; a lost end of the log cannot be ruled out"
    for head in sorted(set(noted) - set(hashes)):
        yield f"the head {head} noted elsewhere is not in the log; lines are missing or were rewritten"
