# SPDX-License-Identifier: MIT
"""The one loop that owns the bus. Starting and recovering are the same path.

For each partition that the group gives to this process:

1. load the newest valid snapshot of this log that is not ahead of the commit;
2. replay silently from there up to the committed offset (nothing is published, no effect runs);
3. go on from the committed offset.

For each batch:

4. decode; bytes that are no record of ours become dead letters;
5. handle; if that raises, record by record, and a record that raises again becomes a dead letter;
6. execute the effects and hand their replies back to `handle`;
7. publish the outputs and commit the offsets, atomically where the bus can;
8. execute the effects that must see the commit done;
9. take the snapshot that is due, and send pieces of it in commits of their own (snapshot_outbox.py).

A crash between any two steps is repaired by 1-3: effects are idempotent, outputs are deterministic.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import structlog

from ..config.model import ModelConfig
from ..io.avro import Undecodable, decode
from ..io.bus import Bus, Partition, Polled, RawRecord
from ..io.failpoints import failpoint
from ..io.metrics import Meter
from ..io.snapshots import SnapshotError
from . import poison
from .contract import AfterCommit, Batch, Effect, Hold, Output, Record, Reply, Send, Stage, Timer
from .recovery import Recovery, SnapshotCadence, Snapshots
from .snapshot_outbox import Outbox, outgoing
from .snapshot_parcel import AtOnce, Encoder
from .told import tell
from .tracing import traced

TIMER_NS = 250_000_000
REPLY_ROUNDS = 16
SYMBOL_LENGTH = 256


@dataclass(frozen=True)
class World:
    """Everything outside the pure core that the loop needs; the composition root fills it.

    `refusals` collects the files that a search for a snapshot had to pass over, for people on call. `encoder` packs
    snapshots, beside the loop if it can.
    """

    bus: Bus
    snapshots: Snapshots
    execute: Callable[[Effect], Sequence[Reply]]
    now_ns: Callable[[], int]
    meter: Meter
    fingerprint: str
    cadence: SnapshotCadence
    log: Any = field(default_factory=structlog.get_logger)
    refusals: list[tuple[Path, SnapshotError]] = field(default_factory=list[tuple[Path, SnapshotError]])
    encoder: Encoder = field(default_factory=AtOnce)


class StopRequested(Protocol):
    """Asked between batches; true ends the loop cleanly."""

    def __call__(self) -> bool: ...


class Runner:
    """One stage on one bus. `turn` is one round of the loop, so that tests can drive it.

    `held` has the partitions that are committed no further than a hold, with the offset. `turns` and `positions` are
    looked at from other threads (readiness, watchdog), which change nothing.
    """

    def __init__(
        self, stage: Stage[Any], config: ModelConfig, world: World, max_records: int = 2000, state: Any = None
    ) -> None:
        """`state` is a fresh one, where the caller has made it already."""
        self.stage = stage
        self.world = world
        self.max_records = max_records
        self.state = stage.init(config) if state is None else state
        self.recovery = Recovery(stage, world, config)
        self.outbox = Outbox(self.recovery)
        self.positions: dict[Partition, int] = {}
        self.last_seen_ns: dict[tuple[int, str], int] = {}
        self.last_timer_ns = 0
        self.held: dict[Partition, int] = {}
        self.turns = 0
        self.committing = False
        self.starting = False

    def run(self, stop: StopRequested, timeout_s: float = 0.1) -> None:
        """Loop until asked to stop; then snapshot what has moved and return."""
        while not stop():
            self.turn(timeout_s)
        self.outbox.finish(self.state, self.positions)

    def turn(self, timeout_s: float = 0.0) -> bool:
        """One round; true if there was anything to do."""
        polled = self.world.bus.poll(self.max_records, timeout_s)
        self.rebalance(polled)
        if polled.records:
            self.process(polled.records)
        self.tick()
        self.outbox.carry(self.state, self.positions)
        self.turns += 1
        return bool(polled.records or polled.assigned)

    @property
    def restored_records(self) -> int:
        """Grows while a replay gets on."""
        return self.recovery.restored_records

    def waiting_for(self) -> str:
        """What keeps this process from consuming; empty when nothing does."""
        restoring = self.recovery.restoring
        if restoring is not None:
            return restoring.told(self.world.now_ns())
        return "" if self.positions and not self.starting else "waiting for partitions"

    def rebalance(self, polled: Polled) -> None:
        """Give up what was revoked; restore and replay what was assigned (steps 1-3)."""
        self.world.meter.rebalanced(len(polled.assigned), len(polled.revoked))
        begun_ns = self.world.now_ns()
        for partition in polled.revoked:
            if self.stage.release and partition.topic == self.stage.consumes[0].name:
                self.outbox.hand_over(self.state, partition.number, self.positions, begun_ns)
                self.state = self.stage.release(self.state, partition.number)
            self.positions.pop(partition, None)
            self.held.pop(partition, None)
        self.starting = bool(polled.assigned)
        for partition in polled.assigned:
            self.state, self.positions[partition] = self.recovery.recover(self.state, partition, self.replayed)
            self.world.bus.start(partition, self.positions[partition])
        self.starting = False

    def replayed(self, raw: Sequence[RawRecord], state: Any) -> Any:
        """The state after records whose outputs were already committed."""
        records, _ = self.decoded(raw)
        self.look(records)
        _, state = poison.handle(self.stage, Batch(self.world.now_ns(), records), state)
        return state

    def process(self, raw: Sequence[RawRecord]) -> None:
        """Steps 4 to 9 for one poll."""
        now_ns = self.world.now_ns()
        records, outputs = self.decoded(raw)
        self.look(records)
        outputs += self.settle(Batch(now_ns, records))
        for record in raw:
            self.positions[record.partition] = record.offset + 1
        self.publish(traced(self.stage.name, raw, records, outputs), {record.partition for record in raw})
        self.world.meter.batch(len(raw), self.world.now_ns() - now_ns)

    def tick(self) -> None:
        """Let time alone pass: an empty batch with a timer, a few times a second."""
        now_ns = self.world.now_ns()
        if now_ns - self.last_timer_ns < TIMER_NS:
            return
        timer = Timer(self.last_timer_ns or now_ns, self.last_seen_ns)
        self.last_timer_ns = now_ns
        outputs = self.settle(Batch(now_ns, (), timer))
        if outputs or self.held:
            self.publish(outputs, set())

    def decoded(self, raw: Sequence[RawRecord]) -> tuple[list[Record], list[Output]]:
        """Records that could be decoded, and dead letters for the others (step 4)."""
        records: list[Record] = []
        letters: list[Output] = []
        for r in raw:
            value = decode(r.value)
            if isinstance(value, Undecodable):
                letters += poison.refused(self.stage, r, value.reason, value.detail, self.world.now_ns())
            else:
                records.append(Record(r.partition, r.offset, r.key, value, r.timestamp_ns, r.headers, r.value))
        return records, letters

    def look(self, records: Sequence[Record]) -> None:
        """Remember when each symbol was last seen, for stages that watch silence."""
        if self.stage.watches_silence:
            for record in records:
                symbol = getattr(record.value, "symbol", None)
                if symbol is not None and len(symbol) <= SYMBOL_LENGTH:
                    self.last_seen_ns[record.partition.number, symbol] = record.timestamp_ns

    def settle(self, batch: Batch) -> list[Output]:
        """Handle, execute effects, handle their replies, until nothing is asked (steps 5 and 6)."""
        settled: list[Output] = []
        for _ in range(REPLY_ROUNDS):
            outputs, self.state = poison.handle(self.stage, batch, self.state)
            settled += [output for output in outputs if not isinstance(output, Effect)]
            effects = [output for output in outputs if isinstance(output, Effect)]
            if not effects:
                return settled
            replies = [reply for effect in effects for reply in self.world.execute(effect)]
            failpoint("runner.after_effects")
            if not replies:
                return settled
            batch = Batch(batch.now_ns, [Record(Partition("", -1), -1, None, reply, batch.now_ns) for reply in replies])
        raise RuntimeError(f"{self.stage.name}: effects and replies did not settle in {REPLY_ROUNDS} rounds")

    def publish(self, outputs: Sequence[Output], touched: set[Partition]) -> None:
        """Outputs and offsets in one commit, then what must see it (steps 7 and 8)."""
        sends = [output for output in outputs if isinstance(output, Send)]
        failpoint("runner.before_commit")
        begun_ns = self.world.now_ns()
        self.committing = True
        self.world.bus.commit([outgoing(send) for send in sends], self.committable(outputs, touched))
        self.committing = False
        failpoint("runner.after_commit")
        self.world.meter.committed(self.world.now_ns() - begun_ns)
        self.world.meter.sent(sends)
        tell(self.world.log, sends)
        for output in outputs:
            if isinstance(output, AfterCommit):
                self.world.execute(output.effect)
        self.recovery.advanced(touched)

    def committable(self, outputs: Sequence[Output], touched: set[Partition]) -> Mapping[Partition, int]:
        """The offsets to commit: as far as was handled, but no further than a hold.

        A partition that was held is looked at again without a new record of it: the hold may be gone.
        """
        positions = {partition: self.positions[partition] for partition in touched | self.held.keys()}
        for output in outputs:
            if isinstance(output, Hold) and output.partition in positions:
                positions[output.partition] = min(positions[output.partition], output.offset)
        due = {p: offset for p, offset in positions.items() if p in touched or offset != self.held[p]}
        self.held = {p: offset for p, offset in positions.items() if offset < self.positions[p]}
        return due
