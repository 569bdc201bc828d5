# SPDX-License-Identifier: MIT
"""Servers that run beside the pipeline on this machine and never outlive the process that started them."""

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from .ports import LOOPBACK, free_port, is_free

GUARD = Path(__file__).with_name("process_guard.py")
LAST_LINES = 10
FIRST_ERRORS = 5
LONGEST_LINE = 400
SERIOUS = re.compile(r"\b(ERROR|FATAL|panicked)\b|^[\w.$]+(Exception|Error): ")
POLL_S = 0.02
LOCK_WAIT_S = 12.0  # longer than a server that lost its starter may take to end
PORT_TRIES = 3
T = TypeVar("T")


class ServiceUnavailable(Exception):
    """A local service cannot run here now; the message says what was found, what was expected and what to do."""


class StartFailed(ServiceUnavailable):
    """The server was started and did not come up; the message ends with its log."""


class PortLost(StartFailed):
    """The server says that another process holds an address on which it was told to listen."""


@dataclass(frozen=True)
class LocalProcess:
    """One running server.

    `pid` is the server's own process id. `log` receives its standard output and error, from `log_start` (bytes) on.
    """

    name: str
    pid: int
    log: Path
    log_start: int
    guard: subprocess.Popen[bytes]

    def is_running(self) -> bool:
        return self.guard.poll() is None

    def stop(self, deadline_s: float = 10.0) -> None:
        """SIGTERM, then SIGKILL after `deadline_s`; returns when the server is gone. Safe to call again."""
        if self.is_running():
            self.guard.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.guard.wait(deadline_s)
        self.kill()

    def kill(self) -> None:
        """SIGKILL, as a crash: no shutdown code of the server runs. Safe to call again."""
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.guard.wait()
        for pipe in (self.guard.stdin, self.guard.stdout):
            if pipe is not None:
                pipe.close()

    def output(self) -> str:
        """What this server has logged since it was started, or why that cannot be read."""
        try:
            return self.log.read_bytes()[self.log_start :].decode(errors="replace").strip() or "(nothing)"
        except OSError as error:
            return f"(no log: {error})"


def spawn(
    name: str, command: Sequence[str], log: Path, *, grace_s: float = 10.0, exclusive: bool = False
) -> LocalProcess:
    """Start `command` in a session of its own, so that Ctrl-C in a terminal does not reach it.

    When this process dies, however it dies, the server gets SIGTERM and after `grace_s` SIGKILL. An `exclusive`
    server holds a lock on its log as long as it or its guard lives, so that no second one touches the same folder.
    Raises ServiceUnavailable when the log cannot be had or the command cannot be started.
    """
    guarded = [sys.executable, "-I", "-S", str(GUARD), str(grace_s), *command]
    try:
        with log.open("ab") as output:
            if exclusive:
                lock(name, output)
            log_start = output.tell()
            guard = subprocess.Popen(  # noqa: S603  # no shell
                guarded, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, start_new_session=True
            )
    except OSError as error:
        raise ServiceUnavailable(f"{name} could not be started with its log in {log}: {error}") from error
    line = guard.stdout.readline().strip() if guard.stdout else b""
    process = LocalProcess(name, int(line) if line.isdigit() else 0, log, log_start, guard)
    if process.pid == 0:
        guard.wait()
        raise ServiceUnavailable(f"{name} could not be started by {' '.join(command)}:\n{log_tail(process)}")
    return process


def lock(name: str, log: BinaryIO) -> None:
    """Lock the open log; whoever inherits it holds the lock with us. Raises ServiceUnavailable after LOCK_WAIT_S."""
    end = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > end:
                raise ServiceUnavailable(
                    f"{name} was already running with its log in {log.name}; expected one at a time: stop the other "
                    "one, or choose another folder"
                ) from error
            time.sleep(POLL_S)


def wait_until_ready(process: LocalProcess, is_ready: Callable[[], bool], deadline_s: float) -> None:
    """Return when `is_ready`; when the server exits or the deadline passes first, end it and raise StartFailed."""
    end = time.monotonic() + deadline_s
    try:
        while process.is_running() and time.monotonic() < end:
            if is_ready():
                return
            time.sleep(POLL_S)
        found = f"did not answer within {deadline_s:.0f} s" if process.is_running() else "exited while starting"
    except BaseException:
        process.kill()
        raise
    process.kill()
    error = PortLost if "in use" in process.output() else StartFailed
    raise error(f"{process.name} {found}. The end of its log {process.log}:\n{log_tail(process)}")


def log_tail(process: LocalProcess) -> str:
    """What the server says went wrong, and its last lines; a server that shuts down on an error says much after it."""
    lines = [line[:LONGEST_LINE] for line in process.output().splitlines()]
    wrong = [line for line in lines[:-LAST_LINES] if SERIOUS.search(line)][:FIRST_ERRORS]
    return "\n".join([*wrong, "...", *lines[-LAST_LINES:]] if wrong else lines[-LAST_LINES:])


def make_run_dir(name: str, run_dir: Path) -> None:
    """Create the folder in which a server keeps its data; raises ServiceUnavailable if it is not writable."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        probe = run_dir / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ServiceUnavailable(
            f"{name} keeps its data in {run_dir}, which was not writable ({error}); expected a folder that this user "
            "may create and write: choose another one or correct its permissions"
        ) from error


def start_on_port(name: str, run_dir: Path, wanted: int | None, start: Callable[[int], T]) -> T:
    """`start(port)` on the port `wanted`, else on the one used before in `run_dir` if it is free, else on a new one.

    The port is chosen before the server listens on it; when another process takes it in between, `start` raises
    PortLost and is tried again with another one.
    """
    memory = run_dir / "port"
    for _ in range(PORT_TRIES):
        port = choose_port(name, memory, wanted)
        try:
            running = start(port)
        except PortLost:
            memory.unlink(missing_ok=True)
            continue
        memory.write_text(str(port))
        return running
    raise ServiceUnavailable(
        f"{name} found its port on {LOOPBACK} taken {PORT_TRIES} times in a row; expected a free one"
    )


def reserve_port(name: str, run_dir: Path) -> int:
    """The port that `start_on_port` will try first in this folder, for clients that start beside the server."""
    run_dir.mkdir(parents=True, exist_ok=True)
    memory = run_dir / "port"
    port = choose_port(name, memory, None)
    memory.write_text(str(port))
    return port


def choose_port(name: str, memory: Path, wanted: int | None) -> int:
    """A port that is free now; raises ServiceUnavailable when the one asked for is not."""
    if wanted is not None:
        if not is_free(wanted):
            raise ServiceUnavailable(
                f"{name} was to listen on {LOOPBACK}:{wanted}, which was in use; expected a free port: stop what "
                "listens there, or name no port"
            )
        return wanted
    try:
        before = int(memory.read_text())
    except (OSError, ValueError):
        return free_port()
    return before if is_free(before) else free_port()
