# SPDX-License-Identifier: MIT
"""Executes what the governor asks for: the file, the audit log, the rate limiter, the log of epochs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config.errors import ConfigError
from ..config.model import load, packaged_text
from ..config.overrides import Override, apply_environment
from ..io.atomic_file import write_atomically
from ..io.audit_log import append_audit_log, entries, verify
from ..io.avro import Undecodable, decode, encode
from ..io.bus import Bus, Partition
from ..io.config_backups import content_hash
from ..io.file_lock import LockBusy
from ..io.mutation_limiter import recent_mutations
from ..io.mutation_protocol import INTENT, ConfigPaths, close_mutation, open_mutation, reconcile, replace_config
from ..io.mutation_rules import ConfigMutationError
from ..io.rate_limits import RedisRateLimiter
from ..io.toml_edit import document
from ..schemas.records import AnyRecord, ConfigDecision, ConfigEpoch, EpochVerdict
from .contract import Effect, Reply
from .governor_messages import (
    AskLimiter,
    CloseMutation,
    ConfigReplaced,
    LimiterReply,
    MutationOpened,
    MutationRefused,
    OpenMutation,
    RecordAudit,
    Recover,
    Recovered,
    RecoveryFailed,
    ReplaceConfig,
    SettleLimiter,
)
from .governor_outputs import decision_of
from .topology import EPOCHS

NO_LIMITER = "no Redis is configured, so the rate limits cannot be kept; nothing is changed without them"
REFUSALS = (ConfigMutationError, OSError, UnicodeDecodeError, LockBusy)


@dataclass(frozen=True)
class GovernorWorld:
    """Everything outside that the governor acts on.

    `read_epochs` gives all committed records of the epochs topic, in log order. `limiter` None refuses every change;
    `proposal_key` None accepts unsigned proposals.
    """

    paths: ConfigPaths
    environ: Mapping[str, str]
    read_epochs: Callable[[], Sequence[AnyRecord]]
    limiter: RedisRateLimiter | None
    proposal_key: bytes | None = field(default=None, repr=False)


def executors(world: GovernorWorld) -> dict[type[Effect], Callable[[Any], Sequence[Reply]]]:
    """Which function executes which effect. Refusals are replies; a disk that fails under an audit line is raised."""
    return {
        Recover: lambda effect: (recover(world),),
        AskLimiter: lambda effect: (ask_limiter(world.limiter, effect),),
        OpenMutation: lambda effect: (open_file(world.paths, effect),),
        ReplaceConfig: lambda effect: (replace_file(world.paths, effect),),
        CloseMutation: lambda effect: close(world.paths, effect),
        RecordAudit: lambda effect: record(world.paths, effect),
        SettleLimiter: lambda effect: settle(world.limiter, effect),
    }


def epochs_in(bus: Bus) -> list[AnyRecord]:
    """All committed records of the epochs topic, in log order; ones that cannot be decoded are not among them."""
    partition = Partition(EPOCHS.name, 0)
    first, end = bus.bounds(partition)
    found = [decode(raw.value) for batch in bus.read(partition, first, end) for raw in batch]
    return [value for value in found if not isinstance(value, Undecodable)]


def recover(world: GovernorWorld) -> Recovered | RecoveryFailed:
    """Reconcile, then read. A file that cannot be used is a reply: people must act, the stage goes on."""
    records = world.read_epochs()
    epochs = {record.epoch: record for record in records if isinstance(record, ConfigEpoch)}
    newest = epochs[max(epochs)] if epochs else None
    try:
        seed(world.paths.file)
        doubts = verify(world.paths.audit_log)
        repaired = reconcile(world.paths.config, world.paths.audit_log, newest.config_hash if newest else None)
        text = world.paths.file.read_bytes().decode()
        overrides = overrides_of(text, world.environ)
    except (*REFUSALS, ConfigError) as fault:
        return RecoveryFailed(f"{world.paths.config}: {fault}")
    verdicts = {record.epoch: record for record in records if isinstance(record, EpochVerdict)}
    if world.limiter is not None:
        world.limiter.remember([(str(e.get("proposal_id")), age) for age, e in recent_mutations(world.paths.audit_log)])
    backup, previous_text = version_before(world.paths, newest)
    return Recovered(
        text=text,
        overrides=tuple(overrides),
        epoch=newest,
        previous=predecessor(epochs, newest),
        previous_text=previous_text,
        backup=backup,
        is_judged=newest is not None and newest.epoch in verdicts,
        condemned=frozenset(
            epochs[n].config_hash for n, v in verdicts.items() if v.verdict == "rolled_back" and n in epochs
        ),
        answers={e.proposal_id: accepted(e) for e in epochs.values()},
        repaired=tuple(repaired),
        doubts=tuple(doubts),
        proposal_key=world.proposal_key,
    )


def seed(path: Path) -> None:
    """The packaged configuration, where there is none yet."""
    if not path.exists():
        write_atomically(path, packaged_text().encode())


def overrides_of(text: str, environ: Mapping[str, str]) -> list[Override]:
    """What the environment replaces; ConfigError if the loader refuses the file with or without that."""
    mapping = document(text)
    load(mapping)
    merged, overrides = apply_environment(mapping, environ)
    load(merged)
    return overrides


def predecessor(epochs: Mapping[int, ConfigEpoch], newest: ConfigEpoch | None) -> ConfigEpoch | None:
    """The epoch that was in force before the newest."""
    older = [n for n, e in epochs.items() if newest and n < newest.epoch and e.config_hash == newest.previous_hash]
    return epochs[max(older)] if older else None


def version_before(paths: ConfigPaths, newest: ConfigEpoch | None) -> tuple[str | None, str | None]:
    """Name and text of the backup that the newest epoch's change made, if it still is that version."""
    for entry in reversed(entries(paths.audit_log) if newest else []):
        if entry.get("event") == INTENT and newest and entry.get("proposal_id") == newest.proposal_id:
            path = Path(str(entry["backup"]))
            content = path.read_bytes() if path.exists() else b""
            is_same = content_hash(content) == entry["old_file_hash"]
            return (str(path), content.decode()) if is_same else (None, None)
    return None, None


