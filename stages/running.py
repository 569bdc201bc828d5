# SPDX-License-Identifier: MIT
"""Where the broker of a running `usp up` listens, for commands that are not told a broker."""

import json
from pathlib import Path

from ..config.deployment import DeploymentSettings

MARKER = "running.json"


def running_broker(settings: DeploymentSettings) -> str:
    """Where the broker of a running `usp up` listens; empty if none runs."""
    marker: Path = settings.paths.resolved("data_dir") / MARKER
    return str(json.loads(marker.read_text())["bootstrap_servers"]) if marker.exists() else ""
