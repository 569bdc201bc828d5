# SPDX-License-Identifier: MIT
"""A stage process ends when it is asked to, and at once when it is asked twice, whatever it waits in."""

import signal
import subprocess
import sys
import time

import pytest

from usp.stages.commands.console import NO_PROGRESS

WAITING = """
import ctypes, sys, time
from usp.stages.commands.console import NO_PROGRESS
from usp.stages.doorkeeper import Doorkeeper, exiting
stop = Doorkeeper(float(sys.argv[1]), exiting(NO_PROGRESS))
if sys.argv[2] == "starting":
    print("up", flush=True)
    ctypes.PyDLL(None).sleep(60)
stop.arm()
print("up", flush=True)
while not stop():
    time.sleep(0.01)
print("asked", flush=True)
getattr(ctypes, sys.argv[2])(None).sleep(60)  # a library: PyDLL holds the interpreter, CDLL lets it go
"""


def waiting(deadline_s: float, library: str) -> subprocess.Popen[bytes]:
    """A process that was asked to end, and waits in a library."""
    command = [sys.executable, "-c", WAITING, str(deadline_s), library]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == b"asked\n"
    return process


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_starts_ends_at_once(number: signal.Signals) -> None:
    """It has nothing to hand over."""
    command = [sys.executable, "-c", WAITING, "60", "starting"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(number)
    assert process.wait(20.0) == -number


@pytest.mark.slow
def test_a_second_signal_ends_the_process_at_once() -> None:
    """Even one that waits in a library which holds the interpreter."""
    process = waiting(60.0, "PyDLL")
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20.0) == -signal.SIGTERM
    assert time.monotonic() - begin < 2.0


@pytest.mark.slow
@pytest.mark.parametrize(("library", "status"), [("CDLL", NO_PROGRESS), ("PyDLL", -signal.SIGALRM)])
def test_a_stop_that_hangs_ends_at_its_deadline(library: str, status: int) -> None:
    """With the code for no progress; by the system alone where no line of Python can run any more."""
    begin = time.monotonic()
    process = waiting(0.5, library)
    assert process.wait(20.0) == status
    assert time.monotonic() - begin < 15.0
