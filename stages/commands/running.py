# SPDX-License-Identifier: MIT
"""Where a running `usp up` listens, for commands that are not told."""

import json
from pathlib import Path
from typing import Any

from ...config.deployment import DeploymentSettings

MARKER = "running.json"


def running_broker(settings: DeploymentSettings) -> str:
    """Where the broker of a running `usp up` listens; empty if none runs."""
    return str(running(settings).get("bootstrap_servers", ""))


def running_dashboard(settings: DeploymentSettings) -> int:
    """The port of the live page of a running `usp up`; 0 if none runs."""
    return int(running(settings).get("dashboard_port", 0))


def running(settings: DeploymentSettings) -> dict[str, Any]:
    """What a running `usp up` wrote down; empty if none runs."""
    marker: Path = settings.paths.resolved("data_dir") / MARKER
    return json.loads(marker.read_text()) if marker.exists() else {}
