# SPDX-License-Identifier: MIT
"""The five stages as child processes: started together, restarted when they die, stopped in order of the stream.

A child that keeps dying is restarted ever more slowly, so that a crash loop costs little and stays visible.
"""

import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError

from ..io.local_process import LocalProcess, spawn
from ..io.ports import free_port
from . import topology

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 15.0
STEADY_S = 60.0


@dataclass
class Child:
    """One stage process and the history of its restarts."""

    name: str
    port: int
    process: LocalProcess
    started_s: float
    restarts: int = 0
    backoff_s: float = FIRST_BACKOFF_S
    retry_at_s: float | None = None


@dataclass
class Supervisor:
    """Keeps the stages running; `watch` is called again and again by whoever owns the terminal."""

    environ: Mapping[str, str]
    log_dir: Path
    say: Callable[[str], None]
    children: dict[str, Child] = field(default_factory=dict[str, Child])
    helpers: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def add_helper(self, name: str, *arguments: str) -> None:
        """Start `usp ARGUMENTS` beside the stages, restarted and stopped as they are; nobody waits for it."""
        self.helpers[name] = arguments
        self.start()

    def start(self, environ: Mapping[str, str] | None = None) -> None:
        """Start every stage that is not running yet; with another environment than theirs, all of them anew."""
        if environ is not None and environ != self.environ:
            self.stop()
            self.children, self.environ = {}, environ
        self.log_dir.mkdir(parents=True, exist_ok=True)
        for name in (*topology.STAGES, *self.helpers):
            if name in self.children:
                continue
            port = free_port(frozenset(child.port for child in self.children.values()))
            self.children[name] = Child(name, port, self.spawn(name, port), time.monotonic())

    def spawn(self, name: str, port: int) -> LocalProcess:
        """One child, with its settings in its environment and its log in a file of its own."""
        settings = [f"{key}={value}" for key, value in self.environ.items()]
        command = ["env", *settings, f"USP_METRICS__PORT={port}", sys.executable, "-m", "usp.stages.cli"]
        command += self.helpers.get(name, ("run", name))
        return spawn(name, command, self.log_dir / f"{name}.log", grace_s=25.0)

    def ready(self) -> dict[str, bool]:
        """Which stages have their state restored and are consuming."""
        return {name: is_ready(child.port) for name, child in self.children.items() if name not in self.helpers}

    def wait_until_ready(self, deadline_s: float, progress: Callable[[dict[str, bool]], None]) -> None:
        """Until every stage is ready; raises TimeoutError naming the ones that are not, and their logs."""
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            self.watch()
            ready = self.ready()
            progress(ready)
            if all(ready.values()):
                return
            time.sleep(0.1)
        waiting = [f"{name} (log {self.log_dir / name}.log)" for name, is_up in self.ready().items() if not is_up]
        raise TimeoutError(f"not ready after {deadline_s:.0f} s: {', '.join(waiting)}")

    def watch(self) -> None:
        """Restart what has died and whose pause is over."""
        now_s = time.monotonic()
        for child in self.children.values():
            if child.process.is_running():
                if now_s - child.started_s > STEADY_S:
                    child.backoff_s = FIRST_BACKOFF_S
            elif child.retry_at_s is None:
                child.retry_at_s = now_s + child.backoff_s
                self.say(
                    f"{child.name} died, restarts in {child.backoff_s:.1f} s (log {self.log_dir / child.name}.log)"
                )
            elif now_s >= child.retry_at_s:
                self.restart(child, now_s)

    def restart(self, child: Child, now_s: float) -> None:
        """A new process in the place of the dead one."""
        child.process.kill()
        child.process = self.spawn(child.name, child.port)
        child.started_s, child.retry_at_s = now_s, None
        child.restarts += 1
        child.backoff_s = min(child.backoff_s * 2, LONGEST_BACKOFF_S)

    def stop(self, deadline_s: float = 25.0) -> None:
        """Stop the stages in the order of the stream, so that each drains what the one before has sent.

        One deadline for all of them; who misses it is killed, which recovery is made for.
        """
        end = time.monotonic() + deadline_s
        for name in (*self.helpers, *topology.STAGES):
            if name in self.children:
                self.children[name].process.stop(max(1.0, end - time.monotonic()))


def is_ready(port: int) -> bool:
    """Does the process on this loopback port say that it is ready?"""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1.0) as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False
