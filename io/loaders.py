# SPDX-License-Identifier: MIT
"""The ingestion gate: what is to be done with an observation, as flags that everything behind it obeys.

`evaluate_ingestion` is the library's door; the ingest stage uses `judge` beneath it, which also gives the history
after the observation and reads no clock but for the age.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import NamedTuple

from ..config.model import ModelConfig
from .ingest_events import FutureStampEvent, NonFiniteObservationEvent, StaleSignalEvent
from .ingest_rules import IngestRules, ingest_rules
from .signal_history import Events, SignalHistory, observe
from .validators import compute_staleness_ns, is_future_stamp, is_stale

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class IngestionDecision(NamedTuple):
    """The verdict on an observation. Requirement 7.1.2."""

    accept_observation: bool
    suspend_jko_update: bool
    degraded_mode: bool
    freeze_kernel_d: bool
    staleness_ns: int
    events: Events


@dataclass(frozen=True, kw_only=True)
class ProcessState:
    """One observation: its value, when it was made (ns since 1970 UTC), and optionally its symbol and dispersion.

    `state_tag` names the symbol whose own rules of the configuration hold; `dispersion_proxy` is carried along.
    """

    magnitude: float
    timestamp_ns: int
    state_tag: str | None = None
    dispersion_proxy: float | None = None

    @property
    def timestamp_utc(self) -> datetime:
        """The time stamp, cut to microseconds."""
        return EPOCH + timedelta(microseconds=self.timestamp_ns // 1_000)


def timestamp_ns_of(moment: datetime) -> int:
    """A date and time with a time zone as ns since 1970 UTC, in whole numbers: floats would lose hundreds of ns."""
    if moment.tzinfo is None:
        raise ValueError(f"found {moment.isoformat()} without a time zone; expected an aware datetime, such as UTC")
    return (moment - EPOCH) // timedelta(microseconds=1) * 1_000


def evaluate_ingestion(
    state: SignalHistory, observation: ProcessState, now_ns: int, config: ModelConfig
) -> IngestionDecision:
    """The verdict on an observation after a history (see `signal_history.history_of`); changes nothing.

    A value that is not finite and a stamp too far ahead of `now_ns` are rejected like an outlier.
    Requirement 2 and 7.1, PREDICTOR 5.5.
    """
    rules = ingest_rules(config, observation.state_tag)
    value, timestamp_ns = float(observation.magnitude), observation.timestamp_ns
    age_ns = compute_staleness_ns(now_ns, timestamp_ns)
    if not isfinite(value):
        return rejected(age_ns, (NonFiniteObservationEvent(timestamp_ns, value),))
    if is_future_stamp(timestamp_ns, now_ns, rules.max_future_drift_ns):
        return rejected(age_ns, (FutureStampEvent(timestamp_ns, -age_ns, rules.max_future_drift_ns),))
    decision, _ = judge(state, value, timestamp_ns, now_ns, rules)
    return decision


def judge(
    history: SignalHistory, value: float, timestamp_ns: int, now_ns: int, rules: IngestRules
) -> tuple[IngestionDecision, SignalHistory]:
    """The verdict on a finite value, and the history after it. The history does not depend on `now_ns`."""
    accepted, events, history = observe(history, value, timestamp_ns, rules)
    age_ns = compute_staleness_ns(now_ns, timestamp_ns)
    if not accepted:
        return rejected(age_ns, events), history
    stale, frozen = is_stale(age_ns, rules.ttl_ns), history.frozen
    if stale:
        events = (*events, StaleSignalEvent(timestamp_ns, age_ns, rules.ttl_ns))
    degraded = stale or frozen
    return IngestionDecision(True, degraded, degraded, frozen, age_ns, events), history


def rejected(age_ns: int, events: Events) -> IngestionDecision:
    """Nothing is updated; the forecast is held and marked as degraded. PREDICTOR 5.5."""
    return IngestionDecision(False, True, True, False, age_ns, events)
