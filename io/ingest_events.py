# SPDX-License-Identifier: MIT
"""The events that the ingestion gate raises; the name of the class is the name of the event."""

from typing import NamedTuple, TypeAlias


class NonFiniteObservationEvent(NamedTuple):
    """The value is NaN or infinite; rejected."""

    timestamp_ns: int
    value: float


class FutureStampEvent(NamedTuple):
    """The stamp is further ahead of the clock than clocks may differ; rejected."""

    timestamp_ns: int
    ahead_ns: int
    max_future_drift_ns: int


class OutlierRejectedEvent(NamedTuple):
    """The value lies more than `sigma_bound` robust sigmas from the centre of its history; rejected."""

    timestamp_ns: int
    value: float
    centre: float
    sigma: float
    sigma_bound: float


class LevelShiftAcceptedEvent(NamedTuple):
    """So many consistent outliers in a row are a new level; the history starts again from them."""

    timestamp_ns: int
    value: float
    old_centre: float
    confirmations: int


class FrozenSignalAlarmEvent(NamedTuple):
    """The value repeats: `window` equal values so far. Raised on every tick until the signal moves again."""

    timestamp_ns: int
    value: float
    window: int


class FrozenSignalRecoveredEvent(NamedTuple):
    """The signal moves again; raised once."""

    timestamp_ns: int
    value: float


class StaleSignalEvent(NamedTuple):
    """The observation is older than its time to live."""

    timestamp_ns: int
    staleness_ns: int
    max_ttl_ns: int


IngestionEvent: TypeAlias = (
    NonFiniteObservationEvent
    | FutureStampEvent
    | OutlierRejectedEvent
    | LevelShiftAcceptedEvent
    | FrozenSignalAlarmEvent
    | FrozenSignalRecoveredEvent
    | StaleSignalEvent
)
