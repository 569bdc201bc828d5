# SPDX-License-Identifier: MIT
"""Structured logs on standard error: one JSON object per line for machines, text for people.

No secret and no signal: credentials are hidden in whatever a line holds, and what is logged about a record is its
place, never its content. A line that repeats is written a few times, then counted.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, TextIO, cast

import structlog

from .secrets_hidden import hidden

Event = MutableMapping[str, Any]
REPEATS, WINDOW_S = 5, 60.0
SPARED = ("info", "critical")


class RepeatLimit:
    """Passes the first few lines of an event in a window; the next window's first line says how many were left out."""

    def __init__(
        self, most: int = REPEATS, window_s: float = WINDOW_S, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.most, self.window_s, self.now_s = most, window_s, now_s
        self.seen: dict[tuple[str, str], tuple[float, int]] = {}

    def __call__(self, logger: Any, method: str, event: Event) -> Event:
        """A processor of structlog; raises DropEvent for a line too many. What is rare or critical always passes."""
        del logger
        if method in SPARED:
            return event
        name = (method, str(event.get("event")))
        began_s, count = self.seen.get(name, (self.now_s(), 0))
        if self.now_s() - began_s >= self.window_s:
            left_out = max(0, count - self.most)
            began_s, count = self.now_s(), 0
            if left_out:
                event["left_out"] = left_out
        self.seen[name] = (began_s, count + 1)
        if count >= self.most:
            raise structlog.DropEvent
        return event


class Hiding:
    """Standard error without secrets; structlog's last step writes here."""

    def __init__(self, stream: TextIO, secrets: Iterable[str]) -> None:
        self.stream = stream
        self.secrets = tuple(secrets)

    def write(self, text: str) -> int:
        """Write what is left of the text."""
        return self.stream.write(hidden(text, self.secrets))

    def flush(self) -> None:
        """Nothing is kept back."""
        self.stream.flush()


def configure_logs(level: str, style: str, secrets: Iterable[str] = (), **context: str) -> Any:
    """A logger that puts `context` (stage, instance) on every line. Call once per process.

    `style` auto is text on a terminal, JSON elsewhere.
    """
    is_json = style == "json" or (style == "auto" and not sys.stderr.isatty())
    frames = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)  # locals hold prices and passwords
    endings: list[Any] = (
        [structlog.processors.ExceptionRenderer(frames), structlog.processors.JSONRenderer(default=str)]
        if is_json
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            RepeatLimit(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *endings,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, Hiding(sys.stderr, secrets))),
        cache_logger_on_first_use=True,
    )
    return structlog.get_logger(**context)
