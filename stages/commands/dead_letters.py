# SPDX-License-Identifier: MIT
"""`usp dlq`: what was refused, why, and bringing it back as new ticks."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from ...io.bus import Partition
from ...io.reader import TopicReader, where
from ...io.wire import SINGLE_OBJECT, Wire
from ...schemas.records import DeadLetter
from .. import topology
from ..publisher import tick_producer

SILENCE_READS = 5


def letters(servers: str, security: Mapping[str, str], reason: str, wire: Wire = SINGLE_OBJECT) -> Iterator[DeadLetter]:
    """Every dead letter that is kept, oldest first per partition."""
    topics = [topology.REJECTED.name, topology.DEAD_LETTERS.name]
    reader = TopicReader(servers, topics, from_start=True, security=security, wire=wire)
    try:
        silent = 0
        while silent < SILENCE_READS:
            records = reader.read(timeout_s=0.3)
            silent = 0 if records else silent + 1
            for record in records:
                if isinstance(record.value, DeadLetter) and reason in ("", record.value.reason):
                    yield record.value
    finally:
        reader.close()


def list_letters(
    servers: str,
    security: Mapping[str, str],
    reason: str,
    as_json: bool,
    show: Callable[[str], object],
    wire: Wire = SINGLE_OBJECT,
) -> None:
    """One line per letter, then how many there are of each reason."""
    counts: Counter[str] = Counter()
    for letter in letters(servers, security, reason, wire):
        counts[letter.reason] += 1
        place = where(Partition(letter.source_topic, letter.source_partition), letter.source_offset)
        if as_json:
            show(json.dumps({"at": place, "stage": letter.stage, "reason": letter.reason, "detail": letter.detail}))
        else:
            show(f"{place:32} {letter.stage:14} {letter.reason:20} {letter.detail}")
    if not as_json:
        show(", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "no dead letters")


def replay_letters(servers: str, security: Mapping[str, str], reason: str, wire: Wire = SINGLE_OBJECT) -> int:
    """Publish the original bytes once more, with the original key; returns how many."""
    producer = tick_producer(servers, security, wire)
    count = 0
    for letter in letters(servers, security, reason, wire):
        if letter.source_topic == topology.MARKET_TICKS.name:
            producer.produce(topology.MARKET_TICKS.name, key=letter.key, value=letter.value)
            producer.poll(0)
            count += 1
    producer.flush(30.0)
    return count
