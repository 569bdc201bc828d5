# SPDX-License-Identifier: MIT
"""How a configuration reaches the orchestrator's symbols: PREPARE, epochs, shadows, verdicts. All are records in-band.

* PREPARE asks to compile; it changes no forecast. Its program is compiled beside the loop and then acknowledged.
* An epoch that will be judged starts a shadow in its partition: each symbol's state is copied, and the copy runs on
  under the configuration before, on the same ticks.
* A verdict drops the shadows. A rollback promotes them instead: their states never saw the bad configuration.
* Where an epoch selects another program for a symbol, its state migrates (see `predictor.migration`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..config.errors import ConfigError
from ..config.model import from_canonical_bytes
from ..io.bus import Partition
from ..predictor import migrated, structure_of
from ..predictor.structure import Structure
from ..schemas.records import ConfigAck, ConfigDecision, ConfigEpoch, EpochVerdict
from . import topology
from .contract import Effect, Output, Reply, Send
from .lanes import ShadowKey, SymbolKey
from .orchestrator_state import Epoch, OrchestratorState, Watch, drop_shadow, pool_of
from .poison import BrokenInvariant, UnknownEpoch

START = "start"


@dataclass(frozen=True)
class Compile(Effect):
    """Compile what a PREPARE names, beside the loop; asked again until it is done."""

    prepare: ConfigDecision


@dataclass(frozen=True)
class Compiled(Reply):
    """Whether the prepared configuration can be run here; `detail` says why not, or what was compiled."""

    proposal_id: str
    able: bool
    detail: str


class EpochChange(NamedTuple):
    """An epoch of a partition gives way to the next."""

    partition: int
    before: Epoch
    after: Epoch
    record: ConfigEpoch


class Verdict(NamedTuple):
    """The judgement on an epoch, where a partition hears of it."""

    partition: int
    record: EpochVerdict


class Preparation(NamedTuple):
    """A PREPARE, or the end of one, where a partition hears of it."""

    partition: int
    record: ConfigDecision


Control = EpochChange | Verdict | Preparation


def epoch_of(record: ConfigEpoch, current: Epoch, partition: Partition) -> Epoch:
    """The epoch that the record starts; a repeated or older one changes nothing. UnknownEpoch if it cannot be run."""
    if record.epoch <= current.number:
        return current
    where = f"{partition.topic}/{partition.number}: epoch {record.epoch}"
    try:
        config = from_canonical_bytes(record.config)
    except ConfigError as fault:
        raise UnknownEpoch(f"{where} holds a configuration that this build cannot read: {fault}") from fault
    if config.content_hash != record.config_hash:
        raise UnknownEpoch(
            f"{where} names configuration {record.config_hash}, found content {config.content_hash}; expected equal"
            " hashes. Run the build that wrote it."
        )
    return Epoch(record.epoch, record.config_hash, config)


def apply(control: Control, state: OrchestratorState) -> None:
    """Carry a control record out, between two ticks. BrokenInvariant if it fails half-way: recovery replays it."""
    match control:
        case EpochChange(partition=partition, after=after):
            try:
                change_epoch(control, state)
            except Exception as fault:
                raise BrokenInvariant(f"partition {partition}: epoch {after.number} could not be started") from fault
        case Verdict(partition=partition, record=verdict):
            watch = state.watches.get(partition)
            if watch is not None and watch.epoch == verdict.epoch:
                end_watch(partition, state)
        case Preparation(partition=partition, record=decision):
            prepare(partition, decision, state)


def change_epoch(change: EpochChange, state: OrchestratorState) -> None:
    """End the watch that was, migrate, and begin a new one if the epoch is to be judged."""
    partition, after = change.partition, change.after
    watch = state.watches.get(partition)
    if watch is not None and change.record.rollback and watch.previous.config_hash == after.config_hash:
        promote(partition, state)
    end_watch(partition, state)
    if is_judged(change.record):
        begin_watch(Watch(after.number, change.before), partition, state)
    migrate(symbols_of(state, partition), after, state)
    forget_recipes(state)
    waiting = state.prepares.get(partition)
    if waiting is not None and (waiting.epoch or 0) <= after.number:
        del state.prepares[partition]


def forget_recipes(state: OrchestratorState) -> None:
    """Keep no parameters of configurations that no partition runs any more."""
    used = {state.epoch_zero.config_hash, *(epoch.config_hash for epoch in state.epochs.values())}
    used |= {watch.previous.config_hash for watch in state.watches.values()}
    state.recipes = {name: recipe for name, recipe in state.recipes.items() if name[0] in used}


def is_judged(record: ConfigEpoch) -> bool:
    """Epochs of proposals are judged; a file that the governor found, and a way back, are not."""
    return record.proposal_id != START and not record.rollback


def symbols_of(state: OrchestratorState, partition: int) -> list[SymbolKey]:
    """The partition's symbols, in order of their names."""
    return sorted(key for key in state.symbols if key[0] == partition)


