# SPDX-License-Identifier: MIT
"""Recorded ticks as the tuner reads them: a file through ingest, or the verdicts that a pipeline recorded."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from ...config.model import ModelConfig
from ...io.avro import encode
from ...io.bus import Partition
from ...io.reader import TopicReader
from ...io.tick_files import TickRow, read_ticks
from ...io.wire import Wire
from ...predictor import INPUT_COUNT
from ...predictor.tuning import Series, Split, TooFewRows, walk_forward
from ...schemas.records import ValidatedTick
from .. import ingest, topology
from ..contract import Batch, Record
from ..lanes import inputs_of
from ..library import sent, tick_of

HELD_OUT = 0.15


@dataclass
class Walk:
    """The walks of a search, those on the newest rows, which the search never sees, and why a symbol has none."""

    searched: list[tuple[Series, Split]] = field(default_factory=list[tuple[Series, Split]])
    held_out: list[tuple[Series, Split]] = field(default_factory=list[tuple[Series, Split]])
    left_out: dict[str, str] = field(default_factory=dict[str, str])


def series_of(ticks: Iterable[ValidatedTick]) -> list[Series]:
    """One series per symbol, by name; what ingest decided stays decided."""
    rows: dict[str, list[tuple[float, ...]]] = {}
    for tick in ticks:
        rows.setdefault(tick.symbol, []).append(inputs_of(tick))
    return [Series(symbol, np.array(found).reshape(-1, INPUT_COUNT)) for symbol, found in sorted(rows.items())]


def ticks_of_file(file: Path, config: ModelConfig) -> tuple[list[ValidatedTick], int]:
    """The validated ticks of a file, and how many of its rows were malformed or refused."""
    gate = Gate(config)
    malformed = 0
    for row in read_ticks(file):
        if isinstance(row, TickRow):
            gate.take(row)
        else:
            malformed += 1
    return gate.passed, malformed + gate.refused


class Gate:
    """Ingest without a broker: each row judged at its own event time."""

    def __init__(self, config: ModelConfig) -> None:
        self.state = ingest.STAGE.init(config)
        self.passed: list[ValidatedTick] = []
        self.refused = 0
        self.rows = 0

    def take(self, row: TickRow) -> None:
        """Judge one row."""
        tick = tick_of(row.symbol, row.timestamp_ns, row.price, row.bid, row.ask, row.size)
        where = Partition(topology.MARKET_TICKS.name, 0)
        record = Record(where, self.rows, tick.symbol.encode(), tick, tick.ts_publish_ns, (), encode(tick))
        self.rows += 1
        outputs, self.state = ingest.STAGE.handle(Batch(row.timestamp_ns, (record,)), self.state)
        ticks = [value for _, value in sent(outputs) if isinstance(value, ValidatedTick)]
        self.passed += ticks
        self.refused += not ticks


def ticks_of_log(servers: str, security: Mapping[str, str], wire: Wire, rows: int) -> list[ValidatedTick]:
    """The newest validated ticks of each symbol that the broker still has, at most `rows` per symbol."""
    reader = TopicReader(servers, [topology.VALIDATED.name], from_start=True, security=security, wire=wire)
    kept: dict[tuple[int, str], list[ValidatedTick]] = {}
    try:
        while records := reader.read(most=5000, timeout_s=2.0):
            for record in records:
                if isinstance(record.value, ValidatedTick):
                    name = (record.raw.partition.number, record.value.symbol)
                    kept.setdefault(name, []).append(record.value)
                    if len(kept[name]) >= 2 * rows:
                        del kept[name][:-rows]
    finally:
        reader.close()
    return [tick for name in sorted(kept) for tick in kept[name][-rows:]]


def newest(ticks: Sequence[ValidatedTick], rows: int) -> list[ValidatedTick]:
    """At most so many of each symbol's last ticks."""
    places: dict[str, list[int]] = {}
    for place, tick in enumerate(ticks):
        places.setdefault(tick.symbol, []).append(place)
    kept = {place for found in places.values() for place in found[-rows:]}
    return [tick for place, tick in enumerate(ticks) if place in kept]


def walks_of(series: Sequence[Series], config: ModelConfig) -> Walk:
    """Folds of every series that is long enough; its newest rows are kept from the search.

    TooFewRows if no series is.
    """
    settings, walk = config.meta_optimization, Walk()
    for each in series:
        rows = len(each.inputs)
        seen = rows - int(rows * HELD_OUT)
        try:
            splits = walk_forward(seen, settings.train_ratio, settings.n_folds)
        except TooFewRows as fault:
            walk.left_out[each.symbol] = str(fault)
            continue
        taught = splits[0].test - splits[0].start
        walk.searched += [(each, split) for split in splits]
        walk.held_out.append((each, Split(max(0, seen - taught), seen, rows)))
    if not walk.searched:
        reasons = "; ".join(f"{symbol}: {reason}" for symbol, reason in walk.left_out.items())
        raise TooFewRows(f"no symbol has enough ticks to tune on: {reasons or 'found no tick at all'}")
    return walk


def digest(series: Sequence[Series]) -> str:
    """SHA-256 of the record: two searches with the same one saw the same ticks."""
    found = sha256()
    for each in series:
        found.update(f"{each.symbol}\n{each.inputs.shape}\n".encode())
        found.update(np.ascontiguousarray(each.inputs, "<f8").tobytes())
    return found.hexdigest()
