# SPDX-License-Identifier: MIT
"""The running pipeline that `usp chaos` hurts: its processes, its services, the network between them."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...io.embedded import LocalServices
from ...io.local_process import LocalProcess
from .. import topology
from ..supervisor import Supervisor
from .tcp_proxy import TcpProxy


class ChaosSupervisor(Supervisor):
    """A supervisor that can give the next process of a stage further settings, once."""

    extra: dict[str, dict[str, str]]

    def spawn(self, name: str, port: int) -> LocalProcess:
        """See `Supervisor.spawn`."""
        own = getattr(self, "extra", {}).pop(name, {})
        usual = self.environ
        self.environ = {**usual, **own}
        try:
            return super().spawn(name, port)
        finally:
            self.environ = usual


@dataclass
class Scene:
    """The running pipeline, and how to wait in it: `pause` keeps watching, so that what dies is restarted.

    `network` lies between the stages and the broker, where the broker is one of our own.
    """

    services: LocalServices
    supervisor: ChaosSupervisor
    data_dir: Path
    generator: np.random.Generator
    pause: Callable[[float], None]
    network: TcpProxy | None = None
    reached: set[str] = field(default_factory=set[str])

    def pid(self, stage: str) -> int:
        """The process of a stage."""
        return self.supervisor.children[stage].process.pid

    def any_stage(self) -> str:
        """One of the five."""
        return str(self.generator.choice(list(topology.STAGES)))


def tell(pid: int, number: signal.Signals) -> None:
    """A signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def wait_until(scene: Scene, done: Callable[[], bool], patience_s: float) -> None:
    """Until it is so, or patience ends."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end and not done():
        scene.pause(0.2)
