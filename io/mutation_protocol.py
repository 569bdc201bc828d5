# SPDX-License-Identifier: MIT
"""The five phases of a change of config.toml, each on its own, so that a commit can lie between them.

1. validate (the caller, see `mutation_rules`);  2. intent in the audit log, then backups;
3. temporary file, 4. replace, both durable;     5. result in the audit log.

The intent comes first: whatever a crash leaves behind, the next `reconcile` finds it and makes the file the old or
the new version, never a mixture, and the audit log says which.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config.errors import ConfigError
from ..config.model import load
from .atomic_file import remove_leftovers, write_atomically
from .audit_log import Entry, append_audit_log, entries
from .config_backups import content_hash, latest_backup_path, new_backup_path, prune_backups
from .failpoints import failpoint
from .file_lock import locked
from .mutation_rules import ConfigMutationError
from .toml_edit import document, edited

INTENT = "MUTATION_INTENT"
SUCCESS = "MUTATION_SUCCESS"
ABORTED = "MUTATION_ABORTED"
FAILED = "MUTATION_FAILED"
ROLLBACK = "AUTO_ROLLBACK"
BY_HAND = "MANUAL_ROLLBACK"
STATUS = {
    INTENT: "PENDING", SUCCESS: "SUCCESS", ABORTED: "ABORTED", FAILED: "FAILED", ROLLBACK: "ROLLBACK_SUCCESS",
    BY_HAND: "ROLLBACK_SUCCESS",
}  # fmt: skip
AUTOMATIC = "AutoRollback"
ANY_AGE_NS = 2**63
RESULTS = (SUCCESS, ABORTED, FAILED, ROLLBACK, BY_HAND)
SHARED_FIELDS = (
    "proposal_id", "proposer", "trigger", "delta", "best_objective", "backup",
    "old_file_hash", "new_file_hash", "config_hash",
)  # fmt: skip


@dataclass(frozen=True)
class ConfigPaths:
    """The one configuration file and its audit log."""

    config: Path
    audit_log: Path

    @property
    def file(self) -> Path:
        """The file itself, where the path is a symbolic link."""
        return self.config.resolve()


@dataclass(frozen=True)
class Mutation:
    """One change: who wants it and why, what it changes, and the whole new text.

    `old_file_hash` is that of the file which the text was made from. `config_hash` is that of the configuration that
    the text leads to. `restores` names the backup that a rollback brings back.
    """

    proposal_id: str
    trigger: str
    text: str
    old_file_hash: str
    config_hash: str
    delta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    proposer: str = ""
    best_objective: float | None = None
    restores: str | None = None

    @property
    def content(self) -> bytes:
        return self.text.encode()


def open_mutation(paths: ConfigPaths, mutation: Mutation) -> Path:
    """Phase 2 under the lock: intent, then backups; returns the time-stamped backup. Again for the same one: no-op.

    ConfigMutationError if the file is not the one that the text was made from, if the loader would refuse the text,
    or if another change was left half done.
    """
    with locked(paths.file):
        return begin(paths, mutation)


def replace_config(paths: ConfigPaths, proposal_id: str, text: str) -> None:
    """Phases 3 and 4 under the lock. Again after success: no-op. ConfigMutationError if the file changed meanwhile."""
    with locked(paths.file):
        swap(paths, proposal_id, text.encode())


def close_mutation(paths: ConfigPaths, proposal_id: str, event: str, facts: Mapping[str, Any] | None = None) -> None:
    """Phase 5: the result in the audit log. Without an open intent of this id: no-op."""
    intent = open_intent(paths.audit_log)
    if intent is not None and intent.get("proposal_id") == proposal_id:
        shared = {name: intent.get(name) for name in SHARED_FIELDS}
        append_audit_log(paths.audit_log, {"event": event, **shared, **(facts or {}), "status": STATUS[event]})
        failpoint("config.after_result")


def begin(paths: ConfigPaths, mutation: Mutation) -> Path:
    """See `open_mutation`; the caller holds the lock."""
    pending = open_intent(paths.audit_log)
    if pending is not None:
        return resumed(pending, mutation)
    require_version(paths, mutation.old_file_hash)
    require_loadable(mutation.text)
    failpoint("config.before_intent")
    backup = new_backup_path(paths.file)
    append_audit_log(paths.audit_log, intent_entry(mutation, backup))
    failpoint("config.after_intent")
    old, mode = paths.file.read_bytes(), paths.file.stat().st_mode & 0o777
    for path in (backup, latest_backup_path(paths.file)):
        write_atomically(path, old, mode=mode)
    prune_backups(paths.file)
    failpoint("config.after_backup")
    return backup


def intent_entry(mutation: Mutation, backup: Path) -> Entry:
    """What is about to happen, with all that `reconcile` needs."""
    return {
        "event": INTENT,
        "proposal_id": mutation.proposal_id,
        "proposer": mutation.proposer,
        "trigger": mutation.trigger,
        "delta": mutation.delta,
        "best_objective": mutation.best_objective,
        "backup": backup,
        "restores": mutation.restores,
        "old_file_hash": mutation.old_file_hash,
        "new_file_hash": content_hash(mutation.content),
        "config_hash": mutation.config_hash,
        "status": STATUS[INTENT],
    }


def resumed(pending: Entry, mutation: Mutation) -> Path:
    """The backup of an open intent, if it is this very change's."""
    same = (pending.get("proposal_id"), pending.get("new_file_hash"))
    if same != (mutation.proposal_id, content_hash(mutation.content)):
        raise ConfigMutationError(
            f"the change {pending.get('proposal_id')!r} of {pending.get('timestamp')} is not finished;"
            " expected its result in the audit log. Wait for it, or restart the governor: it reconciles at start"
        )
    return Path(str(pending["backup"]))


