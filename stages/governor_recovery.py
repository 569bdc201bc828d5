# SPDX-License-Identifier: MIT
"""What the governor knows when it starts: the file, its versions, the audit log and the epochs, reconciled."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..config.errors import ConfigError
from ..config.model import load, packaged_text
from ..config.overrides import Override, apply_environment
from ..io.atomic_file import write_atomically
from ..io.audit_log import entries, last_entry, verify
from ..io.avro import Undecodable, decode
from ..io.bus import Bus, Partition
from ..io.config_backups import content_hash, keep_version
from ..io.file_lock import LockBusy
from ..io.mutation_limiter import recent_mutations
from ..io.mutation_protocol import ABORTED, INTENT, SUCCESS, ConfigPaths, reconcile
from ..io.mutation_rules import ConfigMutationError
from ..io.rate_limits import RedisRateLimiter
from ..io.toml_edit import document
from ..schemas.records import AnyRecord, AuditHead, ConfigDecision, ConfigEpoch, EpochVerdict
from .contract import Topic
from .governor_messages import Head, Recovered, RecoveryFailed
from .governor_outputs import decision_of
from .governor_state import ANSWERS_KEPT, NONCES_KEPT
from .governor_trail import completed
from .judge import Judge, PairedShadow
from .topology import AUDIT, EPOCHS

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


def head_of(paths: ConfigPaths) -> Head:
    """The newest audit line."""
    newest = last_entry(paths.audit_log)
    return Head(int(newest.get("sequence", 0)), str(newest.get("hash", "")))
