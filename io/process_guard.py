# SPDX-License-Identifier: MIT
"""The parent of one local server: ends it when the process that asked for it is gone.

Run as a script by `local_process.spawn`, with the standard library alone. Its rules:

1. It starts the server, and prints the server's process id as its only line of standard output.
2. When its standard input ends (closed on purpose, or because the starter died, `kill -9` included) or it receives
   SIGTERM, it sends the server SIGTERM, and SIGKILL once the grace period is over.
3. It exits with the server's exit status, when the server has exited.
4. If the guard itself is killed, the kernel kills the server (Linux).

A process rather than `PR_SET_PDEATHSIG` on the server alone: that signal is sent when the *thread* that forked ends,
and it leaves no time for a clean shutdown.
"""

import contextlib
import ctypes
import functools
import os
import signal
import subprocess
import sys
import threading
from types import FrameType

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def die_with(guard: int) -> None:
    """Ask the kernel to kill this process when its parent `guard` dies; other systems than Linux do not offer it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(128 + signal.SIGKILL)


def end(server: subprocess.Popen[bytes], grace_s: float) -> None:
    """SIGTERM, then SIGKILL when the server is still there after `grace_s`."""
    server.terminate()
    timer = threading.Timer(grace_s, server.kill)
    timer.daemon = True
    timer.start()


def end_at_eof(server: subprocess.Popen[bytes], grace_s: float) -> None:
    """Wait until nobody holds the other end of standard input any more, then end the server."""
    with contextlib.suppress(OSError):
        while os.read(0, 1024):
            pass
    end(server, grace_s)


def main(grace_s: float, command: list[str]) -> int:
    """Run `command` until it exits or must be ended; the exit status as a shell would give it."""
    server = subprocess.Popen(  # noqa: S603  # no shell
        command, stdin=subprocess.DEVNULL, stdout=sys.stderr, preexec_fn=functools.partial(die_with, os.getpid())
    )

    def on_sigterm(_signal: int, _frame: FrameType | None) -> None:
        end(server, grace_s)

    signal.signal(signal.SIGTERM, on_sigterm)
    threading.Thread(target=end_at_eof, args=(server, grace_s), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        print(server.pid, flush=True)
    status = server.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    status = main(float(sys.argv[1]), sys.argv[2:])
    os._exit(status)
