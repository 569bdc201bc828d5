# SPDX-License-Identifier: MIT
"""Telemetry of many steps as one record: packed columns, so that a step costs the broker and the sink little.

A row per step, all of one origin partition. Numbers lie little-endian in `positions` (int64) and `values` (float64);
digests of rho and of the transport cost lie in `hashes`, in that order.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..schemas.records import TelemetryBlock
from .checksums import HashAlgorithm
from .parity import canonical_rows, digests

WEIGHTS = 4
NUMBERS = ("prediction", "free_energy", "ot_cost", "kurtosis", "holder_exponent", "dgm_entropy")
FLAGS = ("mode_collapse_warning", "degraded_mode", "emergency_mode")
COLUMNS = (*(f"weight_{kernel}" for kernel in "abcd"), *NUMBERS, *FLAGS)
OT_COST = COLUMNS.index("ot_cost")
ID_BYTES = 16
POSITIONS = 3


class StepTelemetry(NamedTuple):
    """One step on its way out. `values` in the order of COLUMNS; `adaptive` at the end of an adaptive window."""

    record_id: str
    symbol: str
    origin_offset: int
    step: int
    timestamp_ns: int
    values: Sequence[float]
    adaptive: Mapping[str, float] | None = None
    snapshot_hash: str | None = None


class Telemetry(NamedTuple):
    """One step as the sink writes it down; carries no raw signal."""

    sequence: int
    dropped: int
    record_id: str
    symbol: str
    origin_partition: int
    origin_offset: int
    step: int
    timestamp_ns: int
    prediction: float
    weights: list[float]
    free_energy: float
    ot_cost: float
    kurtosis: float
    holder_exponent: float
    dgm_entropy: float
    mode_collapse_warning: bool
    degraded_mode: bool
    emergency_mode: bool
    parity_hashes: Mapping[str, str]
    snapshot_hash: str | None
    adaptive: Mapping[str, float] | None


class Origin(NamedTuple):
    """What the steps of one block share. `sequence` numbers the first of them."""

    partition: int
    sequence: int
    dropped: int
    algorithm: HashAlgorithm


def pack(steps: Sequence[StepTelemetry], origin: Origin) -> TelemetryBlock:
    """The block of these steps, hashed."""
    positions = np.array([(step.origin_offset, step.step, step.timestamp_ns) for step in steps], "<i8")
    values = np.array([step.values for step in steps], "<f8").reshape(len(steps), len(COLUMNS))
    rho = digests(canonical_rows(values[:, :WEIGHTS]), 8 * WEIGHTS, origin.algorithm)
    cost = digests(canonical_rows(values[:, OT_COST]), 8, origin.algorithm)
    return TelemetryBlock(
        sequence=origin.sequence,
        dropped=origin.dropped,
        origin_partition=origin.partition,
        symbols=[step.symbol for step in steps],
        record_ids=bytes.fromhex("".join(step.record_id for step in steps)),
        positions=positions.tobytes(),
        columns=list(COLUMNS),
        values=values.tobytes(),
        hash_algorithm=origin.algorithm,
        hashes=b"".join(each for pair in zip(rho, cost, strict=True) for each in pair),
        snapshots={str(row): step.snapshot_hash for row, step in enumerate(steps) if step.snapshot_hash is not None},
        adaptive={str(row): dict(step.adaptive) for row, step in enumerate(steps) if step.adaptive is not None},
    )


def unpack(block: TelemetryBlock) -> Iterator[Telemetry]:
    """The steps of a block, in order. ValueError if its parts do not fit together."""
    count = len(block.symbols)
    if tuple(block.columns) != COLUMNS:
        raise ValueError(f"found telemetry columns {block.columns}; expected {list(COLUMNS)}")
    ids = [found.hex() for found in slices(block.record_ids, count, "record_ids", ID_BYTES)]
    positions = matrix(block.positions, count, POSITIONS, "positions", "<i8")
    rows = matrix(block.values, count, len(COLUMNS), "values", "<f8")
    digests = [found.hex() for found in slices(block.hashes, 2 * count, "hashes")]
    rho, cost = f"rho_{block.hash_algorithm}", f"ot_cost_{block.hash_algorithm}"
    for row, (offset, step, timestamp_ns) in enumerate(positions):
        yield Telemetry(
            sequence=block.sequence + row,
            dropped=block.dropped,
            record_id=ids[row],
            symbol=block.symbols[row],
            origin_partition=block.origin_partition,
            origin_offset=offset,
            step=step,
            timestamp_ns=timestamp_ns,
            weights=rows[row][:WEIGHTS],
            **dict(zip(NUMBERS, rows[row][WEIGHTS:], strict=False)),
            **dict(zip(FLAGS, map(bool, rows[row][-len(FLAGS) :]), strict=True)),
            parity_hashes={rho: digests[2 * row], cost: digests[2 * row + 1]},
            snapshot_hash=block.snapshots.get(str(row)),
            adaptive=block.adaptive.get(str(row)),
        )


def slices(data: bytes, count: int, name: str, width: int | None = None) -> list[bytes]:
    """`count` parts of equal width."""
    wide = width if width is not None else len(data) // max(1, count)
    if len(data) != count * wide:
        raise ValueError(f"found {len(data)} bytes of {name} for {count} parts; expected {count * wide}")
    return [data[place : place + wide] for place in range(0, len(data), max(1, wide))]


def matrix(data: bytes, rows: int, columns: int, name: str, kind: str) -> list[Any]:
    """Rows of packed numbers."""
    if len(data) != rows * columns * 8:
        raise ValueError(f"found {len(data)} bytes of {name} for {rows} steps; expected {rows * columns * 8}")
    return np.frombuffer(data, kind).reshape(rows, columns).tolist()
