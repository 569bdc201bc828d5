# SPDX-License-Identifier: MIT
"""Named places where a test lets the process die, to prove that the next start repairs what it finds.

The composition root passes the value of USP_FAILPOINT, `name:kill`, `name:raise` or `name:exit`, to `configure`
once; a test in the same process may `install` a handler of its own. Every name stands in `NAMES`.
"""

import os
import signal
from collections.abc import Callable

EXIT_CODE = 86

NAMES: dict[str, str] = {
    "runner.after_effects": "effects are done, nothing is published",
    "runner.before_commit": "outputs are ready, nothing is published",
    "runner.after_commit": "outputs and offsets are committed",
    "runner.before_snapshot": "the state is encoded, nothing is sent",
    "runner.after_snapshot": "the snapshot is on its topic",
    "snapshot.before_temp": "nothing is on disk yet",
    "snapshot.after_temp": "an empty temporary file is there",
    "snapshot.after_write": "the temporary file is complete, not synced",
    "snapshot.after_fsync": "the temporary file is synced, not renamed",
    "snapshot.after_rename": "the file has its name, the folder is not synced",
    "snapshot.after_folder_fsync": "the file is durable, nobody was told",
    "snapshot.before_prune": "one old file is about to be removed",
    "snapshot.after_set_aside": "a broken file has its new name",
    "hint.before_update": "the file is durable, Redis has the hint of an older one",
    "hint.after_update": "Redis has the new hint, the input offset is not committed",
    "lines.after_rotate": "the full log has its number, its successor does not exist yet",
    "lines.after_write": "lines are appended, not synced",
    "lines.after_fsync": "lines are durable, the input offset is not committed",
    "config.before_intent": "a change of the configuration is valid, nothing is on disk yet",
    "config.after_intent": "the audit log has the intent, there is no backup yet",
    "config.after_backup": "both backups are durable, the file is the old one",
    "config.after_temp": "an empty temporary file is there",
    "config.after_write": "the temporary file is complete, not synced",
    "config.after_fsync": "the temporary file is synced, not renamed",
    "config.after_rename": "the file is the new one, the folder is not synced",
    "config.after_folder_fsync": "the new file is durable, the audit log has no result",
    "config.after_result": "the audit log has the result",
    "audit.after_write": "an audit line is appended, not synced",
    "audit.before_head": "an audit line is durable, the head beside the log is one behind",
}


class Crash(BaseException):
    """The action `raise`: nothing on the way up may swallow it."""


def ignore(name: str) -> None:
    """The handler of a process that is not under test."""
    del name


def kill(name: str) -> None:
    """As if the machine had lost power, but for the caches of the file system."""
    del name
    os.kill(os.getpid(), signal.SIGKILL)


def leave(name: str) -> None:
    """Exit at once, without cleaning up."""
    del name
    os._exit(EXIT_CODE)


def crash(name: str) -> None:
    """Unwind the stack."""
    raise Crash(f"failpoint {name} was reached")


ACTIONS: dict[str, Callable[[str], None]] = {"kill": kill, "exit": leave, "raise": crash}


class Handler:
    """What this process does at a failpoint."""

    act: Callable[[str], None] = staticmethod(ignore)


def install(act: Callable[[str], None]) -> None:
    """Call `act` with the name of every failpoint that is passed; `ignore` ends it."""
    Handler.act = staticmethod(act)


def configure(value: str) -> None:
    """Arm one failpoint, or none for an empty value. ValueError on an unknown name or action."""
    if not value:
        return
    armed, _, action = value.rpartition(":")
    if armed not in NAMES:
        raise ValueError(f"USP_FAILPOINT: found {value!r}; expected NAME:ACTION, NAME one of {', '.join(NAMES)}")
    if action not in ACTIONS:
        raise ValueError(f"USP_FAILPOINT: found action {action!r}; expected one of {', '.join(ACTIONS)}")
    act = ACTIONS[action]
    install(lambda name: act(name) if name == armed else None)


def failpoint(name: str) -> None:
    """Here the process may be made to die; otherwise nothing happens."""
    Handler.act(name)
