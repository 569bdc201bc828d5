# SPDX-License-Identifier: MIT
"""Reads the topics for the live page while somebody looks at it, on a thread of its own.

A reader of its own, outside every group and transaction: whatever happens to it, the stage beside it goes on.
"""

import time
from collections.abc import Mapping, Sequence
from threading import Event, Thread
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from ...io.kafka_client import CALL_TIMEOUT_S, BusUnavailable
from ...io.live_server import Rows
from ...io.reader import TopicReader, UnknownTopic
from ...io.wire import SINGLE_OBJECT, Wire
from .. import topology
from .live_window import LiveWindow

TOPICS = (topology.PREDICTIONS, topology.REJECTED, topology.DEAD_LETTERS, topology.ALERTS, topology.EPOCHS)
NEWEST = 20_000
LINGER_S = 60.0
RETRY_S = 2.0
LOOK_S = 0.2


class NewestReader(TopicReader):
    """Begins a little before the end: at most `newest` records of each partition, then what comes."""

    newest = NEWEST

    def places(self, topics: Sequence[str], from_start: bool) -> list[TopicPartition]:
        """See `TopicReader.places`."""
        places = super().places(topics, from_start=True)
        for place in places:
            low, high = self.consumer.get_watermark_offsets(place, timeout=CALL_TIMEOUT_S)
            place.offset = max(low, high - self.newest)
        return places


class LiveFeed:
    """A `LiveSource` over the topics of a broker. Used as a context: leaving it ends the thread."""

    def __init__(
        self, servers: str, security: Mapping[str, str], log: Any, window: LiveWindow, wire: Wire = SINGLE_OBJECT
    ) -> None:
        self.servers = servers
        self.security = security
        self.wire = wire
        self.log = log
        self.window = window
        self.wanted = Event()
        self.stop = Event()
        self.last_watched_s = 0.0
        self.thread = Thread(target=self.follow, name="live-feed", daemon=True)

    def __enter__(self) -> "LiveFeed":
        self.thread.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self.stop.set()
        self.wanted.set()
        self.thread.join(CALL_TIMEOUT_S)

    def watched(self, watchers: int) -> None:
        """Reading begins with the first watcher and ends a while after the last."""
        self.last_watched_s = time.monotonic()
        if watchers:
            self.wanted.set()
        else:
            self.wanted.clear()

    def wait(self, version: int, timeout_s: float) -> int:
        """See `LiveWindow.wait`."""
        return self.window.wait(version, timeout_s)

    def overview(self, now_ns: int) -> str:
        """See `LiveWindow.overview`."""
        return self.window.overview(now_ns)

    def rows(self, symbol: str, run: int, after: int, most: int) -> Rows:
        """See `LiveWindow.rows`."""
        return self.window.rows(symbol, run, after, most)

    def follow(self) -> None:
        """Wait until somebody looks, read until nobody does; a broker that fails is tried again."""
        while not self.stop.is_set():
            if not self.wanted.wait(LOOK_S) or self.stop.is_set():
                continue
            try:
                self.read()
            except (BusUnavailable, UnknownTopic, KafkaException) as fault:
                self.log.warning("live page cannot read", fault=str(fault))
                self.stop.wait(RETRY_S)

    def read(self) -> None:
        """One reader's life: from the newest records on."""
        names = [topic.name for topic in TOPICS]
        reader = NewestReader(self.servers, names, from_start=True, security=self.security, wire=self.wire)
        self.window.clear()
        try:
            while not self.stop.is_set() and self.is_wanted():
                records = reader.read(timeout_s=LOOK_S)
                self.window.add([(each.value, each.raw.timestamp_ns) for each in records], time.time_ns())
        finally:
            reader.close()

    def is_wanted(self) -> bool:
        """Somebody looks, or did so a moment ago."""
        return self.wanted.is_set() or time.monotonic() - self.last_watched_s < LINGER_S
