# SPDX-License-Identifier: MIT
"""A partition of ingest's state as a plain document and back, bit for bit.

The document holds columns: lists or arrays with one entry per symbol, in the order of `symbols`. A column of tuples
is one array of all their entries and one of their lengths.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import nan

import numpy as np
import numpy.typing as npt

from ..io.robust_window import RobustWindow, Values
from ..io.signal_history import SignalHistory
from .contract import Document
from .ingest_state import Content, IngestState, PartitionState, SymbolState

NO_SEQUENCE = -(2**63)


def snapshot(state: IngestState, partition: int) -> Document:
    """The share of one partition; an empty one if the partition has seen nothing."""
    share = state.partitions.get(partition, PartitionState())
    names = sorted(share.symbols)
    symbols = [share.symbols[name] for name in names]
    histories = [symbol.history for symbol in symbols]
    return {
        "handled": share.handled,
        "steps": share.steps,
        "trouble": share.trouble,
        "symbols": names,
        "ts_event_ns": integers(symbol.ts_event_ns for symbol in symbols),
        "sequence": integers(NO_SEQUENCE if s.sequence is None else s.sequence for s in symbols),
        **ragged("content", [[nan if value is None else value for value in s.content] for s in symbols]),
        "offset": integers(symbol.offset for symbol in symbols),
        "late": integers(symbol.late for symbol in symbols),
        "note": [symbol.note for symbol in symbols],
        "refusal": [symbol.refusal for symbol in symbols],
        "calm": integers(symbol.calm for symbol in symbols),
        "usual_gap_ns": floats(symbol.usual_gap_ns for symbol in symbols),
        "last": floats(history.last for history in histories),
        "run": integers(history.run for history in histories),
        "frozen": integers(history.frozen for history in histories),
        **ragged("variances", [history.variances for history in histories]),
        **ragged("suspects", [history.suspects for history in histories]),
        **windows_document([history.window for history in histories]),
    }


def windows_document(windows: Sequence[RobustWindow]) -> Document:
    """The robust windows of all symbols; their statistics too, for they are not those of the newest values."""
    return {
        **ragged("settled", [window.settled for window in windows]),
        **ragged("recent", [window.recent for window in windows]),
        "centre": floats(window.centre for window in windows),
        "level_scale": floats(window.level_scale for window in windows),
        "move_scale": floats(window.move_scale for window in windows),
        "burst_scale": floats(window.burst_scale for window in windows),
    }


def restore(state: IngestState, partition: int, document: Document) -> IngestState:
    """The state with one partition as it was when `snapshot` saw it."""
    symbols = map(
        SymbolState,
        restored_histories(document),
        document["ts_event_ns"].tolist(),
        (None if number == NO_SEQUENCE else number for number in document["sequence"].tolist()),
        map(restored_content, rows(document, "content")),
        document["offset"].tolist(),
        map(bool, document["late"].tolist()),
        document["note"],
        document["refusal"],
        document["calm"].tolist(),
        document["usual_gap_ns"].tolist(),
    )
    known = dict(zip(document["symbols"], symbols, strict=True))
    share = PartitionState(document["handled"], document["steps"], document["trouble"], known)
    state.partitions[partition] = share
    return state


def restored_histories(document: Document) -> Iterator[SignalHistory]:
    """The histories of all symbols, in order."""
    windows = map(
        RobustWindow,
        rows(document, "settled"),
        tuples(document, "recent"),
        document["centre"].tolist(),
        document["level_scale"].tolist(),
        document["move_scale"].tolist(),
        document["burst_scale"].tolist(),
    )
    return map(
        SignalHistory,
        windows,
        document["last"].tolist(),
        document["run"].tolist(),
        map(bool, document["frozen"].tolist()),
        tuples(document, "variances"),
        tuples(document, "suspects"),
    )


def restored_content(row: Values) -> Content:
    """NaN stands for what the tick did not have; content that is kept is always finite."""
    return tuple(None if value != value else value for value in row.tolist())


def integers(values: Iterable[int]) -> npt.NDArray[np.int64]:
    return np.fromiter(values, dtype=np.int64)


def floats(values: Iterable[float]) -> Values:
    return np.fromiter(values, dtype=np.float64)


def ragged(name: str, parts: Sequence[Sequence[float] | Values]) -> Document:
    """Rows of different lengths as one array of entries and one of lengths."""
    entries = np.concatenate([np.asarray(part, dtype=np.float64) for part in parts]) if parts else floats(())
    return {name: entries, f"{name}_lengths": integers(len(part) for part in parts)}


def rows(document: Document, name: str) -> list[Values]:
    """The rows that `ragged` put together; copies, so that the document can be let go."""
    lengths = document[f"{name}_lengths"]
    return [row.copy() for row in np.split(document[name], np.cumsum(lengths)[:-1])] if lengths.size else []


def tuples(document: Document, name: str) -> Iterator[tuple[float, ...]]:
    """The rows as tuples of Python floats."""
    return (tuple(row.tolist()) for row in rows(document, name))
