# SPDX-License-Identifier: MIT
"""One line of a telemetry log as a value: where it came from, what it says, and whether it was seen before."""

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .adaptive_telemetry import json_number

REMEMBERED_IDS = 100_000
BUILD_HEADER = "usp-build"
ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Source(NamedTuple):
    """Where a line came from: `row` counts within the record, `logged_ns` is the broker's stamp of that record."""

    partition: int
    offset: int
    row: int
    logged_ns: int


class TelemetryLine(NamedTuple):
    """One record of telemetry. Steps of a symbol rise by at most `stride`, or something was lost."""

    record_id: str
    symbol: str
    step: int
    stride: int
    source: Source
    fields: Mapping[str, Any]


class Gap(NamedTuple):
    """Steps of a symbol that never came, both ends excluded."""

    symbol: str
    after_step: int
    before_step: int


class Appended(NamedTuple):
    """What one append did. `restarted` are the partitions whose log was made anew."""

    written: int
    repeated: int
    gaps: tuple[Gap, ...]
    restarted: tuple[int, ...]


@dataclass
class Seen:
    """What a file holds of one partition."""

    place: tuple[int, int] = (-1, -1)
    logged_ns: int = -1
    ids: OrderedDict[str, None] = field(default_factory=OrderedDict[str, None])
    steps: dict[str, int] = field(default_factory=dict[str, int])

    def take(self, record_id: str, symbol: str, step: int, source: Source) -> None:
        """Remember a line; only so many ids are kept."""
        self.place = max(self.place, (source.offset, source.row))
        self.logged_ns = max(self.logged_ns, source.logged_ns)
        self.steps[symbol] = step
        self.ids[record_id] = None
        if len(self.ids) > REMEMBERED_IDS:
            self.ids.popitem(last=False)

    def has(self, line: TelemetryLine) -> bool:
        """True for what was read again, or sent again; the step of a snapshot comes once more, with its hash."""
        if (line.source.offset, line.source.row) <= self.place:
            return True
        return line.record_id in self.ids and line.fields.get("snapshot_hash") is None

    def is_before(self, source: Source) -> bool:
        """True if the log was made anew: a lower place that was logged later."""
        return (source.offset, source.row) <= self.place and source.logged_ns > self.logged_ns


def gap_before(line: TelemetryLine, seen: Seen) -> Gap | None:
    """The steps that are missing before a line; None for the first of its symbol and for steps that come again."""
    last = seen.steps.get(line.symbol)
    if last is None or line.step <= last + line.stride:
        return None
    return Gap(line.symbol, last, line.step)


def dumped(entries: Mapping[str, Any], source: Source) -> str:
    """One line; the source stands last."""
    whole = {**entries, "source": source._asdict()}
    try:
        return ENCODER.encode(whole) + "\n"
    except ValueError:  # a NaN or an infinity, which JSON has no number for
        return ENCODER.encode(json_number(whole)) + "\n"
