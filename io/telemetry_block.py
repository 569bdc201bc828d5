# SPDX-License-Identifier: MIT
"""Telemetry of many steps as one record: packed columns, so that a step costs the broker and the sink little.

A row per step, all of one origin partition. Numbers lie little-endian in `positions` (int64) and `values` (float64).
The process that predicts takes one digest over a block; the hashes of each step, of rho and of the transport cost, are
taken by whoever unpacks it, from numbers which that digest proves.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, cast

import numpy as np

from ..schemas.records import TelemetryBlock
from .checksums import ALGORITHMS, HashAlgorithm
from .parity import canonical_rows, digests

WEIGHTS = 4
NUMBERS = ("prediction", "free_energy", "ot_cost", "kurtosis", "holder_exponent", "dgm_entropy")
FLAGS = ("mode_collapse_warning", "degraded_mode", "emergency_mode")
COLUMNS = (*(f"weight_{kernel}" for kernel in "abcd"), *NUMBERS, *FLAGS)
OT_COST = COLUMNS.index("ot_cost")
ID_BYTES = 16
POSITIONS = 3
NOTHING: Mapping[int, Any] = {}


class Steps(NamedTuple):
    """Steps on their way out, column by column; a row of `values` is in the order of COLUMNS.

    `adaptive` and `snapshots` have entries for some rows: the end of an adaptive window, the step of a snapshot.
    """

    record_ids: Sequence[str]
    symbols: Sequence[str]
    origin_offsets: Sequence[int]
    steps: Sequence[int]
    timestamps_ns: Sequence[int]
    values: Iterable[Sequence[float]]
    adaptive: Mapping[int, Mapping[str, float]] = NOTHING
    snapshots: Mapping[int, str] = NOTHING


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


def pack(steps: Steps, origin: Origin) -> TelemetryBlock:
    """The block of these steps, with its digest. Nothing here is done step by step in Python: it shares a processor."""
    count = len(steps.record_ids)
    positions = np.array([steps.origin_offsets, steps.steps, steps.timestamps_ns], "<i8").T.tobytes()
    values = np.fromiter(chain.from_iterable(steps.values), "<f8", count * len(COLUMNS)).tobytes()
    return TelemetryBlock(
        sequence=origin.sequence,
        dropped=origin.dropped,
        origin_partition=origin.partition,
        symbols=list(steps.symbols),
        record_ids=bytes.fromhex("".join(steps.record_ids)),
        positions=positions,
        columns=list(COLUMNS),
        values=values,
        hash_algorithm=origin.algorithm,
        digest=ALGORITHMS[origin.algorithm]((positions, values)),
        snapshots={str(row): found for row, found in steps.snapshots.items()},
        adaptive={str(row): dict(found) for row, found in steps.adaptive.items()},
    )


def unpack(block: TelemetryBlock) -> Iterator[Telemetry]:
    """The steps of a block, in order, each with its hashes. ValueError if its parts do not fit together."""
    count = len(block.symbols)
    algorithm = checked(block)
    ids = [found.hex() for found in slices(block.record_ids, count, "record_ids", ID_BYTES)]
    positions = matrix(block.positions, count, POSITIONS, "positions", "<i8").tolist()
    values = matrix(block.values, count, len(COLUMNS), "values", "<f8")
    hashes = hashes_of(values, algorithm)
    rows = values.tolist()
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
            parity_hashes=hashes[row],
            snapshot_hash=block.snapshots.get(str(row)),
            adaptive=block.adaptive.get(str(row)),
        )


def checked(block: TelemetryBlock) -> HashAlgorithm:
    """The algorithm of a block whose columns are ours and whose digest is right."""
    if tuple(block.columns) != COLUMNS:
        raise ValueError(f"found telemetry columns {block.columns}; expected {list(COLUMNS)}")
    if block.hash_algorithm not in ALGORITHMS:
        raise ValueError(f"found hash algorithm {block.hash_algorithm!r}; expected one of {sorted(ALGORITHMS)}")
    algorithm = cast(HashAlgorithm, block.hash_algorithm)
    found = ALGORITHMS[algorithm]((block.positions, block.values))
    if found != block.digest:
        raise ValueError(f"found numbers with digest {found.hex()}; expected {block.digest.hex()}, which was sent")
    return algorithm


def hashes_of(values: np.ndarray, algorithm: HashAlgorithm) -> list[Mapping[str, str]]:
    """{rho_<algorithm>, ot_cost_<algorithm>} of each row."""
    rho = digests(canonical_rows(values[:, :WEIGHTS]), 8 * WEIGHTS, algorithm)
    cost = digests(canonical_rows(values[:, OT_COST]), 8, algorithm)
    names = f"rho_{algorithm}", f"ot_cost_{algorithm}"
    return [dict(zip(names, (a.hex(), b.hex()), strict=True)) for a, b in zip(rho, cost, strict=True)]


def slices(data: bytes, count: int, name: str, width: int) -> list[bytes]:
    """`count` parts of `width` bytes."""
    if len(data) != count * width:
        raise ValueError(f"found {len(data)} bytes of {name} for {count} parts; expected {count * width}")
    return [data[place : place + width] for place in range(0, len(data), width)]


def matrix(data: bytes, rows: int, columns: int, name: str, kind: str) -> np.ndarray:
    """Rows of packed numbers."""
    if len(data) != rows * columns * 8:
        raise ValueError(f"found {len(data)} bytes of {name} for {rows} steps; expected {rows * columns * 8}")
    return np.frombuffer(data, kind).reshape(rows, columns)
