# SPDX-License-Identifier: MIT
"""Records for tests of which only some fields matter."""

from dataclasses import fields
from typing import Any, get_origin, get_type_hints

from usp.schemas.records import Alert, DeadLetter, Prediction

ZEROS: dict[Any, Any] = {int: 0, float: 0.0, str: "", bool: False, list: []}
HINTS = get_type_hints(Prediction)
BLANK = {f.name: ZEROS.get(get_origin(HINTS[f.name]) or HINTS[f.name]) for f in fields(Prediction)}


def prediction(**chosen: Any) -> Prediction:
    """An accepted prediction with these fields; all others are zero or absent."""
    return Prediction(**(BLANK | {"operating_mode": "inference", "accepted": True} | chosen))


def numbered(n: int, symbol: str = "EURUSD") -> Prediction:
    """The n-th forecast of a symbol whose price rises by one a second."""
    levels = {"value": 100.0 + n, "mean": 101.0 + n, "lo": 99.0 + n, "hi": 103.0 + n}
    return prediction(symbol=symbol, ts_event_ns=n * 10**9, state_step=n, weights=[0.1, 0.2, 0.3, 0.4], **levels)


def duplicate() -> DeadLetter:
    """A tick that ingest has seen before."""
    return DeadLetter(
        stage="ingest", reason="duplicate", detail="", source_topic="t", source_partition=0, source_offset=0,
        source_row=0, symbol=None, key=None, value=None, refused_ns=0,
    )  # fmt: skip


def regime_change(symbol: str | None = None, **detail: str) -> Alert:
    """An alert of the orchestrator."""
    return Alert(
        event="RegimeChangedEvent", severity="warning", stage="orchestrator", symbol=symbol, origin_partition=None,
        origin_offset=None, timestamp_ns=0, detail=detail,
    )  # fmt: skip
