# SPDX-License-Identifier: MIT
"""The hash chain of an append-only log: each line begins with a hash over the one before and over itself.

A line is `{"chain":"<64 hex digits>",...}`. The hash is SHA-256 of the hash before it (as text; 64 zeros at the start
of the log) and of the line without its `chain`. So no line can be changed, removed, added or moved without a break
that `check_chain` finds. Who cuts whole lines off the end leaves no trace in the file: note the last hash elsewhere.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

GENESIS = "0" * 64
BEGIN = b'{"chain":"'
END = b'",'
LENGTH = len(BEGIN) + len(GENESIS) + len(END)


class ChainReport(NamedTuple):
    """What a check found: whole lines, the newest hash, problems with their places, bytes of a torn tail."""

    lines: int
    head: str
    problems: tuple[str, ...]
    torn_bytes: int


def chain(texts: Iterable[str], head: str) -> tuple[bytes, str]:
    """Lines (each a JSON object with its line end) linked behind `head`: their bytes, and the hash of the last."""
    linked: list[bytes] = []
    for text in texts:
        body = text.encode()
        head = link(head, body.rstrip(b"\n"))
        linked.append(BEGIN + head.encode() + END + body[1:])
    return b"".join(linked), head


def link(head: str, body: bytes) -> str:
    """The hash of a line without its `chain`, behind the hash before it."""
    return sha256(head.encode() + body).hexdigest()


def split(line: bytes) -> tuple[str, bytes]:
    """The hash that a line names and the line without it; an empty hash if it names none."""
    if line.startswith(BEGIN) and line[LENGTH - len(END) : LENGTH] == END:
        return line[len(BEGIN) : LENGTH - len(END)].decode(errors="replace"), b"{" + line[LENGTH:]
    return "", line


def head_of(line: bytes, before: str = GENESIS) -> str:
    """What the next line is linked to; a line without a hash is hashed itself, so that it is covered too."""
    named, body = split(line)
    return named or link(before, body)


def check_chain(files: Sequence[Path], most_problems: int = 10) -> ChainReport:
    """Check every line of the files of one log, oldest first. A log whose oldest files are gone begins anywhere."""
    head: str | None = None
    lines, torn = 0, 0
    problems: list[str] = []
    for path in files:
        *whole, tail = path.read_bytes().split(b"\n")
        torn = len(tail)
        for number, line in enumerate(whole, 1):
            named, body = split(line)
            place = f"{path.name}:{number}"
            if not named:
                problems.append(f"{place}: found a line without a hash, expected one that begins with chain")
            elif head is None and begins_later(path):
                pass
            elif named != link(head or GENESIS, body):
                problems.append(
                    f"{place}: found hash {named[:12]}…, expected another: a line was changed or is missing"
                )
            head = named or link(head or GENESIS, body)
            lines += 1
        if torn and path != files[-1]:
            problems.append(f"{path.name}: found {torn} bytes behind the last line, expected none in a full file")
    return ChainReport(lines, head or GENESIS, tuple(problems[:most_problems]), torn)


def begins_later(path: Path) -> bool:
    """True for a numbered file that is not the first: the ones before it were removed."""
    number = path.stem.rpartition(".")[2]
    return number.isdecimal() and int(number) > 1
