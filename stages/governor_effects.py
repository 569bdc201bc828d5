# SPDX-License-Identifier: MIT
"""Executes what the governor asks for: the file, the audit log, the rate limiter, the log of epochs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config.errors import ConfigError, shown
from ..config.model import load, packaged_text
from ..config.overrides import Override, apply_environment
from ..io.atomic_file import write_atomically
from ..io.audit_log import append_audit_log, entries, last_entry, verify
from ..io.avro import Undecodable, decode, encode
from ..io.bus import Bus, Partition
from ..io.config_backups import content_hash, freeze_path, keep_version, stamped_backups
from ..io.file_lock import LockBusy
from ..io.mutation_limiter import recent_mutations
from ..io.mutation_protocol import (
    ABORTED,
    INTENT,
    SUCCESS,
    ConfigPaths,
    close_mutation,
    open_mutation,
    reconcile,
    replace_config,
    undo,
)
from ..io.mutation_rules import ConfigMutationError
from ..io.rate_limits import RedisRateLimiter
from ..io.toml_edit import document
from ..schemas.records import AnyRecord, AuditHead, ConfigDecision, ConfigEpoch, EpochVerdict
from .contract import Effect, Reply, Topic
from .governor_messages import (
    AskLimiter,
    CloseMutation,
    ConfigReplaced,
    FindVersion,
    Head,
    LimiterReply,
    Look,
    MutationOpened,
    MutationRefused,
    OpenMutation,
    RecordAudit,
    Recorded,
    Recover,
    Recovered,
    RecoveryFailed,
    ReplaceConfig,
    Seen,
    SettleLimiter,
    VersionFound,
    VersionUnknown,
)
from .governor_outputs import decision_of
from .governor_state import ANSWERS_KEPT, NONCES_KEPT
from .governor_trail import completed
from .judge import Judge, PairedShadow
from .topology import AUDIT, EPOCHS

NO_LIMITER = "no Redis is configured, so the rate limits cannot be kept; nothing is changed without them"
SHORTEST_HASH = 6
NOTE_LENGTH = 500
REFUSALS = (ConfigMutationError, OSError, UnicodeDecodeError, LockBusy)


@dataclass(frozen=True)
class GovernorWorld:
    """Everything outside that the governor acts on.

    `read_epochs` gives all committed records of the epochs topic, in log order. `limiter` None refuses every change;
    `proposal_key` None accepts unsigned proposals. `noted_head` is the newest audit line that the broker knows.
    """

    paths: ConfigPaths
    environ: Mapping[str, str]
    read_epochs: Callable[[], Sequence[AnyRecord]]
    limiter: RedisRateLimiter | None
    proposal_key: bytes | None = field(default=None, repr=False)
    noted_head: Callable[[], str | None] = lambda: None
    judge: Judge = field(default_factory=PairedShadow)


def executors(world: GovernorWorld) -> dict[type[Effect], Callable[[Any], Sequence[Reply]]]:
    """Which function executes which effect. Refusals are replies; a disk that fails under an audit line is raised."""
    return {
        Recover: lambda effect: (recover(world),),
        AskLimiter: lambda effect: (ask_limiter(world, effect),),
        FindVersion: lambda effect: (find_version(world, effect),),
        Look: lambda effect: (look(world.paths),),
        OpenMutation: lambda effect: (open_file(world.paths, effect),),
        ReplaceConfig: lambda effect: (replace_file(world.paths, effect),),
        CloseMutation: lambda effect: close(world.paths, effect),
        RecordAudit: lambda effect: record(world.paths, effect),
        SettleLimiter: lambda effect: settle(world.limiter, effect),
    }


def epochs_in(bus: Bus) -> list[AnyRecord]:
    """All committed records of the epochs topic, in log order."""
    return records_in(bus, EPOCHS)


def head_in(bus: Bus) -> str | None:
    """The newest audit line that was noted in the broker, None before the first."""
    heads = [record.head for record in records_in(bus, AUDIT) if isinstance(record, AuditHead)]
    return heads[-1] if heads else None


def records_in(bus: Bus, topic: Topic) -> list[AnyRecord]:
    """All committed records of a topic's first partition; ones that cannot be decoded are not among them."""
    partition = Partition(topic.name, 0)
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
        doubts = verify(world.paths.audit_log, world.noted_head())
        repaired = reconcile(world.paths.config, world.paths.audit_log, newest.config_hash if newest else None)
        text = world.paths.file.read_bytes().decode()
        overrides = overrides_of(text, world.environ)
        keep_version(world.paths.file)
        repaired += completed(world.paths.audit_log, records)
    except (*REFUSALS, ConfigError) as fault:
        known = refusals(world.paths.audit_log), recorded_in(world.paths.audit_log)
        return RecoveryFailed(f"{world.paths.config}: {fault}", *known)
    verdicts = {record.epoch: record for record in records if isinstance(record, EpochVerdict)}
    if world.limiter is not None:
        remind(world.limiter, world.paths.audit_log)
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
        answers=refusals(world.paths.audit_log) | {e.proposal_id: accepted(e) for e in epochs.values()},
        repaired=tuple(repaired),
        doubts=tuple(doubts),
        proposal_key=world.proposal_key,
        nonces=used_nonces(world.paths.audit_log),
        recorded=recorded_in(world.paths.audit_log),
        head=head_of(world.paths),
        judge=world.judge,
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


