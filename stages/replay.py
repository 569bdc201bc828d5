# SPDX-License-Identifier: MIT
"""Replays a partition from a snapshot through the same handler, and compares with what was recorded.

Two things must come out as they were: every prediction, byte for byte, and the state at each later snapshot of the
same log, by its body hash. Another build may differ in the last bits: it is compared within a tolerance.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple, cast

import numpy as np

from ..io.avro import Undecodable, decode, encode
from ..io.bus import Bus, Partition, RawRecord
from ..io.snapshots import Snapshot, document_hash
from ..schemas.records import Prediction
from . import poison, topology
from .contract import Batch, Record, Send, Stage

COMPARED = (topology.PREDICTIONS,)
Progress = Callable[[int], object]


class Difference(NamedTuple):
    """The first thing that came out otherwise: where, what it is, recorded and recomputed values by name."""

    offset: int
    what: str
    values: Mapping[str, tuple[Any, Any]]


@dataclass
class Report:
    """What a replay found. `prediction_hash` is the SHA-256 over all predictions' bytes in order."""

    start: int
    stop: int
    records: int = 0
    predictions: int = 0
    unrecorded: int = 0
    states_checked: list[int] = field(default_factory=list[int])
    prediction_hash: str = ""
    state_hash: str = ""
    largest_relative_difference: float = 0.0
    difference: Difference | None = None


@dataclass(frozen=True)
class Recorded:
    """What the pipeline published: prediction bytes by record id, and later snapshots by their offset."""

    predictions: Mapping[str, bytes]
    snapshots: Mapping[int, Snapshot]


def replay(
    bus: Bus, stage: Stage[Any], state: Any, where: tuple[Partition, int, int], recorded: Recorded,
    tolerance: float = 0.0, progress: Progress = int,
) -> Report:  # fmt: skip
    """Handle [start, stop) of a partition and compare; goes on after a difference, but keeps the first.

    `where` is (partition, start, stop); `tolerance` 0 demands equal bytes, else it is relative.
    """
    partition, start, stop = where
    report = Report(start, stop)
    chain = sha256()
    marks = sorted({offset for offset in recorded.snapshots if start < offset <= stop} | {stop})
    for begin, end in zip([start, *marks], marks, strict=False):
        for raw in bus.read(partition, begin, end):
            state, published = handled(stage, raw, state)
            report.records += len(raw)
            for prediction in published:
                data = encode(prediction)
                chain.update(data)
                compare_prediction(report, prediction, data, recorded, tolerance)
            progress(raw[-1].offset + 1)
        if end in recorded.snapshots and stage.snapshot is not None:
            document = stage.snapshot(state, partition.number)
            compare_state(report, end, document, recorded.snapshots[end], tolerance)
    report.prediction_hash = chain.hexdigest()
    if stage.snapshot is not None:
        report.state_hash = document_hash(stage.snapshot(state, partition.number))
    return report


def handled(stage: Stage[Any], raw: Sequence[RawRecord], state: Any) -> tuple[Any, list[Prediction]]:
    """The state after these records, and the predictions that they lead to."""
    records: list[Record] = []
    for r in raw:
        value = decode(r.value)
        if not isinstance(value, Undecodable):
            records.append(Record(r.partition, r.offset, r.key, value, r.timestamp_ns, r.headers, r.value))
    now_ns = raw[-1].timestamp_ns
    outputs, state = poison.handle(stage, Batch(now_ns, records), state)
    published = [each.value for each in outputs if isinstance(each, Send) and isinstance(each.value, Prediction)]
    return state, published


def compare_prediction(
    report: Report, prediction: Prediction, data: bytes, recorded: Recorded, tolerance: float
) -> None:
    """One prediction with the recorded one of the same id."""
    report.predictions += 1
    known = recorded.predictions.get(prediction.record_id)
    if known is None:
        report.unrecorded += 1
        missing = {"record_id": ("none", prediction.record_id)}
        note(report, prediction.origin_offset, f"prediction of {prediction.symbol} was never recorded", missing)
    elif known != data:
        was = cast(Prediction, decode(known))
        values = differing(vars(was), vars(prediction), tolerance, report)
        if values:
            note(report, prediction.origin_offset, f"prediction {prediction.record_id} of {prediction.symbol}", values)


def compare_state(
    report: Report, offset: int, document: Mapping[str, Any], snapshot: Snapshot, tolerance: float
) -> None:
    """The state at an offset with the snapshot that was taken there."""
    report.states_checked.append(offset)
    found = document_hash(document)
    if found == snapshot.body_hash:
        return
    values = differing(flat(snapshot.document), flat(document), tolerance, report)
    if values or not tolerance:
        values = values or {"body_hash": (snapshot.body_hash, found)}
        note(report, offset, f"state at offset {offset}", dict(list(values.items())[:8]))


def note(report: Report, offset: int, what: str, values: Mapping[str, tuple[Any, Any]]) -> None:
    """Keep the first difference."""
    if report.difference is None:
        report.difference = Difference(offset, what, values)


def differing(
    was: Mapping[str, Any], now: Mapping[str, Any], tolerance: float, report: Report
) -> dict[str, tuple[Any, Any]]:
    """The entries that differ by more than the tolerance; the largest relative difference is kept."""
    found: dict[str, tuple[Any, Any]] = {}
    for name in [*was, *(name for name in now if name not in was)]:
        before, after = was.get(name), now.get(name)
        gap = distance(before, after)
        if math.isfinite(gap):
            report.largest_relative_difference = max(report.largest_relative_difference, gap)
        if gap > tolerance:
            found[name] = (before, after)
    return found


def distance(before: Any, after: Any) -> float:
    """0 for equal values, the largest relative difference of numbers (at least of size 1), infinity for all else."""
    if isinstance(before, bool | str | bytes | None) or isinstance(after, bool | str | bytes | None):
        return 0.0 if before == after and type(before) is type(after) else math.inf
    try:
        a, b = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    except (TypeError, ValueError):
        return 0.0 if before == after else math.inf
    if a.shape != b.shape:
        return math.inf
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore", over="ignore"):
        gaps = np.where(same, 0.0, np.abs(a - b) / np.maximum(1.0, np.maximum(np.abs(a), np.abs(b))))
    gaps = np.where(np.isnan(gaps), math.inf, gaps)
    return float(gaps.max(initial=0.0))


def flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested document as names with dots."""
    found: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, Mapping):
            found |= flat(cast(Mapping[str, Any], value), f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def recorded_predictions(bus: Bus, number: int, log: Iterable[Sequence[RawRecord]] | None = None) -> dict[str, bytes]:
    """Every prediction that was published to a partition, by its id. On a broker without transactions the first."""
    partition = Partition(topology.PREDICTIONS.name, number)
    found: dict[str, bytes] = {}
    for records in log if log is not None else bus.read(partition, *bus.bounds(partition)):
        for record in records:
            value = decode(record.value)
            if isinstance(value, Prediction) and record.value is not None:
                found.setdefault(value.record_id, record.value)
    return found
