# SPDX-License-Identifier: MIT
"""`usp tail`: a topic as JSON lines."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from ...io.avro import Undecodable
from ...io.reader import ReadRecord, TopicReader, UnknownTopic, where
from ...io.wire import SINGLE_OBJECT, Wire
from .. import topology

SHORT = {
    "ticks": topology.MARKET_TICKS,
    "validated": topology.VALIDATED,
    "rejected": topology.REJECTED,
    "predictions": topology.PREDICTIONS,
    "alerts": topology.ALERTS,
    "telemetry": topology.TELEMETRY,
    "proposals": topology.PROPOSALS,
    "decisions": topology.DECISIONS,
    "epochs": topology.EPOCHS,
    "dead-letters": topology.DEAD_LETTERS,
}


def topic_name(given: str) -> str:
    """A short name or a full one; UnknownTopic names what there is."""
    if given in SHORT:
        return SHORT[given].name
    if given in {topic.name for topic in topology.TOPICS}:
        return given
    raise UnknownTopic(f"found topic {given!r}; expected one of {', '.join(SHORT)} or a full topic name")


def follow(
    servers: str,
    security: Mapping[str, str],
    topic: str,
    symbol: str,
    from_start: bool,
    limit: int,
    show: Callable[[str], object],
    wire: Wire = SINGLE_OBJECT,
) -> None:
    """Show records as they come, until `limit` (0: until interrupted)."""
    reader = TopicReader(servers, [topic_name(topic)], from_start=from_start, security=security, wire=wire)
    shown = 0
    try:
        while not limit or shown < limit:
            for record in reader.read():
                if not symbol or getattr(record.value, "symbol", None) == symbol:
                    show(line(record))
                    shown += 1
                    if limit and shown >= limit:
                        break
    finally:
        reader.close()


def line(record: ReadRecord) -> str:
    """One record as a line of JSON: its type, its place, its fields."""
    place = where(record.raw.partition, record.raw.offset)
    if isinstance(record.value, Undecodable):
        return json.dumps({"type": "undecodable", "at": place, "reason": record.value.reason})
    fields = {name: plain(value) for name, value in vars(record.value).items()}
    return json.dumps({"type": type(record.value).__name__, "at": place, **fields})


def plain(value: Any) -> Any:
    """Bytes as hexadecimal, shortened where they are long; the rest as it is."""
    if not isinstance(value, bytes):
        return value
    return value.hex() if len(value) <= 64 else f"{value[:64].hex()}... ({len(value)} bytes)"
