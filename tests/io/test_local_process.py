# SPDX-License-Identifier: MIT
"""Servers that never outlive the process that started them."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from usp.io.local_process import (
    LocalProcess,
    PortLost,
    ServiceUnavailable,
    StartFailed,
    make_run_dir,
    spawn,
    start_on_port,
    wait_until_ready,
)
from usp.io.ports import LOOPBACK

NOBODY = 65_534
SLEEPER = [sys.executable, "-S", "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-S",
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]
# Starts a server, says which process it is, and waits to be ended.
STARTER = """
import sys, time
from pathlib import Path
from usp.io.local_process import spawn
print(spawn("sleeper", ["sleep", "60"], Path(sys.argv[1]), grace_s=1.0).pid, flush=True)
time.sleep(60)
"""


def eventually(holds: Callable[[], bool], within_s: float = 5.0) -> bool:
    end = time.monotonic() + within_s
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def is_up(process: LocalProcess) -> bool:
    return "up" in process.output()


def start(tmp_path: Path, command: list[str]) -> LocalProcess:
    process = spawn("sleeper", command, tmp_path / "log")
    wait_until_ready(process, lambda: is_up(process), 5.0)
    return process


def test_stop_ends_the_server_and_may_be_called_again(tmp_path: Path):
    """After stop the process is gone; a second stop does nothing."""
    process = start(tmp_path, SLEEPER)
    assert is_alive(process.pid)
    process.stop()
    process.stop()
    assert not process.is_running()
    assert not is_alive(process.pid)


def test_a_server_that_ignores_sigterm_is_killed_at_the_deadline(tmp_path: Path):
    """stop never hangs."""
    process = start(tmp_path, STUBBORN)
    began = time.monotonic()
    process.stop(deadline_s=0.3)
    assert time.monotonic() - began < 3.0
    assert not is_alive(process.pid)


def test_the_output_is_that_of_this_start(tmp_path: Path):
    """The log keeps what former starts wrote; `output` shows only what this one did."""
    for word in ("first", "second"):
        process = spawn("echo", ["echo", word], tmp_path / "log")
        assert eventually(lambda process=process: not process.is_running())
        assert process.output() == word
        process.stop()
    assert (tmp_path / "log").read_text() == "first\nsecond\n"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_server_dies_with_its_starter(tmp_path: Path, how: signal.Signals):
    """kill -9, SIGTERM and Ctrl-C of the starter leave no server."""
    with subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path / "log")], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        server = int(starter.stdout.readline())
        assert is_alive(server)
        starter.send_signal(how)
    assert eventually(lambda: not is_alive(server))


def test_the_server_dies_with_its_guard(tmp_path: Path):
    """Not even kill -9 of the guard leaves a server."""
    process = start(tmp_path, SLEEPER)
    process.guard.kill()
    assert eventually(lambda: not is_alive(process.pid))
    process.stop()


def test_the_server_outlives_the_thread_that_started_it(tmp_path: Path):
    """Services may be started from a worker thread, which then ends."""
    started: list[LocalProcess] = []
    thread = threading.Thread(target=lambda: started.append(start(tmp_path, SLEEPER)))
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert started[0].is_running()
    started[0].stop()


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(tmp_path: Path):
    """The server is in a session of its own, so its starter decides when it stops."""
    process = start(tmp_path, SLEEPER)
    assert os.getsid(process.pid) != os.getsid(0)
    process.stop()


def test_an_exclusive_server_is_alone_until_it_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A second one with the same log is refused while the first runs, and starts once it was killed."""
    monkeypatch.setattr("usp.io.local_process.LOCK_WAIT_S", 0.1)
    log = tmp_path / "log"
    first = spawn("server", SLEEPER, log, exclusive=True)
    with pytest.raises(ServiceUnavailable, match=r"server was already running with its log in .*log; expected one"):
        spawn("server", SLEEPER, log, exclusive=True)
    first.kill()
    spawn("server", SLEEPER, log, exclusive=True).stop()


