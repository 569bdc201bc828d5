# SPDX-License-Identifier: MIT
"""`usp doctor`: what is here, what it guarantees, and what to do about what is missing."""

import platform
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ...config.deployment import DeploymentSettings, is_secret
from ...config.errors import ConfigError
from ...config.model import load
from ...io.kafka_jars import KafkaUnavailable, find_java
from ...io.ports import is_free
from .doctor_services import broker_findings, redis_findings, registry
from .findings import Finding, shown

__all__ = ["Finding", "examine", "shown"]

LEAST_FREE_BYTES = 2_000_000_000
SECRET_NAMES = ("key", "credential")


def examine(settings: DeploymentSettings, environ: Mapping[str, str]) -> list[Finding]:
    """Every check, in the order in which a new installation fails."""
    return [
        python(),
        *packages(),
        java(),
        disk(settings),
        *folders(settings),
        env_file(),
        configuration(settings),
        metrics_port(settings),
        *broker_findings(settings),
        *redis_findings(settings),
        registry(settings),
        credentials(environ),
    ]


def python() -> Finding:
    """3.11 to 3.13, 64 bit."""
    right = (3, 11) <= sys.version_info[:2] <= (3, 13) and sys.maxsize > 2**32
    advice = "" if right else "Use Python 3.11, 3.12 or 3.13 in 64 bit."
    return Finding("python", right, platform.python_version(), advice)


def packages() -> list[Finding]:
    """The packages that the pipeline stands on."""
    names = ("usp", "jax", "jaxlib", "numpy", "confluent-kafka", "fastavro", "msgpack", "redis")
    return [package(name) for name in names]


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
        return Finding("java", True, f"{found.version} at {found.path}")
    except KafkaUnavailable as fault:
        advice = "Only for a local Apache Kafka; the embedded broker runs without."
        return Finding("java", True, f"none: {fault}", advice)


def disk(settings: DeploymentSettings) -> Finding:
    """Room for logs and snapshots."""
    folder = existing(settings.paths.resolved("data_dir"))
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e9:.1f} GB free at {folder.absolute()}"
    return Finding("disk", free >= LEAST_FREE_BYTES, found, "" if free >= LEAST_FREE_BYTES else "Free 2 GB.")


def existing(path: Path) -> Path:
    """The nearest folder that exists."""
    return path if path.exists() else existing(path.absolute().parent)


def folders(settings: DeploymentSettings) -> list[Finding]:
    """Everything that the processes write must be writable by this user."""
    named = {"data folder": "data_dir", "snapshots": "snapshots", "compile cache": "cache_dir"}
    return [writable(name, key, settings.paths.resolved(key)) for name, key in named.items()]


def writable(name: str, key: str, path: Path) -> Finding:
    """One folder, or where it will be made."""
    folder = existing(path)
    probe = folder / ".usp-doctor"
    try:
        probe.touch()
        probe.unlink()
    except OSError as fault:
        advice = f"Set USP_PATHS__{key.upper()}, or correct its permissions."
        return Finding(name, False, f"{folder.absolute()}: {fault.strerror}", advice)
    return Finding(name, True, f"{path.absolute()} {'is writable' if folder == path else 'can be made'}")


def env_file(path: Path = Path(".env")) -> Finding:
    """Credentials in a file that others can read are no longer secret."""
    if not path.is_file():
        return Finding("env file", True, "none; credentials come from the environment alone")
    mode = path.stat().st_mode & 0o777
    advice = "" if mode & 0o077 == 0 else f"Run: chmod 600 {path}"
    return Finding("env file", not advice, f"{path} with permissions {mode:o}", advice)


def configuration(settings: DeploymentSettings) -> Finding:
    """The governor's file loads, if there is one yet."""
    path = settings.paths.resolved("config_file")
    if not path.is_file():
        return Finding("configuration", True, f"no {path} yet: the governor makes it from the packaged one")
    try:
        return Finding("configuration", True, f"{path} is sound, hash {load(path).content_hash[:12]}")
    except ConfigError as fault:
        return Finding("configuration", False, str(fault), "Correct the file, or restore config.toml.bak beside it.")


def metrics_port(settings: DeploymentSettings) -> Finding:
    """The port of /metrics is free, or taken by a stage that runs."""
    own = settings.metrics
    if own.port == 0:
        return Finding("metrics port", True, "off; usp up and usp demo choose ports of their own")
    state = "is free" if is_free(own.port) else "is taken: by a running stage, if one runs here"
    return Finding("metrics port", True, f"{own.host}:{own.port} {state}")


def credentials(environ: Mapping[str, str]) -> Finding:
    """What is set, never its value."""
    names = sorted(name for name in environ if name.startswith("USP_") and is_credential(name))
    return Finding("credentials", True, f"{', '.join(names) or 'none set'} (values hidden)")


def is_credential(name: str) -> bool:
    """Names that hold secrets."""
    lower = name.lower()
    return is_secret(lower) or any(word in lower for word in SECRET_NAMES)
