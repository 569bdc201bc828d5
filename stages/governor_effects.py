# SPDX-License-Identifier: MIT
"""Executes what the governor asks for: the file, the audit log, the rate limiter, the log of epochs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..config.errors import ConfigError, shown
from ..config.model import load
from ..config.overrides import apply_environment
from ..io.audit_log import append_audit_log
from ..io.avro import decode, encode
from ..io.config_backups import content_hash, freeze_path, keep_version, stamped_backups
from ..io.mutation_protocol import (
    ConfigPaths,
    close_mutation,
    open_mutation,
    replace_config,
    undo,
)
from ..io.mutation_rules import ConfigMutationError
from ..io.rate_limits import RedisRateLimiter
from ..io.toml_edit import document
from ..schemas.records import ConfigDecision, ConfigEpoch
from .contract import Effect, Reply
from .governor_messages import (
    AskLimiter,
    CloseMutation,
    ConfigReplaced,
    FindVersion,
    LimiterReply,
    Look,
    MutationOpened,
    MutationRefused,
    OpenMutation,
    RecordAudit,
    Recorded,
    Recover,
    ReplaceConfig,
    Seen,
    SettleLimiter,
    VersionFound,
    VersionUnknown,
)
from .governor_recovery import REFUSALS, GovernorWorld, head_of, predecessor, recover, remind

NO_LIMITER = "no Redis is configured, so the rate limits cannot be kept; nothing is changed without them"
SHORTEST_HASH = 6
NOTE_LENGTH = 500


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
