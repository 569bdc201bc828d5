# SPDX-License-Identifier: MIT
"""Does a pipeline that is killed again and again grow? Memory and open files of its stages, sizes of their snapshots.

A killed stage begins with little memory, so the peaks of two quarters of the run are compared, not single looks.
"""

import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

LOOK_S = 1.0
SLACK, SLACK_BYTES, SLACK_FILES = 1.1, 24 * 2**20, 8
PAGE_BYTES = resource.getpagesize()


class Look(NamedTuple):
    """One process at one moment."""

    at_s: float
    resident_bytes: int
    open_files: int


class Peaks(NamedTuple):
    """The peaks of a stage's second quarter and of its last one."""

    resident_before: int
    resident_after: int
    files_before: int
    files_after: int

    @property
    def flat(self) -> bool:
        """The last quarter needs no more than the second, but for noise."""
        return (
            self.resident_after <= self.resident_before * SLACK + SLACK_BYTES
            and self.files_after <= self.files_before + SLACK_FILES
        )


@dataclass
class Growth:
    """What was seen of each stage, and the bytes of its newest snapshots."""

    looks: dict[str, list[Look]] = field(default_factory=dict[str, list[Look]])
    newest_s: float = 0.0

    def look(self, pids: dict[str, int]) -> None:
        """Once a second at most; a process that has just died is passed over."""
        now_s = time.monotonic()
        if now_s - self.newest_s < LOOK_S:
            return
        self.newest_s = now_s
        for name, pid in pids.items():
            seen = look_at(pid, now_s)
            if seen is not None:
                self.looks.setdefault(name, []).append(seen)

    def peaks(self) -> dict[str, Peaks]:
        """Per stage that was seen often enough."""
        return {name: peaks_of(looks) for name, looks in self.looks.items() if len(looks) >= 8}


def look_at(pid: int, now_s: float) -> Look | None:
    """Resident memory and open files, as Linux tells them; None for a process that is gone."""
    process = Path(f"/proc/{pid}")
    try:
        pages = int((process / "statm").read_text().split()[1])
        return Look(now_s, pages * PAGE_BYTES, sum(1 for _ in (process / "fd").iterdir()))
    except (OSError, IndexError):
        return None


def peaks_of(looks: list[Look]) -> Peaks:
    """Second quarter against last, by time."""
    begin_s, whole_s = looks[0].at_s, looks[-1].at_s - looks[0].at_s
    share = [(look.at_s - begin_s) / whole_s if whole_s else 1.0 for look in looks]
    before = [look for look, part in zip(looks, share, strict=True) if 0.25 <= part < 0.5] or looks[:1]
    after = [look for look, part in zip(looks, share, strict=True) if part >= 0.75]
    return Peaks(
        max(look.resident_bytes for look in before),
        max(look.resident_bytes for look in after),
        max(look.open_files for look in before),
        max(look.open_files for look in after),
    )
