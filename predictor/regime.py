# SPDX-License-Identifier: MIT
"""Control by events: change alarms (CUSUM), the roughness circuit breaker, degraded mode, mode collapse of kernel B.

Each is a small state and one function that advances it; all values are [L]. Spec: PREDICTOR 3.2, 5.3, 5.4, 5.6.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .leaves import leaf, none, off, zero, zeros
from .params import Params

GAPS_TO_LEARN = 20
GAP_GAIN = 0.01


class Cusum(NamedTuple):
    """Two-sided CUSUM of standardised errors, with refractory steps after an alarm.

    One pair of arms for the errors of the published forecasts, one for those of the slow reference.
    """

    g_plus: jax.Array  # [2]
    g_minus: jax.Array  # [2]
    grace_counter: jax.Array
    adaptive_h_t: jax.Array


class Breaker(NamedTuple):
    """Circuit breaker and the symbol's own long-run Hölder exponent."""

    active: jax.Array
    baseline: jax.Array
    primed: jax.Array


class Degraded(NamedTuple):
    """Degraded mode with its run of clean ticks, and the symbol's usual gap between ticks in seconds."""

    active: jax.Array
    clean_run: jax.Array
    usual_gap_s: jax.Array
    gaps_seen: jax.Array


class Collapse(NamedTuple):
    """Baseline entropy of kernel B's value function, and the run of ticks with low entropy."""

    baseline_entropy: jax.Array
    low_run: jax.Array


def init_cusum(p: Params) -> Cusum:
    """Nothing accumulated; the level is the configured one."""
    return Cusum(zeros(2), zeros(2), none(), leaf(np.float64(p.cusum_h)))


def init_breaker() -> Breaker:
    """Closed."""
    return Breaker(off(), zero(), off())


def init_degraded() -> Degraded:
    """Normal."""
    return Degraded(off(), none(), zero(), none())


def init_collapse() -> Collapse:
    """No baseline yet."""
    return Collapse(zero(), none())


def watch_errors(cusum: Cusum, z: jax.Array, kurtosis: jax.Array, run: jax.Array, p: Params) -> tuple[Cusum, jax.Array]:
    """Accumulate the standardised errors `z` [2, L] where `run` [2, L]; give the alarm [L], never without run[0].

    Level h (1 + ln(max(kurtosis, r) / r)), r = `kurtosis_reference` (a Gaussian's 3), so heavy tails do not raise false
    alarms. During grace the arms go on but stay silent. Page (1954), Biometrika 41; section 5.3.
    """
    z = jnp.where(run, jnp.clip(z, -p.cusum_clip, p.cusum_clip), 0.0)
    slack = jnp.where(run, p.cusum_k, 0.0)
    g_plus = jnp.maximum(0.0, cusum.g_plus + z - slack)
    g_minus = jnp.maximum(0.0, cusum.g_minus - z - slack)
    excess = jnp.maximum(kurtosis, p.kurtosis_reference) * (1.0 / p.kurtosis_reference)
    level = p.cusum_h * (1.0 + jnp.log(excess))
    highest = jnp.max(jnp.maximum(g_plus, g_minus), axis=0)
    alarm = run[0] & (cusum.grace_counter < 0.5) & (highest > level)
    grace = jnp.where(alarm, p.grace_period_steps, jnp.maximum(cusum.grace_counter - 1.0, 0.0))
    return Cusum(jnp.where(alarm, 0.0, g_plus), jnp.where(alarm, 0.0, g_minus), grace, level), alarm


def watch_roughness(
    breaker: Breaker, holder: jax.Array, uncertainty: jax.Array, ready: jax.Array, p: Params
) -> Breaker:
    """Open or close the circuit breaker on the Hölder exponent [L].

    It opens when the exponent lies below the threshold by `holder_confidence` standard errors *and* has fallen by
    `holder_min_drop` below the symbol's own long-run exponent: a singularity is a change. Mean-reverting levels have
    an exponent near 0 all the time and a random walk has 0.5 within the noise of a short window; neither is critical.
    It closes above threshold + hysteresis, or once the long-run exponent has followed. Section 5.4.
    """
    baseline = jnp.where(breaker.primed, breaker.baseline, holder)
    confirmed = holder + p.holder_confidence * uncertainty
    opens = ready & (confirmed < p.holder_threshold) & (confirmed < baseline - p.holder_min_drop)
    recovered = holder > p.holder_threshold + p.holder_hysteresis
    followed = holder > baseline - p.holder_min_drop
    active = jnp.where(breaker.active, ~(recovered | followed), opens)
    moved = baseline + p.holder_baseline_gain * (holder - baseline)
    return Breaker(active, jnp.where(ready, moved, breaker.baseline), breaker.primed | ready)


def watch_clock(degraded: Degraded, gap_s: jax.Array, known: jax.Array, unclean: jax.Array, p: Params) -> Degraded:
    """Degrade at once on a verdict (`unclean`) or a gap beyond the limit; recover after enough clean ticks in a row.

    The limit is `gap_limit_factor` times the nominal interval of the symbol, which is learned from its own gaps where
    the configuration gives none, and never less than the staleness limit. `known` says that there is a gap to judge.
    Section 5.6.
    """
    stated = p.nominal_interval_s > 0.0
    usual = jnp.where(stated, p.nominal_interval_s, degraded.usual_gap_s)
    limit = jnp.maximum(p.staleness_ttl_s, p.gap_limit_factor * usual)
    late = known & (stated | (degraded.gaps_seen >= GAPS_TO_LEARN)) & (gap_s > limit)
    clean_run = jnp.where(unclean | late, 0.0, degraded.clean_run + 1.0)
    active = unclean | late | (degraded.active & (clean_run < p.degraded_recovery_steps))
    gain = jnp.maximum(1.0 / (degraded.gaps_seen + 1.0), GAP_GAIN)
    seen = jnp.where(degraded.gaps_seen >= GAPS_TO_LEARN, jnp.minimum(gap_s, limit), gap_s)
    moved = degraded.usual_gap_s + gain * (seen - degraded.usual_gap_s)
    return Degraded(active, clean_run, jnp.where(known, moved, 0.0), degraded.gaps_seen + jnp.where(known, 1.0, 0.0))


def watch_entropy(
    collapse: Collapse, entropy: jax.Array, sigma: jax.Array, window: jax.Array, alarm: jax.Array, p: Params
) -> tuple[Collapse, jax.Array, jax.Array]:
    """Mode collapse of kernel B: new state, entropy ratio to the baseline [L], and the warning [L].

    Low means below gamma, chosen by the relative volatility `sigma`; a run of low ticks gives the warning. The
    baseline is the first positive entropy, set again after a change alarm. Section 3.2.
    """
    unset = (collapse.baseline_entropy <= 0.0) | alarm
    baseline = jnp.where(unset & (entropy > 0.0), entropy, collapse.baseline_entropy)
    ratio = entropy / jnp.maximum(baseline, p.entropy_baseline_floor)
    high, low = sigma > p.entropy_volatility_high_threshold, sigma < p.entropy_volatility_low_threshold
    gamma = jnp.where(high, p.entropy_gamma_min, jnp.where(low, p.entropy_gamma_max, p.entropy_threshold))
    run = jnp.where(entropy < gamma, collapse.low_run + 1.0, 0.0)
    needed = jnp.maximum(p.mode_collapse_min_threshold, jnp.floor(p.mode_collapse_window_ratio * window))
    return Collapse(baseline, run), jnp.clip(ratio, p.entropy_ratio_min, p.entropy_ratio_max), run >= needed
