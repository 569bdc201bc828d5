# SPDX-License-Identifier: MIT
"""Telemetry that never stalls the compute path.

The compute thread puts references to arrays into a bounded ring and goes on; another thread drains the ring, copies
all arrays to the host in one transfer, and hashes. What the ring had to drop is counted, never waited for.
"""

import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar, cast

import numpy as np

from .adaptive_telemetry import AdaptiveTelemetry, collect_adaptive_telemetry, emit_adaptive_telemetry
from .checksums import HashAlgorithm
from .parity import parity_hashes

__all__ = [
    "AdaptiveTelemetry",
    "Drained",
    "TelemetryBuffer",
    "TelemetryRecord",
    "collect_adaptive_telemetry",
    "emit_adaptive_telemetry",
    "materialize_telemetry_batch",
    "should_emit_hash",
]

REFERENCE_SUFFIX = "_ref"
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class TelemetryRecord:
    """One step. Values under keys that end in `_ref` may still lie on a device."""

    step: int
    payload: Mapping[str, Any]


class Drained(NamedTuple, Generic[Entry]):
    """All that was in the ring. Record i has the running number `first_sequence + i`; `dropped` counts since ever."""

    first_sequence: int
    dropped: int
    records: list[Entry]


class TelemetryBuffer(Generic[Entry]):
    """A bounded ring between threads. When it is full the oldest entry goes, and is counted."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"telemetry capacity was {capacity}, expected at least 1")
        self.capacity = capacity
        self.ring: deque[Entry] = deque(maxlen=capacity)
        self.lock = Lock()
        self.enqueued = 0
        self.dropped = 0

    def enqueue(self, record: Entry) -> None:
        """Never blocks on anything but the lock, which is held for a few instructions."""
        self.enqueue_all((record,))

    def enqueue_all(self, records: Sequence[Entry]) -> None:
        """Many at once under one lock; of more than the capacity the newest stay."""
        with self.lock:
            self.dropped += max(0, len(self.ring) + len(records) - self.capacity)
            self.ring.extend(records)
            self.enqueued += len(records)

    def drain(self) -> list[Entry]:
        """Take everything out, oldest first."""
        return self.drain_numbered().records

    def drain_numbered(self) -> Drained[Entry]:
        """Take everything out, with the running number of the first; a jump between two drains is a loss."""
        with self.lock:
            records = list(self.ring)
            self.ring.clear()
            return Drained(self.enqueued - len(records), self.dropped, records)

    def size(self) -> int:
        """How many records wait."""
        return len(self.ring)


def should_emit_hash(step: int, interval: int) -> bool:
    """True at every `interval`-th step."""
    if interval < 1:
        raise ValueError(f"telemetry interval was {interval}, expected at least 1")
    return step % interval == 0


def materialize_telemetry_batch(
    records: Iterable[TelemetryRecord], hash_algorithm: HashAlgorithm = "sha256"
) -> list[TelemetryRecord]:
    """Records as plain Python values, without `_ref`, and with `parity_hashes` of rho and the transport cost.

    All arrays come from the device in one transfer. A payload without `ot_cost` is hashed by its `free_energy`.
    """
    taken = list(records)
    keys = [[key for key in record.payload if key.endswith(REFERENCE_SUFFIX)] for record in taken]
    references = [record.payload[key] for record, names in zip(taken, keys, strict=True) for key in names]
    values = iter(on_host(references))
    return [
        TelemetryRecord(
            record.step, plain_payload(record.payload, {key: next(values) for key in names}, hash_algorithm)
        )
        for record, names in zip(taken, keys, strict=True)
    ]


def on_host(references: Sequence[Any]) -> list[Any]:
    """The values in host memory: one transfer for all that lie on a device; plain numbers are there already."""
    jax = sys.modules.get("jax")
    away = [] if jax is None else [r for r in references if not isinstance(r, float | int | list | np.ndarray)]
    fetched = iter(cast(Any, jax).device_get(away) if away else ())
    places = {id(reference) for reference in away}
    return [next(fetched) if id(reference) in places else reference for reference in references]


def plain_payload(payload: Mapping[str, Any], arrays: Mapping[str, Any], algorithm: HashAlgorithm) -> dict[str, Any]:
    """One payload of numbers, lists and flags."""
    plain = {key.removesuffix(REFERENCE_SUFFIX): plain_value(arrays.get(key, value)) for key, value in payload.items()}
    cost = plain.get("ot_cost", plain.get("free_energy"))
    if "weights" in plain and cost is not None:
        plain["parity_hashes"] = parity_hashes(plain["weights"], cost, algorithm)
    return plain


def plain_value(value: Any) -> Any:
    """A number for an array of one element without axes or with one; a list for longer ones."""
    if not isinstance(value, np.ndarray | np.generic):
        return value
    array: Any = np.asarray(cast(Any, value))
    return array.reshape(()).item() if array.shape in ((), (1,)) else array.tolist()
