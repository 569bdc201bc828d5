# SPDX-License-Identifier: MIT
"""The records of the pipeline as Python types, one class per .avsc file of this folder.

Field by field the same as the schemas (tested there); units and meanings stand in the schemas' docs.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

TickKind: TypeAlias = Literal["trade", "quote", "heartbeat"]
Verdict: TypeAlias = Literal["passed", "rolled_back", "inconclusive"]
Severity: TypeAlias = Literal["info", "warning", "critical"]
OperatingMode: TypeAlias = Literal["inference", "calibration", "diagnostic"]
Outcome: TypeAlias = Literal["prepared", "accepted", "refused", "rolled_back"]
ProposalAction: TypeAlias = Literal["change", "rollback", "adopt"]


@dataclass(frozen=True, kw_only=True)
class Tick:
    """One market tick, as published by a market-data team."""

    symbol: str
    venue: str
    kind: TickKind
    price: float
    size: float | None
    bid: float | None
    ask: float | None
    sequence: int | None
    ts_event_ns: int
    ts_publish_ns: int
    producer_id: str


@dataclass(frozen=True, kw_only=True)
class TickBlock:
    """Many ticks of one symbol, packed for high-rate producers; never split over transactions."""

    symbol: str
    venue: str
    kind: TickKind
    rows: bytes
    ts_publish_ns: int
    producer_id: str


@dataclass(frozen=True, kw_only=True)
class ValidatedTick:
    """A tick with the verdict of ingest: all that follows is a pure function of this record."""

    origin_partition: int
    origin_offset: int
    origin_row: int
    symbol: str
    venue: str
    kind: TickKind
    price: float
    size: float | None
    bid: float | None
    ask: float | None
    sequence: int | None
    ts_event_ns: int
    ts_publish_ns: int
    producer_id: str
    accept: bool
    suspend_jko_update: bool
    degraded_mode: bool
    freeze_kernel_d: bool
    staleness_ns: int
    validated_ns: int
    events: list[str]
    ingest_config_hash: str


@dataclass(frozen=True, kw_only=True)
class Silence:
    """A symbol has been quiet beyond its limit; starts degraded mode without a tick. May repeat after a restart."""

    symbol: str
    origin_partition: int
    after_offset: int
    quiet_limit_ns: int


@dataclass(frozen=True, kw_only=True)
class ConfigEpoch:
    """A full model configuration that takes effect at this offset of its partition."""

    epoch: int
    config: bytes
    config_hash: str
    previous_hash: str
    proposal_id: str
    rollback: bool
    baseline_rmse: float | None
    created_ns: int


@dataclass(frozen=True, kw_only=True)
class EpochVerdict:
    """The judgement on an epoch; ends its monitoring window at this offset."""

    epoch: int
    verdict: Verdict
    relative_increase: float | None
    predictions: int


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A record that was refused, with the bytes as they came, so that nothing vanishes."""

    stage: str
    reason: str
    detail: str
    source_topic: str
    source_partition: int
    source_offset: int
    source_row: int
    symbol: str | None
    key: bytes | None
    value: bytes | None
    refused_ns: int


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Something the people on call may need to know; one per event."""

    event: str
    severity: Severity
    stage: str
    symbol: str | None
    origin_partition: int | None
    origin_offset: int | None
    timestamp_ns: int
    detail: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One-step-ahead forecast of a symbol's next value, with its proof."""

    record_id: str
    symbol: str
    origin_partition: int
    origin_offset: int
    origin_row: int
    ts_event_ns: int
    config_epoch: int
    config_hash: str
    state_step: int
    value: float
    mean: float
    median: float
    lo: float
    hi: float
    sigma: float
    kernel_means: list[float]
    kernel_sigmas: list[float]
    kernel_health: list[int]
    weights: list[float]
    error: float | None
    shadow_mean: float | None
    shadow_error: float | None
    accepted: bool
    operating_mode: OperatingMode
    degraded_inference_mode: bool
    emergency_mode: bool
    regime_change_detected: bool
    mode_collapse_warning: bool
    jko_suspended: bool
    kernel_d_frozen: bool
    sinkhorn_converged: bool
    holder_exponent: float
    cusum_drift: float
    cusum_drift_down: float
    adaptive_threshold: float
    distance_to_collapse: float
    free_energy: float
    kurtosis: float
    dgm_entropy: float
    ema_variance: float
    coverage: float


@dataclass(frozen=True, kw_only=True)
class SnapshotChunk:
    """A piece of a stage's state, on its way to the snapshotter."""

    snapshot_id: str
    stage: str
    partition: int
    next_offset: int
    step: int
    index: int
    count: int
    payload: bytes


@dataclass(frozen=True, kw_only=True)
class TelemetryBlock:
    """Diagnostics of many steps of one origin partition, packed; carries no raw signal."""

    sequence: int
    dropped: int
    origin_partition: int
    symbols: list[str]
    record_ids: bytes
    positions: bytes
    columns: list[str]
    values: bytes
    hash_algorithm: str
    digest: bytes
    snapshots: dict[str, str]
    adaptive: dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class ConfigProposal:
    """A wish to change the model configuration."""

    proposal_id: str
    proposer: str
    trigger: str
    changes: dict[str, str]
    best_objective: float | None
    proposed_ns: int
    expires_ns: int | None
    nonce: str | None
    signature: str | None
    action: ProposalAction = "change"
    target: str | None = None


@dataclass(frozen=True, kw_only=True)
class ConfigDecision:
    """The governor's answer to a proposal."""

    proposal_id: str
    outcome: Outcome
    reason: str
    epoch: int | None
    config_hash: str | None
    config: bytes | None
    decided_ns: int


@dataclass(frozen=True, kw_only=True)
class ConfigAck:
    """An orchestrator can (or cannot) run a prepared configuration."""

    proposal_id: str
    partition: int
    able: bool
    detail: str
    sent_ns: int


@dataclass(frozen=True, kw_only=True)
class AuditHead:
    """The newest line of the audit log, noted where who edits the log cannot reach."""

    sequence: int
    head: str
    noted_ns: int


AnyRecord: TypeAlias = (
    Tick
    | TickBlock
    | ValidatedTick
    | Silence
    | ConfigEpoch
    | EpochVerdict
    | DeadLetter
    | Alert
    | Prediction
    | SnapshotChunk
    | TelemetryBlock
    | ConfigProposal
    | ConfigDecision
    | ConfigAck
    | AuditHead
)

RECORDS: tuple[type[AnyRecord], ...] = (
    Tick,
    TickBlock,
    ValidatedTick,
    Silence,
    ConfigEpoch,
    EpochVerdict,
    DeadLetter,
    Alert,
    Prediction,
    SnapshotChunk,
    TelemetryBlock,
    ConfigProposal,
    ConfigDecision,
    ConfigAck,
    AuditHead,
)
