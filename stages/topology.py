# SPDX-License-Identifier: MIT
"""The whole pipeline on one screen: every topic, who writes it, who reads it.

Offsets, transactional ids and the log live longer than the oldest unpinned snapshot, or a restart could find its
replay gone: `TICKS.retention_days >= SNAPSHOT_MAX_AGE_DAYS + 1` and `OFFSET_RETENTION_DAYS` no less.
"""

from importlib import import_module
from typing import Any

from ..io.topics import TopicSpec
from ..schemas import records as r
from .contract import Stage, Topic

PARTITIONS = 8
SNAPSHOT_MAX_AGE_DAYS = 6.0
OFFSET_RETENTION_DAYS = 14.0

# fmt: off
MARKET_TICKS = Topic("market.ticks.v1",     (r.Tick, r.TickBlock),                   "symbol", PARTITIONS, 7.0,  doc="what producers publish")
VALIDATED    = Topic("ticks.validated.v1",  (r.ValidatedTick, r.Silence, r.ConfigEpoch, r.EpochVerdict, r.ConfigDecision, r.AuditHead), "symbol", PARTITIONS, 7.0, doc="ticks with their verdict; configuration in-band")
REJECTED     = Topic("ticks.rejected.v1",   (r.DeadLetter,),                         "symbol", PARTITIONS, 30.0, doc="dead letters of ingest")
PREDICTIONS  = Topic("predictions.v1",      (r.Prediction,),                         "symbol", PARTITIONS, 30.0, doc="one per accepted or outlier tick")
ALERTS       = Topic("alerts.v1",           (r.Alert,),                              "symbol", 1,          30.0, doc="events for people on call")
SNAPSHOTS    = Topic("state.snapshots.v1",  (r.SnapshotChunk,),                      "stage/partition", PARTITIONS, 2.0, doc="state on its way to disk")
TELEMETRY    = Topic("telemetry.v1",        (r.TelemetryBlock,),                     "partition", PARTITIONS, 7.0,  doc="diagnostics of each step")
PROPOSALS    = Topic("config.proposals.v1", (r.ConfigProposal,),                     "proposal_id", 1,     30.0, doc="wishes to change the configuration")
DECISIONS    = Topic("config.decisions.v1", (r.ConfigDecision,),                     "proposal_id", 1,     30.0, doc="the governor's answers")
ACKS         = Topic("config.acks.v1",      (r.ConfigAck,),                          "proposal_id", 1,     7.0,  doc="orchestrators can run it")
EPOCHS       = Topic("config.epochs.v1",    (r.ConfigEpoch, r.EpochVerdict),         "epoch",  1,          None, compacted=True, doc="every configuration that was in force, and its verdict")
AUDIT        = Topic("config.audit.v1",     (r.AuditHead,),                          "head",   1,          None, compacted=True, doc="the newest line of the audit log")
DEAD_LETTERS = Topic("dead.letters.v1",     (r.DeadLetter,),                         "stage",  1,          30.0, doc="dead letters of the other stages")

TOPICS = (MARKET_TICKS, VALIDATED, REJECTED, PREDICTIONS, ALERTS, SNAPSHOTS, TELEMETRY, PROPOSALS, DECISIONS, ACKS, EPOCHS, AUDIT, DEAD_LETTERS)

STAGES: dict[str, tuple[tuple[Topic, ...], tuple[Topic, ...]]] = {
    #                  reads                                    writes
    "ingest":         ((MARKET_TICKS,),                         (VALIDATED, REJECTED, ALERTS, SNAPSHOTS)),
    "orchestrator":   ((VALIDATED,),                            (PREDICTIONS, ALERTS, SNAPSHOTS, TELEMETRY, ACKS, DEAD_LETTERS)),
    "snapshotter":    ((SNAPSHOTS,),                            (ALERTS, DEAD_LETTERS)),
    "telemetry-sink": ((TELEMETRY,),                            (ALERTS, DEAD_LETTERS)),
    "governor":       ((PROPOSALS, ACKS, PREDICTIONS, EPOCHS, AUDIT), (VALIDATED, DECISIONS, EPOCHS, AUDIT, ALERTS, DEAD_LETTERS)),
}
EXTERNAL_WRITERS = {MARKET_TICKS: "producers", PROPOSALS: "operators, tuner"}
EXTERNAL_READERS = {PREDICTIONS: "consumers", ALERTS: "people on call", REJECTED: "usp dlq", DECISIONS: "operators, tuner", AUDIT: "usp audit verify", DEAD_LETTERS: "usp dlq"}
# fmt: on


def specs(topics: tuple[Topic, ...] = TOPICS) -> list[TopicSpec]:
    """The topics as the broker must hold them. The broker stamps market ticks, so that no producer's clock decides."""
    return [TopicSpec(t.name, t.partitions, settings_of(t)) for t in topics]


def settings_of(topic: Topic) -> dict[str, str]:
    """Broker-side settings of a topic."""
    settings = {"cleanup.policy": "compact" if topic.compacted else "delete"}
    if topic.retention_days is not None:
        settings["retention.ms"] = str(int(topic.retention_days * 86_400_000))
    if topic is MARKET_TICKS:
        settings["message.timestamp.type"] = "LogAppendTime"
    if topic in (SNAPSHOTS, REJECTED, DEAD_LETTERS):
        settings["max.message.bytes"] = "4000000"
    return settings


def stage(name: str) -> Stage[Any]:
    """The stage of that name; its module is loaded only now, so that a sink never loads JAX."""
    return import_module(f".{name.replace('-', '_')}", __package__).STAGE


def draw() -> str:
    """The pipeline as text, one stage a line: what it reads, what it writes. The README shows it."""
    width = max(len(t.name) for reads, _ in STAGES.values() for t in reads)
    lines: list[str] = []
    for name, (reads, writes) in STAGES.items():
        rows = max(len(reads), len(writes))
        for i in range(rows):
            left = reads[i].name if i < len(reads) else ""
            box = f"-> [{name:^14}] ->" if i == 0 else " " * 23
            right = writes[i].name if i < len(writes) else ""
            lines.append(f"{left:>{width}} {box} {right}".rstrip())
        lines.append("")
    return "\n".join(lines).rstrip()
