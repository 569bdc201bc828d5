# SPDX-License-Identifier: MIT
"""What the configuration says about the checks of one symbol, resolved once so that a tick only compares numbers."""

from typing import NamedTuple

from ..config.model import ModelConfig

ANY_TICK_KIND = frozenset({"any", "spread"})

QUIET_FLOOR_TTLS = 10


class IngestRules(NamedTuple):
    """Limits of every check; times in ns, factors plain, counts in accepted values."""

    ttl_ns: int
    recovered_ns: int
    max_future_drift_ns: int
    max_past_drift_ns: int
    quiet_floor_ns: int
    quiet_factor: float
    nominal_interval_ns: int
    kind: str
    must_be_positive: bool
    window: int
    least: int
    sigma_bound: float
    increment_factor: float
    level_shift_confirmations: int
    frozen_steps: int
    variance_steps: int
    recovery_ratio: float
    recovery_steps: int
    variance_floor: float


def ingest_rules(config: ModelConfig, symbol: str | None = None) -> IngestRules:
    """The rules of one symbol; of every symbol without a table of its own when None.

    An age counts as recovered below the hysteresis share of the time to live, so that alerts do not flicker. The
    factor of the increments is divided by the sigma bound: an outlier then lies at least
    `outlier_increment_floor_factor` scales of the increments away from the centre.
    """
    io, limits, ttl_ns = config.io, config.orchestration, config.core.staleness_ttl_ns
    own = config.symbols.default if symbol is None else config.symbols[symbol]
    return IngestRules(
        ttl_ns=ttl_ns,
        recovered_ns=int(limits.inference_recovery_hysteresis * ttl_ns),
        max_future_drift_ns=limits.max_future_drift_ns,
        max_past_drift_ns=limits.max_past_drift_ns,
        quiet_floor_ns=QUIET_FLOOR_TTLS * ttl_ns,
        quiet_factor=io.silence_limit_factor,
        nominal_interval_ns=own.nominal_interval_ns,
        kind=own.kind,
        must_be_positive=own.kind != "spread",
        window=io.outlier_history_window,
        least=io.outlier_history_min,
        sigma_bound=limits.sigma_bound,
        increment_factor=io.outlier_increment_floor_factor / limits.sigma_bound,
        level_shift_confirmations=io.level_shift_confirmations,
        frozen_steps=own.frozen_signal_min_steps,
        variance_steps=io.frozen_signal_min_steps,
        recovery_ratio=io.frozen_signal_recovery_ratio,
        recovery_steps=io.frozen_signal_recovery_steps,
        variance_floor=io.frozen_signal_variance_floor,
    )


def quiet_limit_ns(rules: IngestRules, usual_gap_ns: float) -> int:
    """How long a symbol may be quiet: a multiple of its nominal interval, or of the one learned from its own gaps."""
    interval_ns = rules.nominal_interval_ns or usual_gap_ns
    return max(rules.quiet_floor_ns, int(rules.quiet_factor * interval_ns))