def swap(paths: ConfigPaths, proposal_id: str, content: bytes) -> None:
    """See `replace_config`; the caller holds the lock."""
    intent = open_intent(paths.audit_log)
    known = (intent or {}).get("proposal_id"), (intent or {}).get("new_file_hash")
    if intent is None or known != (proposal_id, content_hash(content)):
        raise ConfigMutationError(f"no open intent for {proposal_id!r} and this text; expected one before any change")
    found = content_hash(paths.file.read_bytes())
    if found == intent["new_file_hash"]:
        return
    require_version(paths, str(intent["old_file_hash"]))
    put_file(paths.file, content)


def undo(paths: ConfigPaths, proposal_id: str) -> None:
    """Put the old version back if the disk failed after the new one had its name. OSError if it fails again."""
    intent = open_intent(paths.audit_log)
    if intent is not None and intent.get("proposal_id") == proposal_id:
        with locked(paths.file):
            restore_old(paths, intent)


def put_file(path: Path, content: bytes) -> None:
    """The new content in place of the old, durably, with the old file's permissions."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    write_atomically(path, content, mode=mode, reached=lambda step: failpoint(f"config.{step}"))


def require_version(paths: ConfigPaths, file_hash: str) -> None:
    """ConfigMutationError unless the file is byte for byte the version that is known."""
    found = content_hash(paths.file.read_bytes())
    if found != file_hash:
        raise ConfigMutationError(
            f"{paths.config} was edited by somebody else: its SHA-256 was {found[:16]}, expected {file_hash[:16]}."
            " Take the edit over with usp config adopt, or restore the file from its newest backup"
        )


def require_loadable(text: str) -> None:
    """ConfigMutationError with the loader's own words if it would refuse the text."""
    try:
        load(document(text))
    except ConfigError as fault:
        raise ConfigMutationError(f"the loader would refuse the new file: {fault}") from fault


def open_intent(audit_log: Path) -> Entry | None:
    """The newest intent, if no result has followed it."""
    closed: set[Any] = set()
    for entry in reversed(entries(audit_log)):
        if entry.get("event") in RESULTS:
            closed.add(entry.get("proposal_id"))
        elif entry.get("event") == INTENT:
            return None if entry.get("proposal_id") in closed else entry
    return None


def reconcile(config_path: Path, audit_log_path: Path, committed_hash: str | None) -> list[str]:
    """Finish or undo what a crash left half done, at start; returns what was done, in words.

    `committed_hash` is the configuration hash of the newest committed epoch. An open intent that leads to it is
    rolled forward; any other is undone, and MUTATION_ABORTED written.
    """
    paths = ConfigPaths(config_path, audit_log_path)
    with locked(paths.file):
        remove_leftovers(paths.file.parent, paths.file.name, ANY_AGE_NS)
        intent = open_intent(audit_log_path)
        if intent is None:
            return []
        if committed_hash is not None and committed_hash in (intent.get("config_hash"), intent.get("new_file_hash")):
            return [roll_forward(paths, intent)]
        return [roll_back(paths, intent)]


def roll_forward(paths: ConfigPaths, intent: Entry) -> str:
    """The epoch was committed: the file must be the new version."""
    found = content_hash(paths.file.read_bytes())
    text = None if found == intent["new_file_hash"] else rebuilt(paths, intent)
    if text is not None:
        put_file(paths.file, text)
    way_back = ROLLBACK if intent.get("trigger") == AUTOMATIC else BY_HAND
    event = way_back if intent.get("restores") else SUCCESS
    close_mutation(paths, str(intent["proposal_id"]), event, {"reconciled": True})
    return f"{intent['proposal_id']}: was committed; the file is the new version"


def rebuilt(paths: ConfigPaths, intent: Entry) -> bytes | None:
    """The new content, made again from the old file or the backup; None if neither leads to it."""
    candidates = [Path(str(intent["restores"]))] if intent.get("restores") else []
    contents = [path.read_bytes() for path in candidates if path.exists()]
    if not contents:
        old = paths.file.read_bytes().decode(errors="replace")
        contents = [edited(old, {key: new for key, (_, new) in intent["delta"].items()}).encode()]
    return next((c for c in contents if content_hash(c) == intent["new_file_hash"]), None)


def roll_back(paths: ConfigPaths, intent: Entry) -> str:
    """The epoch was never committed: the file must be the old version."""
    is_old = restore_old(paths, intent)
    error = "not committed before the process ended"
    if not is_old:
        error += "; the file is neither of its versions, somebody edited it: left as it is"
    close_mutation(paths, str(intent["proposal_id"]), ABORTED, {"error": error, "reconciled": True})
    return f"{intent['proposal_id']}: {error}" + ("; the file is the old version" if is_old else "")


def restore_old(paths: ConfigPaths, intent: Entry) -> bool:
    """Put the version before an intent back if the file is the one after it; false if the file is neither.

    ConfigMutationError if the backup is not that version.
    """
    found = content_hash(paths.file.read_bytes())
    if found != intent["new_file_hash"] or found == intent["old_file_hash"]:
        return found == intent["old_file_hash"]
    old = Path(str(intent["backup"])).read_bytes()
    if content_hash(old) != intent["old_file_hash"]:
        raise ConfigMutationError(
            f"{intent['backup']} is not the version before {intent['proposal_id']!r}; expected SHA-256"
            f" {intent['old_file_hash']}. Restore {paths.config} by hand, then start again"
        )
    put_file(paths.file, old)
    return True
