# SPDX-License-Identifier: MIT
"""How a report looks: the dashboard's keys of the model configuration, as the renderer takes them."""

from typing import TypedDict

from ...config.deployment import PathsSettings
from ...config.model import ModelConfig, load, packaged_defaults


class Look(TypedDict):
    """Title, width and height of a chart in pixels, rows of the table, least spread of an axis."""

    title: str
    width: int
    height: int
    recent_rows: int
    spread_epsilon: float


def look_of(config: ModelConfig) -> Look:
    """The look that a configuration asks for."""
    keys = config.io
    return Look(
        title=keys.telemetry_dashboard_title,
        width=keys.telemetry_dashboard_width,
        height=keys.telemetry_dashboard_height,
        recent_rows=keys.telemetry_dashboard_recent_rows,
        spread_epsilon=keys.telemetry_dashboard_spread_epsilon,
    )


def governed_look(paths: PathsSettings) -> Look:
    """That of the governor's file, or of the packaged configuration where there is none yet; ConfigError if bad."""
    governed = paths.resolved("config_file")
    return look_of(load(governed) if governed.exists() else packaged_defaults())
