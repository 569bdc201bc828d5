# SPDX-License-Identifier: MIT
"""Executes what the telemetry sink asks for. A disk that refuses ends the process: its input waits in the log."""

from collections.abc import Mapping, Sequence

from ..io.line_log import LineLog
from .contract import Reply
from .telemetry_sink import AppendLines, LinesAppended, LogName


def append_lines(logs: Mapping[LogName, LineLog], effect: AppendLines) -> Sequence[Reply]:
    """A reply only where something is missing."""
    done = logs[effect.log].append(effect.lines)
    return (LinesAppended(effect.log, done.gaps, done.restarted),) if done.gaps or done.restarted else ()
