# SPDX-License-Identifier: MIT
"""A lock between processes that vanishes with its holder, however that dies."""

import contextlib
import fcntl
import os
import time
from collections.abc import Generator
from pathlib import Path

DEADLINE_S = 5.0
POLL_S = 0.01
LOCK_SUFFIX = ".lock"


class LockBusy(Exception):
    """Another process holds the lock and did not let go within the deadline."""


@contextlib.contextmanager
def locked(path: Path, deadline_s: float = DEADLINE_S) -> Generator[None]:
    """Hold the advisory lock of `path`, kept in `path`.lock, which is never removed. Not reentrant."""
    lock = path.with_name(path.name + LOCK_SUFFIX)
    lock.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        acquire(handle, lock, deadline_s)
        yield
    finally:
        os.close(handle)


def acquire(handle: int, lock: Path, deadline_s: float) -> None:
    """Take the lock or raise LockBusy at the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                found = f"{lock} was held by another process for {deadline_s:g} s"
                raise LockBusy(f"{found}; try again when it is done") from None
        time.sleep(POLL_S)
