# SPDX-License-Identifier: MIT
"""Structured logs on standard error: one JSON object per line for machines, text for people."""

import logging
import sys
from typing import Any

import structlog


def configure_logs(level: str, style: str, **context: str) -> Any:
    """A logger that puts `context` (stage, instance) on every line. Call once per process."""
    renderer = structlog.processors.JSONRenderer() if style == "json" else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks if style == "json" else structlog.processors.StackInfoRenderer(),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    return structlog.get_logger(**context)
