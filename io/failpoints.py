# SPDX-License-Identifier: MIT
"""Named places where a test lets the process die, to prove that the next start repairs what it finds.

The composition root passes the value of USP_FAILPOINT, `name:kill`, `name:raise` or `name:exit`, to `configure`
once. Unset, a failpoint is one comparison. Every name stands in `NAMES`.
"""

import os
import signal

EXIT_CODE = 86
ACTIONS = ("kill", "raise", "exit")

NAMES: dict[str, str] = {
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
    "lines.after_write": "lines are appended, not synced",
    "lines.after_fsync": "lines are durable, the input offset is not committed",
    "lines.after_rotate": "the full log has its number, the next one does not exist yet",
    "report.after_write": "a report's temporary file is complete, not synced",
    "report.after_rename": "a report has its name, the folder is not synced",
}


class FailpointReached(BaseException):
    """The action `raise`: nothing on the way up may swallow it."""


class Armed:
    """Which failpoint is set in this process."""

    name: str | None = None
    action: str = ""


ARMED = Armed()


def configure(value: str | None) -> None:
    """Arm one failpoint, or none for an empty value. ValueError on an unknown name or action."""
    if not value:
        ARMED.name = None
        return
    name, _, action = value.rpartition(":")
    if name not in NAMES:
        raise ValueError(f"USP_FAILPOINT: found {value!r}; expected NAME:ACTION with NAME one of {', '.join(NAMES)}")
    if action not in ACTIONS:
        raise ValueError(f"USP_FAILPOINT: found action {action!r}; expected one of {', '.join(ACTIONS)}")
    ARMED.name, ARMED.action = name, action


def failpoint(name: str) -> None:
    """Here the process may be made to die. Does nothing unless `name` is armed."""
    if ARMED.name != name:
        return
    if ARMED.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if ARMED.action == "exit":
        os._exit(EXIT_CODE)
    raise FailpointReached(f"failpoint {name} was reached")
