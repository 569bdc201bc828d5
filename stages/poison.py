# SPDX-License-Identifier: MIT
"""Records that cannot be decoded or break a stage: they become dead letters and the stream goes on.

Whose fault decides: theirs (this record) is a dead letter; ours or the machine's (memory, disk, a broken
invariant) ends the process, for a restart repairs it and a dead letter would lose a good record.
"""

from typing import Any

from ..io.bus import RawRecord
from ..schemas.records import Alert, DeadLetter
from . import topology
from .contract import Batch, Output, Record, Reply, Send, Stage


class BrokenInvariant(Exception):
    """Our own fault or a state in doubt: the process must end, recovery replays."""


class UnknownEpoch(BrokenInvariant):
    """An epoch that this process cannot run; skipping it would change every later bit."""


FATAL = (BrokenInvariant, MemoryError, OSError)


def handle(stage: Stage[Any], batch: Batch, state: Any) -> tuple[list[Output], Any]:
    """`stage.handle`, surviving single bad records."""
    try:
        return stage.handle(batch, state)
    except FATAL:
        raise
    except Exception:
        return one_by_one(stage, batch, state)


def one_by_one(stage: Stage[Any], batch: Batch, state: Any) -> tuple[list[Output], Any]:
    """Every record in a batch of its own; the ones that still raise are refused, state as it was."""
    if not batch.records:
        raise BrokenInvariant(f"{stage.name}: handle failed on a batch without records")
    outputs: list[Output] = []
    for record in batch.records:
        try:
            more, state = stage.handle(Batch(batch.now_ns, (record,), batch.timer), state)
        except FATAL:
            raise
        except Exception as fault:
            if isinstance(record.value, Reply):
                raise BrokenInvariant(f"{stage.name}: the reply of an effect could not be handled") from fault
            detail = (
                f"found a {type(record.value).__name__} on which {stage.name} failed: {type(fault).__name__}: {fault}"
            )
            more = refused(stage, raw_of(record), "handler_failed", detail, batch.now_ns)
        outputs += more
    return outputs, state


def raw_of(record: Record) -> RawRecord:
    """The record as it lay in the log."""
    return RawRecord(record.partition, record.offset, record.key, record.raw, record.timestamp_ns, record.headers)


def refused(stage: Stage[Any], raw: RawRecord, reason: str, detail: str, now_ns: int) -> list[Output]:
    """A dead letter with the bytes as they came, and an alert."""
    letter = DeadLetter(
        stage=stage.name,
        reason=reason,
        detail=detail,
        source_topic=raw.partition.topic,
        source_partition=raw.partition.number,
        source_offset=raw.offset,
        source_row=0,
        symbol=None,
        key=raw.key,
        value=raw.value,
        refused_ns=now_ns,
    )
    where = f"{raw.partition.topic}/{raw.partition.number}@{raw.offset}"
    alert = Alert(
        event="RecordRefusedEvent",
        severity="warning",
        stage=stage.name,
        symbol=None,
        origin_partition=None,
        origin_offset=None,
        timestamp_ns=now_ns,
        detail={"reason": reason, "where": where, "found": detail},
    )
    partition = raw.partition.number if stage.dead_letters is topology.REJECTED else None
    return [
        Send(stage.dead_letters, letter, stage.name, partition),
        Send(topology.ALERTS, alert, stage.name),
    ]