def refusals(audit_log: Path) -> dict[str, ConfigDecision]:
    """The final answers no of the audit log, oldest first; what a crash interrupted was no answer."""
    found = [e for e in entries(audit_log) if e.get("event") == ABORTED and not e.get("reconciled")]
    return {
        name: decision_of(name, "refused", str(entry.get("error")), 0)
        for entry in found[-ANSWERS_KEPT:]
        if (name := str(entry.get("proposal_id")))
    }


def used_nonces(audit_log: Path) -> dict[str, str]:
    """The nonces of answered proposals, with their ids; older ones have expired with their proposals."""
    found = [(e.get("nonce"), e.get("proposal_id")) for e in entries(audit_log)[-NONCES_KEPT:]]
    return {str(nonce): str(proposal_id) for nonce, proposal_id in found if nonce}


def recorded_in(audit_log: Path) -> frozenset[tuple[str, int]]:
    """The proposals whose answer has its line, each with its place in the log."""
    found = [(str(e.get("proposal_id")), e.get("offset")) for e in entries(audit_log)[-NONCES_KEPT:]]
    return frozenset((name, offset) for name, offset in found if isinstance(offset, int))


def remind(limiter: RedisRateLimiter, audit_log: Path) -> bool:
    """Tell a Redis that has lost the limits what the audit log knows."""
    made = [e for e in entries(audit_log) if e.get("event") == SUCCESS and e.get("state_steps") is not None]
    history = [(str(e.get("proposal_id")), age) for age, e in recent_mutations(audit_log)]
    return limiter.remember(history, int(made[-1]["state_steps"]) if made else 0)


def find_version(world: GovernorWorld, effect: FindVersion) -> VersionFound | VersionUnknown:
    """The epoch that is meant, and the newest backup that leads to it under the overrides in force."""
    epochs = {e.epoch: e for e in world.read_epochs() if isinstance(e, ConfigEpoch)}
    try:
        version = named(epochs, effect.target)
        if version.config_hash == epochs[max(epochs)].config_hash:
            raise ConfigMutationError(
                f"version {version.config_hash[:16]} is in force already; expected an earlier one"
            )
        for path in reversed(stamped_backups(world.paths.file)):
            text = path.read_bytes().decode(errors="replace")
            if leads_to(text, world.environ) == version.config_hash:
                return VersionFound(effect.proposal_id, version.config, version.config_hash, text, str(path))
    except (*REFUSALS, KeyError) as fault:
        return VersionUnknown(effect.proposal_id, str(fault))
    found = f"no backup leads to version {version.config_hash[:16]} under the overrides in force"
    return VersionUnknown(effect.proposal_id, f"{found}; propose its values, or restore its file and adopt it")


