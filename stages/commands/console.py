# SPDX-License-Identifier: MIT
"""What every command shares: settings, answers for machines, faults as sentences with their exit code."""

import json
import os
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ...config.deployment import DeploymentSettings
from ...config.errors import ConfigError
from ...config.settings import load_settings
from ...io.credentials import load_env_file
from ...io.secrets_hidden import hidden, secrets_in
from ...io.wire import Wire

console = Console(stderr=True)
JSON = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]

OUR_FAULT, CALLERS_FAULT, WORLDS_FAULT, UNKNOWN_EPOCH, STATE_IN_DOUBT, NO_PROGRESS, INTERRUPTED = 1, 2, 3, 4, 5, 6, 130
EXIT_CODES = {
    0: "done",
    OUR_FAULT: "our own fault, a bug: run again with --debug for the traceback",
    CALLERS_FAULT: "the caller's: arguments, configuration, a file",
    WORLDS_FAULT: "the world's: broker, Redis, registry, port, disk",
    UNKNOWN_EPOCH: "a configuration epoch that this build cannot run",
    STATE_IN_DOUBT: "state and log do not fit together; an operator must choose",
    NO_PROGRESS: "no progress while records waited; the supervisor starts the stage again",
    INTERRUPTED: "interrupted",
}


def settings() -> DeploymentSettings:
    """Deployment settings of this process; the one place where the environment is read."""
    return load_settings(environment(), file=Path("deployment.toml"), dotenv=Path(".env"))


def environment() -> dict[str, str]:
    """The environment of this process, above what `.env` says."""
    return {**load_env_file(Path(".env")), **os.environ}


def answer(document: dict[str, Any], as_json: bool) -> None:
    """The result for machines, where it was asked for."""
    if as_json:
        typer.echo(hidden(json.dumps(document, default=str), secrets_in(environment())))


def fail(code: int, message: str) -> typer.Exit:
    """Say why, and end with this code."""
    text = hidden(message, secrets_in(environment()))
    console.print(f"usp: {text}", style="red", markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(code)


def traceback_shown() -> None:
    """The traceback of the fault at hand on standard error, without credentials."""
    sys.stderr.write(hidden(traceback.format_exc(), secrets_in(environment())))


def stop_writing() -> typer.Exit:
    """The reader of our output has read enough (`usp tail ... | head`): that is no fault."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return typer.Exit(0)


@contextmanager
def faults_told() -> Generator[None]:
    """Known faults end with a sentence and their exit code, not with a traceback."""
    from confluent_kafka import KafkaException

    from ...io.kafka import BusUnavailable
    from ...io.local_process import ServiceUnavailable
    from ...io.reader import UnknownTopic
    from ...io.snapshot_errors import SnapshotCorrupt, SnapshotError
    from ...io.tick_files import TickFileError
    from ..poison import UnknownEpoch
    from ..recovery import RetentionTrap

    try:
        yield
    except BrokenPipeError:
        raise stop_writing() from None
    except SnapshotCorrupt as fault:
        raise fail(WORLDS_FAULT, str(fault)) from fault
    except (ConfigError, UnknownTopic, SnapshotError, TickFileError) as fault:
        raise fail(CALLERS_FAULT, str(fault)) from fault
    except RetentionTrap as fault:
        raise fail(STATE_IN_DOUBT, str(fault)) from fault
    except UnknownEpoch as fault:
        raise fail(UNKNOWN_EPOCH, str(fault)) from fault
    except (ServiceUnavailable, BusUnavailable, TimeoutError, ConnectionError) as fault:
        raise fail(WORLDS_FAULT, str(fault)) from fault
    except KafkaException as fault:
        raise fail(WORLDS_FAULT, f"the broker failed: {fault.args[0].str()}") from fault
    except OSError as fault:
        raise fail(CALLERS_FAULT, f"{fault.strerror}: {fault.filename}") from fault


def servers_of(chosen: DeploymentSettings) -> str:
    """The configured broker; `usp up` writes where its own broker listens."""
    from .running import running_broker

    servers = chosen.bus.bootstrap_servers or running_broker(chosen)
    if not servers:
        raise fail(CALLERS_FAULT, "found no broker; set USP_BUS__BOOTSTRAP_SERVERS, or start one with: usp up")
    return servers


def wire_of(chosen: DeploymentSettings) -> Wire:
    """How records are framed on that broker."""
    from ...io.registry import open_wire

    return open_wire(chosen.bus.schema_registry_url)