def test_a_command_that_is_not_there_is_named(tmp_path: Path):
    """The error names the command and leaves no guard behind."""
    with pytest.raises(ServiceUnavailable, match="/no/such/server"):
        spawn("server", ["/no/such/server"], tmp_path / "log")


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path):
    """The error names the log."""
    with pytest.raises(ServiceUnavailable, match="missing/log"):
        spawn("server", SLEEPER, tmp_path / "missing" / "log")


def test_a_server_that_exits_while_starting_shows_its_log(tmp_path: Path):
    """The error holds the end of what the server said."""
    process = spawn("server", ["sh", "-c", "echo the disk was full; exit 3"], tmp_path / "log")
    with pytest.raises(StartFailed, match=r"exited while starting(.|\n)*the disk was full"):
        wait_until_ready(process, lambda: False, 5.0)


def test_an_error_long_before_the_end_of_the_log_is_shown(tmp_path: Path):
    """A server that says much while it shuts down does not hide why it did."""
    script = "echo 'ERROR the lock was held'; for line in $(seq 500); do echo closing $line; done"
    process = spawn("server", ["sh", "-c", script], tmp_path / "log")
    with pytest.raises(StartFailed, match=r"the lock was held") as caught:
        wait_until_ready(process, lambda: False, 5.0)
    assert len(str(caught.value).splitlines()) < 20


def test_a_server_that_does_not_answer_is_ended_at_the_deadline(tmp_path: Path):
    """Waiting has an end, after which nothing runs."""
    process = spawn("server", SLEEPER, tmp_path / "log")
    with pytest.raises(StartFailed, match="did not answer within 0 s"):
        wait_until_ready(process, lambda: False, 0.2)
    assert not is_alive(process.pid)


def test_an_interrupt_while_waiting_ends_the_server(tmp_path: Path):
    """Ctrl-C during a start leaves nothing running."""
    process = spawn("server", SLEEPER, tmp_path / "log")

    def interrupt() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait_until_ready(process, interrupt, 5.0)
    assert not is_alive(process.pid)


def test_a_port_taken_in_between_is_replaced(tmp_path: Path):
    """A server that loses its port to another process is started on another one, which is remembered."""
    tried: list[int] = []

    def start_at(port: int) -> int:
        tried.append(port)
        if len(tried) == 1:
            raise PortLost("in use")
        return port

    port = start_on_port("server", tmp_path, None, start_at)
    assert tried[-1] == port
    assert len(set(tried)) == 2
    assert start_on_port("server", tmp_path, None, lambda again: again) == port


def test_a_port_that_is_always_lost_is_an_error(tmp_path: Path):
    """It is tried a few times, not for ever."""

    def start_at(port: int) -> int:
        raise PortLost(str(port))

    with pytest.raises(ServiceUnavailable, match="taken 3 times"):
        start_on_port("server", tmp_path, None, start_at)


def test_a_wanted_port_that_is_in_use_is_an_error(tmp_path: Path):
    """The error names the port and what to do."""
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServiceUnavailable, match=f"{port}, which was in use; expected a free port"):
            start_on_port("server", tmp_path, port, lambda at: at)


def test_a_run_folder_below_a_file_is_an_error(tmp_path: Path):
    """The error names the folder and what was expected of it."""
    (tmp_path / "file").touch()
    with pytest.raises(ServiceUnavailable, match="file/run, which was not writable"):
        make_run_dir("server", tmp_path / "file" / "run")


def test_a_run_folder_without_permission_is_an_error(tmp_path: Path):
    """The error names the folder and what to do; root is made to try it as somebody else."""
    tmp_path.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        with pytest.raises(ServiceUnavailable, match=r"not writable .*choose another one or correct its permissions"):
            make_run_dir("server", tmp_path)
    finally:
        if user == 0:
            os.seteuid(user)
        tmp_path.chmod(0o755)
