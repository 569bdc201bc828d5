# SPDX-License-Identifier: MIT
"""What a stage process counts, in Prometheus terms. One registry per process, no global state."""

from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def count_resources(registry: CollectorRegistry) -> None:
    """Memory, processor time, open files and collections of this process, under Prometheus' own names."""
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)


class Meter:
    """Counters of one stage process; the names are listed in `runbooks/telemetry.md`."""

    def __init__(self, stage: str, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.stage = stage
        labels = ["stage"]
        self.records_in = Counter("usp_records_in", "Records read", labels, registry=self.registry)
        self.records_out = Counter(
            "usp_records_out", "Records published", ["stage", "topic", "kind"], registry=self.registry
        )
        self.verdicts = Counter(
            "usp_verdict_events", "Events in the verdicts of ingest", ["stage", "event"], registry=self.registry
        )
        self.batch_seconds = Histogram(
            "usp_batch_seconds", "Poll to commit of one batch", labels, buckets=SECONDS, registry=self.registry
        )
        self.commit_seconds = Histogram(
            "usp_commit_seconds", "Encode to commit of one batch", labels, buckets=SECONDS, registry=self.registry
        )
        self.partitions_moved = Counter(
            "usp_partitions_moved", "Partitions given and taken by the group", ["stage", "how"], registry=self.registry
        )
        self.coverage = Gauge(
            "usp_coverage", "Share of values inside their interval, mean over a batch", labels, registry=self.registry
        )
        self.restores = Counter("usp_restores", "Partitions restored", ["stage", "how"], registry=self.registry)
        self.replay_records = Gauge(
            "usp_replay_offsets",
            "Offsets between snapshot and commit at the last restore",
            labels,
            registry=self.registry,
        )
        self.lag_records = Gauge(
            "usp_lag_offsets",
            "Offsets between this stage and the last stable offset",
            ["stage", "topic", "partition"],
            registry=self.registry,
        )
        self.blocked_seconds = Gauge(
            "usp_open_transaction_seconds",
            "How long an open transaction has kept readers from the end of the partition",
            ["stage", "topic", "partition"],
            registry=self.registry,
        )
        self.dropped = Gauge(
            "usp_telemetry_dropped", "Steps whose telemetry the ring dropped", labels, registry=self.registry
        )
        self.lost = Counter(
            "usp_telemetry_lost", "Steps whose telemetry the producer's queue refused", labels, registry=self.registry
        )

    def telemetry_dropped(self, total: int) -> None:
        """How many records the ring has dropped since the start."""
        self.dropped.labels(self.stage).set(total)

    def telemetry_lost(self, steps: int) -> None:
        """A block of so many steps did not fit into the producer's queue."""
        self.lost.labels(self.stage).inc(steps)

    def batch(self, records: int, elapsed_ns: int) -> None:
        """One batch was handled and committed."""
        self.records_in.labels(self.stage).inc(records)
        self.batch_seconds.labels(self.stage).observe(elapsed_ns / 1e9)

    def committed(self, elapsed_ns: int) -> None:
        """The outputs and offsets of a batch are on the broker."""
        self.commit_seconds.labels(self.stage).observe(elapsed_ns / 1e9)

    def rebalanced(self, assigned: int, revoked: int) -> None:
        """The group gave so many partitions to this process, and took so many."""
        for how, count in (("assigned", assigned), ("revoked", revoked)):
            if count:
                self.partitions_moved.labels(self.stage, how).inc(count)

    def sent(self, sends: Sequence[Any]) -> None:
        """These records were published; dead letters count by reason, alerts by event."""
        counts: dict[tuple[str, str], int] = {}
        shares = [send.value.coverage for send in sends if hasattr(send.value, "coverage")]
        if shares:
            self.coverage.labels(self.stage).set(sum(shares) / len(shares))
        for send in sends:
            kind = getattr(send.value, "reason", None) or getattr(send.value, "event", None) or ""
            counts[send.topic.name, kind] = counts.get((send.topic.name, kind), 0) + 1
            for event in getattr(send.value, "events", ()):
                self.verdicts.labels(self.stage, event).inc()
        for (topic, kind), count in counts.items():
            self.records_out.labels(self.stage, topic, kind).inc(count)

    def lag(self, topic: str, partition: int, offsets: int, blocked_s: float) -> None:
        """How far behind the last stable offset, and for how long an open transaction has stood before the end."""
        self.lag_records.labels(self.stage, topic, str(partition)).set(offsets)
        self.blocked_seconds.labels(self.stage, topic, str(partition)).set(blocked_s)

    def cold_start(self, partition: int, committed: int) -> None:
        """No usable snapshot: the partition is replayed from the start of its log."""
        self.restores.labels(self.stage, "cold").inc()
        self.replay_records.labels(self.stage).set(committed)

    def restored(self, partition: int, next_offset: int, committed: int) -> None:
        """A snapshot was loaded; the rest is replayed."""
        self.restores.labels(self.stage, "snapshot").inc()
        self.replay_records.labels(self.stage).set(committed - next_offset)
