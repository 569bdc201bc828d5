# SPDX-License-Identifier: MIT
"""The limits on self-tuning for use as a library, in the memory of one process.

The pipeline uses `rate_limits`, which is shared by processes and survives them.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .audit_log import entries
from .mutation_rules import MAX_RELATIVE_CHANGE, validate_delta

HOUR_S = 3600.0
MAX_MUTATIONS_PER_HOUR = 10
STABILITY_STEPS = 1000

Delta = Mapping[str, tuple[Any, Any] | list[Any]]


@dataclass
class MutationRateLimiter:
    """Safety limits for autonomous changes: how often, how soon, how far.

    A fresh limiter has counted no step, so the first change needs `stability_steps_required` steps too. Calls from
    several threads are safe; `try_mutation` checks and records in one.
    """

    max_mutations_per_hour: int = MAX_MUTATIONS_PER_HOUR
    stability_steps_required: int = STABILITY_STEPS
    max_relative_change: float = MAX_RELATIVE_CHANGE
    _mutation_history: list[tuple[float, Delta]] = field(default_factory=list[tuple[float, Delta]])
    _current_steps_since_mutation: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)

    def can_mutate(self) -> tuple[bool, str]:
        """(allowed, reason): at most so many recorded changes in a sliding hour, and enough steps since the last."""
        with self._lock:
            since = time.monotonic() - HOUR_S
            recent = sum(at > since for at, _ in self._mutation_history)
            if recent >= self.max_mutations_per_hour:
                return False, f"Rate limit: {recent}/{self.max_mutations_per_hour} mutations"
            steps = self._current_steps_since_mutation
            if steps < self.stability_steps_required:
                return False, f"Stability: {steps}/{self.stability_steps_required}"
            return True, "OK"

    def validate_delta(self, delta: Delta, max_relative_change: float | None = None) -> tuple[bool, str]:
        """(valid, reason): see `mutation_rules.validate_delta`."""
        return validate_delta(delta, self.max_relative_change if max_relative_change is None else max_relative_change)

    def record_mutation(self, delta: Delta) -> None:
        """A change was made."""
        with self._lock:
            since = time.monotonic() - HOUR_S
            self._mutation_history = [item for item in self._mutation_history if item[0] > since]
            self._mutation_history.append((time.monotonic(), dict(delta)))
            self._current_steps_since_mutation = 0

    def try_mutation(self, delta: Delta) -> tuple[bool, str]:
        """Check everything and record in one step, so that of many callers no more than allowed pass."""
        with self._lock:
            for allowed, reason in (self.validate_delta(delta), self.can_mutate()):
                if not allowed:
                    return False, reason
            self.record_mutation(delta)
            return True, "OK"

    def increment_stability_counter(self) -> None:
        """One prediction step was made."""
        with self._lock:
            self._current_steps_since_mutation += 1

    @classmethod
    def from_audit_log(cls, audit_log_path: Path, **limits: Any) -> "MutationRateLimiter":
        """A limiter that remembers the successful changes of the last hour."""
        limiter = cls(**limits)
        for age_s, entry in recent_mutations(audit_log_path):
            limiter._mutation_history.append((time.monotonic() - age_s, entry.get("delta") or {}))
        return limiter


def recent_mutations(audit_log_path: Path, horizon_s: float = HOUR_S) -> list[tuple[float, dict[str, Any]]]:
    """(age in seconds, entry) of the successful changes no older than the horizon, oldest first."""
    now = datetime.now(UTC)  # the edge of the process may look at the clock
    found: list[tuple[float, dict[str, Any]]] = []
    for entry in entries(audit_log_path):
        if entry.get("event") == "MUTATION_SUCCESS":
            age_s = (now - datetime.fromisoformat(str(entry["timestamp"]))).total_seconds()
            found += [(max(0.0, age_s), entry)] if age_s < horizon_s else []
    return found