def named(epochs: Mapping[int, ConfigEpoch], target: str | None) -> ConfigEpoch:
    """The newest epoch with this hash, or beginning of one; None is the version before the one in force.

    A rollback goes behind what it came back to: twice back is two versions back.
    """
    if not epochs:
        raise ConfigMutationError("there is no epoch yet; expected one to go back from")
    if target is not None:
        matches = {e.config_hash: e for _, e in sorted(epochs.items()) if e.config_hash.startswith(target.lower())}
        if len(matches) != 1 or len(target) < SHORTEST_HASH:
            raise ConfigMutationError(
                f"{shown(target)} names {len(matches)} versions; expected at least {SHORTEST_HASH} digits of one of"
                f" {', '.join(sorted({e.config_hash[:12] for e in epochs.values()}))} (usp config history)"
            )
        return next(iter(matches.values()))
    newest = epochs[max(epochs)]
    while newest.rollback:
        same = [n for n, e in epochs.items() if n < newest.epoch and e.config_hash == newest.config_hash]
        if not same:
            break
        newest = epochs[max(same)]
    before = predecessor(epochs, newest)
    if before is None:
        raise ConfigMutationError("there is no version before the one in force; name one with --to")
    return before


def leads_to(text: str, environ: Mapping[str, str]) -> str | None:
    """The hash of the configuration of a file under the overrides in force; None if the loader refuses it."""
    try:
        return load(apply_environment(document(text), environ)[0]).content_hash
    except (ConfigMutationError, ConfigError):
        return None


def look(paths: ConfigPaths) -> Seen:
    """The file and the end of the audit log as they are now."""
    try:
        file_hash = content_hash(paths.file.read_bytes())
    except OSError:
        file_hash = None
    return Seen(file_hash, head_of(paths))


def freeze_note(paths: ConfigPaths) -> str | None:
    """Why an operator has frozen all changes, None if nobody has."""
    note = freeze_path(paths.file)
    try:
        return note.read_text(errors="replace").strip()[:NOTE_LENGTH] or "no reason given"
    except FileNotFoundError:
        return None
    except OSError as fault:
        return f"{note} is there but cannot be read: {fault}"


def ask_limiter(world: GovernorWorld, effect: AskLimiter) -> LimiterReply:
    """The limiter's answer; without one, no. A Redis that was wiped is told what the audit log knows first."""
    note, limiter = freeze_note(world.paths), world.limiter
    if note is not None:
        return LimiterReply(effect.proposal_id, False, f"all changes are frozen: {note}; lift it with usp config thaw")
    if limiter is None:
        return LimiterReply(effect.proposal_id, False, NO_LIMITER)
    found = limiter.ask(effect.proposal_id, effect.steps, effect.nonce)
    if found.lost and remind(limiter, world.paths.audit_log):
        found = limiter.ask(effect.proposal_id, effect.steps, effect.nonce)
    stored = decode(bytes.fromhex(found.stored)) if found.stored else None
    decision = stored if isinstance(stored, ConfigDecision) else None
    return LimiterReply(effect.proposal_id, found.allowed, found.reason, decision)


def open_file(paths: ConfigPaths, effect: OpenMutation) -> Reply:
    """Intent and backups, or why not."""
    try:
        backup = open_mutation(paths, effect.mutation)
        return MutationOpened(effect.mutation.proposal_id, str(backup), head_of(paths))
    except REFUSALS as fault:
        return MutationRefused(effect.mutation.proposal_id, str(fault))


def head_of(paths: ConfigPaths) -> Head:
    """The newest audit line."""
    newest = last_entry(paths.audit_log)
    return Head(int(newest.get("sequence", 0)), str(newest.get("hash", "")))


def replace_file(paths: ConfigPaths, effect: ReplaceConfig) -> Reply:
    """The new file, or why not; then it is the old one, or the process ends and its next start repairs it."""
    try:
        replace_config(paths, effect.proposal_id, effect.text)
    except REFUSALS as fault:
        undo(paths, effect.proposal_id)
        return MutationRefused(effect.proposal_id, str(fault))
    return ConfigReplaced(effect.proposal_id)


def close(paths: ConfigPaths, effect: CloseMutation) -> Sequence[Reply]:
    """The result of a mutation; its version can be had again from now on."""
    close_mutation(paths, effect.proposal_id, effect.event, effect.facts)
    keep_version(paths.file)
    return ()


def record(paths: ConfigPaths, effect: RecordAudit) -> Sequence[Reply]:
    """An audit line."""
    append_audit_log(paths.audit_log, effect.entry)
    return (Recorded(),)


def settle(limiter: RedisRateLimiter | None, effect: SettleLimiter) -> Sequence[Reply]:
    """Without Redis the slot stays taken, which errs on the safe side."""
    if limiter is not None:
        limiter.settle(effect.decision.proposal_id, encode(effect.decision).hex(), counts=effect.counts)
    return ()
