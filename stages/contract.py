# SPDX-License-Identifier: MIT
"""What a stage is: pure functions of records and state. Nothing here touches the world.

* `handle` either returns, or raises and leaves its state as it was. It owns the state it is given: the caller
  must not use that value again.
* State is kept per input partition (the partitions of `consumes[0]`), so that a partition can move to another
  process: `snapshot`, `restore` and `release` work on one partition.
* Time arrives as `Batch.now_ns`. It may change outputs, never state: a replay has another clock.
* Effects are values. The runner executes them before the commit (or after it, inside `AfterCommit`); they are
  idempotent; what they answer comes back as records of the same batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from ..config.model import ModelConfig
from ..io.bus import Headers, Partition
from ..schemas.records import AnyRecord

State = TypeVar("State")
Document: TypeAlias = Mapping[str, Any]


class Topic(NamedTuple):
    """A topic of the pipeline; `topology.py` lists them all."""

    name: str
    records: tuple[type[AnyRecord], ...]
    key: str
    partitions: int
    retention_days: float | None
    compacted: bool = False
    doc: str = ""


class Effect:
    """Something to do in the world, as a value; executed by the runner, named in `effects.py`."""


@dataclass(frozen=True)
class SnapshotBegun(Effect):
    """The runner's own: a partition's state is taken as it is now. Nobody has to answer."""

    partition: int


@dataclass(frozen=True)
class SnapshotTaken(Effect):
    """The runner's own: the state that was taken, with this body hash, is on its way to disk. Nobody has to answer."""

    partition: int
    body_hash: str


class Reply:
    """What an effect answered; handed to `handle` as a record of the same batch."""


class Record(NamedTuple):
    """One input: where it stood in the log, and its decoded value (or the reply of an effect)."""

    partition: Partition
    offset: int
    key: bytes | None
    value: AnyRecord | Reply
    timestamp_ns: int
    headers: Headers = ()
    raw: bytes | None = None


class Timer(NamedTuple):
    """The runner's look at the clock: when it last looked, and when each (partition, symbol) was last seen."""

    previous_ns: int
    last_seen_ns: Mapping[tuple[int, str], int]


class Batch(NamedTuple):
    """Records in log order per partition. Empty with a timer when time alone has passed."""

    now_ns: int
    records: Sequence[Record]
    timer: Timer | None = None


class Send(NamedTuple):
    """Publish a record. `partition` None lets the key choose."""

    topic: Topic
    value: AnyRecord
    key: str
    partition: int | None = None
    headers: Headers = ()


class Hold(NamedTuple):
    """Commit this input partition no further than `offset` for now."""

    partition: Partition
    offset: int


class AfterCommit(NamedTuple):
    """An effect that must see the commit done."""

    effect: Effect


Output: TypeAlias = Send | Hold | AfterCommit | Effect


@dataclass(frozen=True)
class Stage(Generic[State]):
    """A pure step of the pipeline; `runner.run` gives it a bus.

    A stateless stage leaves `snapshot`, `restore`, `release` and `steps` out. `steps` counts a partition's steps, for
    the snapshot cadence. One that `watches_silence` is told in each timer when every symbol was last seen. `gather_s`
    is how long a record may wait for company: every batch costs a transaction.
    """

    name: str
    consumes: tuple[Topic, ...]
    produces: tuple[Topic, ...]
    dead_letters: Topic
    init: Callable[[ModelConfig], State]
    handle: Callable[[Batch, State], tuple[list[Output], State]]
    snapshot: Callable[[State, int], Document] | None = None
    restore: Callable[[State, int, Document], State] | None = None
    release: Callable[[State, int], State] | None = None
    steps: Callable[[State, int], int] | None = None
    watches_silence: bool = False
    gather_s: float = 0.0
