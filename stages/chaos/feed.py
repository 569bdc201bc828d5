# SPDX-License-Identifier: MIT
"""Ticks for a pipeline that is hurt: numbered, at a rate, from a thread; only acknowledged ones count."""

import time
from threading import Event, Thread

from confluent_kafka import KafkaError

from ...config.deployment import DeploymentSettings
from ...io.avro import encode
from ...io.registry import open_wire
from .. import topology
from ..bench.ticks import bench_tick
from ..publisher import tick_producer

SLICE_S = 0.01
FLUSH_S = 60.0
JOIN_S = 90.0


class Feed:
    """Publishes until told to stop, or until `most` ticks are out. `delivered` are those that the broker has."""

    def __init__(
        self, servers: str, settings: DeploymentSettings, symbols: int, rate_per_s: float, most: int | None = None
    ) -> None:
        self.producer = tick_producer(servers, settings.bus.security, open_wire(settings.bus.schema_registry_url))
        self.symbols = symbols
        self.rate_per_s = rate_per_s
        self.most = most
        self.number = 0
        self.delivered = 0
        self.stop = Event()
        self.thread = Thread(target=self.run, name="feed", daemon=True)

    @property
    def done(self) -> bool:
        """Everything that was wished is out."""
        return self.most is not None and self.number >= self.most

    def run(self) -> None:
        """Publish what is due, slice by slice; what a frozen broker kept back comes in a burst."""
        began_s, first = time.monotonic(), self.number
        while not self.stop.wait(SLICE_S) and not self.done:
            due = first + int((time.monotonic() - began_s) * self.rate_per_s)
            self.publish(due - self.number if self.most is None else min(due, self.most) - self.number)
        self.producer.flush(FLUSH_S)

    def publish(self, count: int) -> None:
        """The next ticks."""
        for _ in range(count):
            tick = bench_tick(self.number, self.symbols, time.time_ns())
            self.number += 1
            try:
                self.producer.produce(
                    topology.MARKET_TICKS.name, key=tick.symbol.encode(), value=encode(tick), on_delivery=self.count
                )
            except BufferError:
                self.producer.poll(0.5)
        self.producer.poll(0)

    def count(self, fault: KafkaError | None, message: object) -> None:
        """The broker has it."""
        del message
        self.delivered += fault is None

    def finish(self) -> int:
        """Stop; how many ticks the broker has."""
        self.stop.set()
        if self.thread.is_alive():
            self.thread.join(JOIN_S)
        self.producer.flush(FLUSH_S)
        return self.delivered