def by_program(keys: Iterable[SymbolKey], state: OrchestratorState) -> dict[Structure, list[SymbolKey]]:
    """The symbols under the program that each runs in."""
    found: dict[Structure, list[SymbolKey]] = {}
    for key in keys:
        found.setdefault(state.symbols[key].structure, []).append(key)
    return found


def begin_watch(watch: Watch, partition: int, state: OrchestratorState) -> None:
    """Copy every symbol's state into a lane of its shadow."""
    state.watches[partition] = watch
    for structure, keys in by_program(symbols_of(state, partition), state).items():
        pool = state.pools[structure]
        for key, column in zip(keys, pool.columns(keys).values(), strict=True):
            pool.put(ShadowKey(*key), column)
            state.symbols[key] = state.symbols[key]._replace(shadow=structure)


def end_watch(partition: int, state: OrchestratorState) -> None:
    """Drop the shadows that are left."""
    if state.watches.pop(partition, None) is not None:
        for key in symbols_of(state, partition):
            drop_shadow(key, state)


def promote(partition: int, state: OrchestratorState) -> None:
    """Each shadow takes the place of its symbol; one without a shadow goes on as it is."""
    for key in symbols_of(state, partition):
        symbol = state.symbols[key]
        if symbol.shadow is not None:
            state.pools[symbol.structure].remove(key)
            state.pools[symbol.shadow].rename(ShadowKey(*key), key)
            state.symbols[key] = symbol._replace(structure=symbol.shadow, shadow=None)


def migrate(keys: Iterable[SymbolKey], epoch: Epoch, state: OrchestratorState) -> None:
    """Move the symbols for which the epoch selects another program."""
    for structure, members in by_program(keys, state).items():
        moving = [key for key in members if structure_of(epoch.config, key[1]) != structure]
        old = state.pools[structure]
        for key, column in zip(moving, old.columns(moving).values(), strict=True):
            target = structure_of(epoch.config, key[1])
            new = pool_of(state, target)
            new.put(key, migrated(old.program, new.program, epoch.config, key[1], column))
            old.remove(key)
            state.symbols[key] = state.symbols[key]._replace(structure=target)


def prepare(partition: int, decision: ConfigDecision, state: OrchestratorState) -> None:
    """Remember the newest open PREPARE; any other answer to its proposal closes it."""
    if decision.outcome == "prepared":
        state.prepares[partition] = decision
        state.acknowledged.discard(partition)
    elif partition in state.prepares and state.prepares[partition].proposal_id == decision.proposal_id:
        del state.prepares[partition]


def asked(state: OrchestratorState) -> list[Output]:
    """What is to be compiled, each proposal once."""
    open_ = {d.proposal_id: d for n, d in sorted(state.prepares.items()) if n not in state.acknowledged}
    return [Compile(decision) for decision in open_.values()]


def acknowledge(replies: Sequence[Compiled], state: OrchestratorState, now_ns: int) -> list[Output]:
    """ACK or NACK for each partition of ours that was asked; asked again, the same answer."""
    outputs: list[Output] = []
    for reply in replies:
        for partition, decision in sorted(state.prepares.items()):
            if decision.proposal_id == reply.proposal_id and partition not in state.acknowledged:
                state.acknowledged.add(partition)
                ack = ConfigAck(
                    proposal_id=reply.proposal_id,
                    partition=partition,
                    able=reply.able,
                    detail=reply.detail,
                    sent_ns=now_ns,
                )
                outputs.append(Send(topology.ACKS, ack, reply.proposal_id))
    return outputs