def accepted(epoch: ConfigEpoch) -> ConfigDecision:
    """The answer that the proposal behind an epoch got."""
    return decision_of(epoch.proposal_id, "accepted", f"in force as epoch {epoch.epoch}", epoch.created_ns, epoch)


def ask_limiter(limiter: RedisRateLimiter | None, effect: AskLimiter) -> LimiterReply:
    """The limiter's answer; without one, no."""
    if limiter is None:
        return LimiterReply(effect.proposal_id, False, NO_LIMITER)
    found = limiter.ask(effect.proposal_id, effect.steps, effect.nonce)
    stored = decode(bytes.fromhex(found.stored)) if found.stored else None
    decision = stored if isinstance(stored, ConfigDecision) else None
    return LimiterReply(effect.proposal_id, found.allowed, found.reason, decision)


def open_file(paths: ConfigPaths, effect: OpenMutation) -> Reply:
    """Intent and backups, or why not."""
    try:
        return MutationOpened(effect.mutation.proposal_id, str(open_mutation(paths, effect.mutation)))
    except REFUSALS as fault:
        return MutationRefused(effect.mutation.proposal_id, str(fault))


def replace_file(paths: ConfigPaths, effect: ReplaceConfig) -> Reply:
    """The new file, or why not."""
    try:
        replace_config(paths, effect.proposal_id, effect.text)
    except REFUSALS as fault:
        return MutationRefused(effect.proposal_id, str(fault))
    return ConfigReplaced(effect.proposal_id)


def close(paths: ConfigPaths, effect: CloseMutation) -> Sequence[Reply]:
    """The result of a mutation."""
    close_mutation(paths, effect.proposal_id, effect.event, effect.facts)
    return ()


def record(paths: ConfigPaths, effect: RecordAudit) -> Sequence[Reply]:
    """An audit line."""
    append_audit_log(paths.audit_log, effect.entry)
    return ()


def settle(limiter: RedisRateLimiter | None, effect: SettleLimiter) -> Sequence[Reply]:
    """Without Redis the slot stays taken, which errs on the safe side."""
    if limiter is not None:
        limiter.settle(effect.decision.proposal_id, encode(effect.decision).hex(), counts=effect.counts)
    return ()
