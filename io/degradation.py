# SPDX-License-Identifier: MIT
"""The stated rule on a change of configuration: RMSE over N = 100 predictions up by more than 30 % is a rollback.

The rule is a pure function; `DegradationMonitor` is its use as a library, with a file to restore.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..config.model import load
from .config_backups import content_hash, stamped_backups
from .file_lock import locked
from .mutation_protocol import ROLLBACK, ConfigPaths, Mutation, begin, close_mutation, swap
from .mutation_rules import ConfigMutationError
from .toml_edit import differences, document

THRESHOLD = 0.3
WINDOW = 100


def rmse(errors: Sequence[float]) -> float:
    """Root mean square; NaN for no error at all."""
    return math.hypot(*errors) / math.sqrt(len(errors)) if errors else math.nan


def relative_increase(baseline_rmse: float, errors: Sequence[float]) -> float:
    """(RMSE - baseline) / baseline; infinite if an error is not finite, or if the baseline is 0 and the RMSE is not."""
    if not all(map(math.isfinite, errors)):
        return math.inf
    after = rmse(errors)
    if baseline_rmse == 0:
        return 0.0 if after == 0 else math.inf
    return (after - baseline_rmse) / baseline_rmse


def is_beyond_doubt(baseline_rmse: float, errors: Sequence[float], threshold: float, window: int) -> bool:
    """True if a full window would be degraded even if every error still to come were zero."""
    if not all(map(math.isfinite, errors)):
        return True
    return math.hypot(*errors) > math.sqrt(window) * (1 + threshold) * baseline_rmse


def require_baseline(baseline_rmse: float) -> None:
    """ValueError unless the baseline is a number that an RMSE can be."""
    if not math.isfinite(baseline_rmse) or baseline_rmse < 0:
        raise ValueError(f"the baseline RMSE was {baseline_rmse!r}; expected a finite number, zero or more")


@dataclass
class DegradationMonitor:
    """Watches the errors that follow a change of the configuration and can undo it.

    Bound, when monitoring starts, to the backup of that moment: a later change cannot slip another version in.
    """

    degradation_threshold: float = THRESHOLD
    monitoring_window: int = WINDOW
    config_path: Path = Path("config.toml")
    backup_path: Path = Path("config.toml.bak")
    audit_log_path: Path = Path("io/mutations.log")
    _pre_mutation_rmse: float | None = None
    _post_mutation_errors: list[float] = field(default_factory=list[float])
    _monitoring_active: bool = False
    _restore_path: Path | None = None
    _restore_hash: str | None = None

    def start_monitoring(self, baseline_rmse: float) -> None:
        """Watch the predictions from here on against this RMSE, in the units of the errors."""
        require_baseline(baseline_rmse)
        self._pre_mutation_rmse = baseline_rmse
        self._post_mutation_errors = []
        self._monitoring_active = True
        self._bind()

    def record_prediction_error(self, error: float) -> None:
        """One error after the change; ignored while nothing is watched."""
        if self._monitoring_active:
            self._post_mutation_errors.append(float(error))

    def check_degradation(self) -> tuple[bool, float]:
        """(degraded, relative increase of the RMSE); ends the monitoring when it is decided.

        Decided with the full window, or earlier when it is beyond doubt: an error that is not finite, or squares that
        exceed the bound of a full window already. (False, 0.0) before.
        """
        errors, baseline = self._post_mutation_errors[: self.monitoring_window], self._pre_mutation_rmse
        if not self._monitoring_active or baseline is None or not errors:
            return False, 0.0
        doubtless = is_beyond_doubt(baseline, errors, self.degradation_threshold, self.monitoring_window)
        if len(errors) < self.monitoring_window and not doubtless:
            return False, 0.0
        increase = relative_increase(baseline, errors)
        self._monitoring_active = False
        return increase > self.degradation_threshold, increase

    def trigger_rollback(self) -> None:
        """Put the bound version back through the audited writer (AUTO_ROLLBACK) and stop watching.

        FileNotFoundError without a backup; ConfigMutationError if it is no longer the version that was bound.
        """
        if self._restore_path is None:
            self._bind()
        if self._restore_path is None or not self._restore_path.exists():
            raise FileNotFoundError(f"Backup config not found: {self._restore_path or self.backup_path}")
        if content_hash(self._restore_path.read_bytes()) != self._restore_hash:
            raise ConfigMutationError(
                f"{self._restore_path} changed since the monitoring began; expected SHA-256 {self._restore_hash}."
                " Choose a version among the time-stamped backups by hand"
            )
        paths = ConfigPaths(self.config_path, self.audit_log_path)
        restore_version(paths, self._restore_path, "AutoRollback", self.facts())
        self._monitoring_active = False
        self._post_mutation_errors = []

    def facts(self) -> dict[str, Any]:
        """What the audit log says about the decision."""
        baseline, errors = self._pre_mutation_rmse, self._post_mutation_errors
        increase = None if baseline is None or not errors else relative_increase(baseline, errors)
        return rollback_facts(baseline, errors, increase, self.degradation_threshold, self.monitoring_window)

    def _bind(self) -> None:
        """Find the time-stamped backup that is the latest backup now; later changes leave it alone."""
        self._restore_path = self._restore_hash = None
        if self.backup_path.exists():
            self._restore_hash = content_hash(self.backup_path.read_bytes())
            self._restore_path = stamped_twin(self.config_path.resolve(), self._restore_hash) or self.backup_path


def stamped_twin(config_path: Path, file_hash: str) -> Path | None:
    """The newest time-stamped backup with this content."""
    same = [path for path in stamped_backups(config_path) if content_hash(path.read_bytes()) == file_hash]
    return same[-1] if same else None


def rollback_facts(
    baseline: float | None, errors: Sequence[float], increase: float | None, threshold: float, window: int
) -> dict[str, Any]:
    """The fields of AUTO_ROLLBACK in the audit log."""
    return {
        "reason": "Performance degradation detected",
        "pre_mutation_rmse": baseline,
        "post_mutation_rmse": rmse(errors) if errors else None,
        "relative_increase": increase,
        "degradation_threshold": threshold,
        "monitoring_window": window,
    }


def restore_version(paths: ConfigPaths, version: Path, trigger: str, facts: Mapping[str, Any]) -> None:
    """Bring an identified version of the file back, through the same audited phases as any change."""
    with locked(paths.file):
        text, old = version.read_bytes().decode(), paths.file.read_bytes()
        mutation = Mutation(
            proposal_id=str(uuid4()),
            trigger=trigger,
            text=text,
            old_file_hash=content_hash(old),
            config_hash=load(document(text)).content_hash,
            delta=differences(document(old.decode()), document(text)),
            restores=str(version),
        )
        begin(paths, mutation)
        swap(paths, mutation.proposal_id, mutation.content)
        close_mutation(paths, mutation.proposal_id, ROLLBACK, facts)
