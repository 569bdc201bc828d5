# SPDX-License-Identifier: MIT
"""`usp doctor`: what is here, what it guarantees, and what to do about what is missing."""

import platform
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from rich.table import Table

from ..config.deployment import DeploymentSettings
from ..config.errors import ConfigError
from ..config.model import load
from ..io.cache import open_redis
from ..io.kafka_jars import KafkaUnavailable, find_java
from ..io.topics import TopicMismatch
from . import topology
from .running import running_broker

LEAST_FREE_BYTES = 2_000_000_000
ANSWER_S = 3.0


class Finding(NamedTuple):
    """One check: what was found, and what to do if it is not as it should be."""

    name: str
    ok: bool
    found: str
    advice: str = ""


def examine(settings: DeploymentSettings, environ: Mapping[str, str]) -> list[Finding]:
    """Every check, in the order in which a new installation fails."""
    return [
        python(),
        *packages(),
        java(),
        disk(settings),
        data_folder(settings),
        configuration(settings),
        broker(settings),
        cache(settings),
        credentials(settings, environ),
    ]


def python() -> Finding:
    """3.11 to 3.13, 64 bit."""
    right = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Finding("python", right, platform.python_version(), "" if right else "Use Python 3.11, 3.12 or 3.13.")


def packages() -> list[Finding]:
    """The packages that the pipeline stands on."""
    return [package(name) for name in ("jax", "jaxlib", "numpy", "confluent-kafka", "fastavro", "msgpack", "redis")]


def package(name: str) -> Finding:
    """One package and its version."""
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, False, "not installed", "Run: make demo (it installs the lock file), or pip install usp.")


def java() -> Finding:
    """Needed for a local Apache Kafka only."""
    try:
        found = find_java()
        return Finding("java", True, f"{found}")
    except KafkaUnavailable as fault:
        return Finding(
            "java", True, f"none: {fault}", "Only for a local Apache Kafka; the embedded broker runs without."
        )


def disk(settings: DeploymentSettings) -> Finding:
    """Room for logs and snapshots."""
    folder = existing(settings.paths.resolved("data_dir"))
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e9:.1f} GB free at {folder.absolute()}"
    return Finding("disk", free >= LEAST_FREE_BYTES, found, "" if free >= LEAST_FREE_BYTES else "Free 2 GB.")


def existing(path: Path) -> Path:
    """The nearest folder that exists."""
    return path if path.exists() else existing(path.absolute().parent)


def data_folder(settings: DeploymentSettings) -> Finding:
    """Writable by this user."""
    folder = existing(settings.paths.resolved("data_dir"))
    probe = folder / ".usp-doctor"
    try:
        probe.touch()
        probe.unlink()
    except OSError as fault:
        return Finding("data folder", False, f"{folder.absolute()}: {fault.strerror}", "Set USP_PATHS__DATA_DIR.")
    return Finding("data folder", True, f"{folder.absolute()} is writable")


def configuration(settings: DeploymentSettings) -> Finding:
    """The governor's file loads, if there is one yet."""
    named = settings.paths.config_file
    path = settings.paths.resolved("config_file") if named else settings.paths.resolved("data_dir") / "config.toml"
    if not path.is_file():
        return Finding("configuration", True, f"no {path} yet: the governor makes it from the packaged one")
    try:
        return Finding("configuration", True, f"{path} is sound, hash {load(path).content_hash[:12]}")
    except ConfigError as fault:
        return Finding("configuration", False, str(fault), "Correct the file, or restore config.toml.bak beside it.")


def broker(settings: DeploymentSettings) -> Finding:
    """Answers, and its topics are as they must be; says what the delivery mode guarantees."""
    servers = settings.bus.bootstrap_servers or running_broker(settings)
    if not servers:
        return Finding("broker", True, "none configured: usp up and usp demo start one of their own")
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0, **settings.bus.security})
    try:
        found = admin.list_topics(timeout=ANSWER_S)
    except KafkaException as fault:
        return Finding(
            "broker", False, f"{servers}: {fault.args[0].str()}", "Start it, or set USP_BUS__BOOTSTRAP_SERVERS."
        )
    missing = [topic.name for topic in topology.TOPICS if topic.name not in found.topics]
    advice = "Run: usp topics --create" if missing else ""
    wrong = [
        t.name
        for t in topology.TOPICS
        if t.name in found.topics and len(found.topics[t.name].partitions) != t.partitions
    ]
    if wrong:
        return Finding(
            "broker", False, f"{servers}: wrong partition counts: {', '.join(wrong)}", TopicMismatch.__doc__ or ""
        )
    state = f"{len(missing)} topics missing" if missing else "all topics there"
    return Finding("broker", not missing, f"{servers}, {state}, delivery {guarantee(settings)}", advice)


def guarantee(settings: DeploymentSettings) -> str:
    """The delivery mode in plain words."""
    if settings.bus.delivery == "exactly_once":
        return "exactly_once (transactions; readers use read_committed)"
    return "at_least_once (drop repeated record ids)"


def cache(settings: DeploymentSettings) -> Finding:
    """Redis answers, if one is configured."""
    if not settings.redis.url:
        return Finding("redis", True, "none configured: usp up and usp demo start one of their own")
    own = settings.redis
    try:
        client = open_redis(
            own.url, username=own.username, password=own.password, ca_file=own.ca_file, timeout_s=ANSWER_S
        )
        client.ping()  # pyright: ignore[reportUnknownMemberType]  # untyped in redis-py
    except redis.RedisError as fault:
        return Finding("redis", False, f"does not answer: {fault}", "Start it, or correct USP_REDIS__URL.")
    return Finding("redis", True, "answers")


def credentials(settings: DeploymentSettings, environ: Mapping[str, str]) -> Finding:
    """What is set, never its value."""
    names = sorted(name for name in environ if name.startswith("USP_") and is_credential(name))
    shown_set = ", ".join(names) or "none set"
    return Finding("credentials", True, f"{shown_set} (values hidden)")


def is_credential(name: str) -> bool:
    """Names that hold secrets."""
    return any(word in name for word in ("PASSWORD", "SECRET", "KEY", "TOKEN"))


def shown(findings: list[Finding]) -> Table:
    """The findings for people."""
    table = Table(border_style="dim")
    for name in ("", "check", "found", "what to do"):
        table.add_column(name, overflow="fold")
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[bold red]no[/]"
        table.add_row(mark, finding.name, finding.found, finding.advice)
    return table
