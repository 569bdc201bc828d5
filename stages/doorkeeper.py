# SPDX-License-Identifier: MIT
"""Takes the signals that ask a stage process to end, in a thread of its own: a handler in Python would wait for
whatever library the main thread is in, and two signals that come meanwhile would be one.

While the process starts there is nothing to hand over: a signal ends it. Once armed, the first signal asks for the
end, and the second one is obeyed by the system, even if no line of Python can run any more.
"""

import os
import signal
import time
from collections.abc import Callable
from threading import Event, Thread

SIGNALS = (signal.SIGTERM, signal.SIGINT)
HELD_S = 0.5


class Doorkeeper:
    """True once a signal came. Made by the main thread before any other thread, which would take the signals."""

    def __init__(self, deadline_s: float, give_up: Callable[[], object]) -> None:
        """`give_up` is called when the process has not ended so many seconds after the first signal."""
        self.deadline_s = deadline_s
        self.give_up = give_up
        self.asked = False
        self.asked_s = 0.0
        self.armed, self.listening = Event(), Event()
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        Thread(target=self.keep, name="doorkeeper", daemon=True).start()

    def arm(self) -> None:
        """From now on there is something to hand over."""
        self.armed.set()
        self.listening.wait()

    def keep(self) -> None:
        """The thread: the only one in which these signals are ever let through."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self.armed.wait()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self.listening.set()
        signal.sigwait(SIGNALS)
        self.asked_s, self.asked = time.monotonic(), True
        signal.setitimer(signal.ITIMER_REAL, self.deadline_s + HELD_S)  # for a library that holds the interpreter
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        time.sleep(self.deadline_s)
        self.give_up()

    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self.deadline_s - (time.monotonic() - self.asked_s)

    def __call__(self) -> bool:
        return self.asked


def exiting(status: int) -> Callable[[], object]:
    """Ends the process at once."""
    return lambda: os._exit(status)
