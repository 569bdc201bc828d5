# SPDX-License-Identifier: MIT
"""Configuration: what decides a prediction (`model`, hashed), and where a process finds things (`settings`)."""

from .errors import ConfigError
from .model import ModelConfig, load, packaged_defaults

__all__ = ["ConfigError", "ModelConfig", "load", "packaged_defaults"]
