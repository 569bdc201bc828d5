# SPDX-License-Identifier: MIT
"""Changing config.toml safely: the face of the library. The governor stage is its only user in production.

`atomic_write_config` is the whole protocol in one call; the governor uses its phases (`mutation_protocol`) with the
commit of an epoch between them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..config.model import load
from .audit_log import append_audit_log, verify
from .config_backups import content_hash, create_config_backup
from .degradation import DegradationMonitor
from .file_lock import LockBusy, locked
from .mutation_limiter import MutationRateLimiter
from .mutation_protocol import (
    ABORTED,
    FAILED,
    STATUS,
    SUCCESS,
    ConfigPaths,
    Mutation,
    begin,
    close_mutation,
    reconcile,
    swap,
    undo,
)
from .mutation_rules import (
    LOCKED_SUBSECTIONS,
    VALIDATION_SCHEMA,
    ConfigMutationError,
    validate_config_mutation,
    validate_delta,
)
from .toml_edit import changed, document

__all__ = [
    "LOCKED_SUBSECTIONS",
    "VALIDATION_SCHEMA",
    "ConfigMutationError",
    "DegradationMonitor",
    "MutationRateLimiter",
    "append_audit_log",
    "atomic_write_config",
    "create_config_backup",
    "reconcile",
    "validate_config_mutation",
    "validate_delta",
    "verify",
]

AUDIT_LOG = Path("io/mutations.log")


def atomic_write_config(
    config_path: Path,
    new_params: Mapping[str, Any],
    trigger: str = "ManualMutation",
    best_objective: float | None = None,
    audit_log_path: Path | None = None,
    *,
    limiter: MutationRateLimiter | None = None,
) -> None:
    """Change parameters (`section.name`) in the file, all or none, keeping every other byte, with an audit trail.

    With a `limiter` its limits hold too. ConfigMutationError if refused or failed: the file is as it was, the reason
    is in the audit log (MUTATION_ABORTED or MUTATION_FAILED). After a crash `reconcile` decides between the versions.
    """
    paths = ConfigPaths(config_path, audit_log_path or AUDIT_LOG)
    proposal_id = str(uuid4())
    try:
        with locked(paths.file):
            mutation = planned(paths, proposal_id, new_params, trigger, best_objective)
            require_within_limits(limiter, mutation.delta)
            begin(paths, mutation)
            swap(paths, proposal_id, mutation.content)
            close_mutation(paths, proposal_id, SUCCESS)
    except ConfigMutationError as fault:
        record_failure(paths, proposal_id, ABORTED, trigger, best_objective, str(fault))
        raise
    except (OSError, UnicodeDecodeError, LockBusy) as fault:
        undo(paths, proposal_id)
        record_failure(paths, proposal_id, FAILED, trigger, best_objective, str(fault))
        raise ConfigMutationError(f"{config_path} could not be changed: {fault}; the file is as it was") from fault


def planned(
    paths: ConfigPaths, proposal_id: str, new_params: Mapping[str, Any], trigger: str, best_objective: float | None
) -> Mutation:
    """Phase 1: the validated change of the file as it is now."""
    old = paths.file.read_bytes()
    text, delta = changed(old.decode(), new_params)
    return Mutation(
        proposal_id=proposal_id,
        trigger=trigger,
        text=text,
        old_file_hash=content_hash(old),
        config_hash=hash_of(text),
        delta=delta,
        best_objective=best_objective,
    )


def hash_of(text: str) -> str:
    """The content hash of the configuration in a text; ConfigMutationError in the loader's words if it is refused."""
    try:
        return load(document(text)).content_hash
    except ValueError as fault:
        raise ConfigMutationError(f"the loader would refuse the new file: {fault}") from fault


def require_within_limits(limiter: MutationRateLimiter | None, delta: Mapping[str, Any]) -> None:
    """Ask the limiter, if there is one; it records the change when it allows it."""
    allowed, reason = (True, "OK") if limiter is None else limiter.try_mutation(delta)
    if not allowed:
        raise ConfigMutationError(f"refused by the rate limiter: {reason}")


def record_failure(
    paths: ConfigPaths, proposal_id: str, event: str, trigger: str, best_objective: float | None, error: str
) -> None:
    """The reason in the audit log; it also closes the intent, if it came to one."""
    append_audit_log(
        paths.audit_log,
        {
            "event": event,
            "proposal_id": proposal_id,
            "trigger": trigger,
            "best_objective": best_objective,
            "error": error,
            "status": STATUS[event],
        },
    )
