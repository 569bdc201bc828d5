# SPDX-License-Identifier: MIT
"""Versions of the configuration as the `usp config` commands name them: the file, what is in force, any epoch."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...config.deployment import DeploymentSettings
from .console import CALLERS_FAULT, WORLDS_FAULT, fail, servers_of, wire_of

if TYPE_CHECKING:  # commands that need no broker start without its client
    from .config_client import Broker, Version


def broker_of(chosen: DeploymentSettings) -> "Broker":
    """The configured broker, or the one of a running `usp up`."""
    from .config_client import Broker

    return Broker(servers_of(chosen), chosen.bus.security, wire_of(chosen))


def file_text(chosen: DeploymentSettings) -> tuple[Path | None, str]:
    """The governor's file; the packaged text before its first start."""
    from ...config.model import packaged_text

    path = chosen.paths.resolved("config_file")
    return (path, path.read_text(encoding="utf-8")) if path.exists() else (None, packaged_text())


def newest(broker: "Broker") -> "Version":
    """The version in force; an error where the governor has published none."""
    from .config_client import versions

    found = versions(broker)
    if not found:
        raise fail(WORLDS_FAULT, "found no epoch; expected one from the governor. Is it running? usp doctor")
    return found[-1]


def version_named(name: str, chosen: DeploymentSettings) -> Mapping[str, Any]:
    """The values of a version."""
    from ...config.model import load, packaged_defaults

    if name == "packaged":
        return packaged_defaults().to_mapping()
    if name == "file":
        return load(file_text(chosen)[1]).to_mapping()
    if name == "force":
        return newest(broker_of(chosen)).config.to_mapping()
    return by_hash(name, chosen).config.to_mapping()


def by_hash(digits: str, chosen: DeploymentSettings) -> "Version":
    """The one version whose hash begins like this."""
    from .config_client import versions

    found = {v.epoch.config_hash: v for v in versions(broker_of(chosen)) if v.epoch.config_hash.startswith(digits)}
    if len(found) != 1:
        expected = "expected file, force, packaged, or the beginning of one hash of usp config history"
        raise fail(CALLERS_FAULT, f"found {len(found)} versions for {digits!r}; {expected}")
    return next(iter(found.values()))
