# SPDX-License-Identifier: MIT
"""Alarms, breaker, degraded mode, mode collapse and intervals, by themselves."""

import jax
import jax.numpy as jnp
import numpy as np

from predictor_lanes import CONFIG
from usp.predictor import aggregation, intervals, params, regime

COLUMN = params.column_params(CONFIG, "x")
P = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64)[..., None], COLUMN)
P = P._replace(cusum_h=jnp.asarray([5.0]), cusum_k=jnp.asarray([0.5]))
YES, NO = jnp.asarray([True]), jnp.asarray([False])


def one_lane(tree: object) -> object:
    """A state of one lane."""
    return jax.tree.map(lambda x: jnp.asarray(x)[..., None], tree)


def alarms_of(z: list[float], kurtosis: float = 3.0) -> tuple[list[bool], regime.Cusum]:
    """Alarms on a row of standardised errors."""
    cusum, alarms = one_lane(regime.init_cusum(P)), []
    for value in z:
        errors, run = jnp.asarray([[value], [0.0]]), jnp.stack([YES, NO])
        cusum, alarm = regime.watch_errors(cusum, errors, jnp.asarray([kurtosis]), run, P)
        alarms.append(bool(alarm[0]))
    return alarms, cusum


def test_the_alarm_comes_exactly_when_an_arm_exceeds_the_level() -> None:
    """Slack 0.5, level 5: errors of 1.5 sum to 5 after five and exceed it at the sixth; either sign; arms reset."""
    for sign in (1.0, -1.0):
        alarms, cusum = alarms_of([1.5 * sign] * 6)
        assert [False] * 5 + [True] == alarms
        assert (0.0, 0.0, 20.0) == (
            float(cusum.g_plus[0, 0]),
            float(cusum.g_minus[0, 0]),
            float(cusum.grace_counter[0]),
        )


def test_errors_of_the_reference_alone_raise_the_alarm_but_never_while_nothing_is_judged() -> None:
    """The second pair of arms counts like the first; a step on which the first may not run gives no alarm."""
    for first, expected in ((YES, True), (NO, False)):
        cusum, alarms = one_lane(regime.init_cusum(P)), []
        for _ in range(6):
            errors = jnp.asarray([[0.0], [-1.5]])
            cusum, alarm = regime.watch_errors(cusum, errors, jnp.asarray([3.0]), jnp.stack([first, YES]), P)
            alarms.append(bool(alarm[0]))
        assert [False] * 5 + [expected] == alarms


def test_no_alarm_during_grace() -> None:
    """Twenty silent steps after an alarm, though the arms run."""
    alarms, _ = alarms_of([1.5] * 6 + [3.0] * 20)
    assert [5] == [i for i, alarm in enumerate(alarms) if alarm]
    assert alarms_of([1.5] * 6 + [3.0] * 21)[0][-1]


def test_heavy_tails_raise_the_level() -> None:
    """h (1 + ln(max(kurtosis, 3) / 3))."""
    for kurtosis, expected in ((1.0, 5.0), (3.0, 5.0), (30.0, 5.0 * (1.0 + np.log(10.0)))):
        level = alarms_of([0.0], kurtosis)[1].adaptive_h_t
        np.testing.assert_allclose([expected], level, rtol=1e-12)


def breaker_run(exponents: list[float]) -> list[bool]:
    """States of the breaker on a row of exponents with standard error 0.02."""
    breaker, states = one_lane(regime.init_breaker()), []
    for h in exponents:
        breaker = regime.watch_roughness(breaker, jnp.asarray([h]), jnp.asarray([0.02]), YES, P)
        states.append(bool(breaker.active[0]))
    return states


def test_the_breaker_opens_on_a_collapse_and_closes_with_hysteresis() -> None:
    """0.5 -> 0.1 opens; 0.42 is above the threshold but within the hysteresis; 0.46 closes."""
    states = breaker_run([0.5] * 5 + [0.1, 0.1] + [0.3] + [0.46])
    assert [False] * 5 + [True, True, True, False] == states


def test_a_rough_symbol_is_not_an_emergency() -> None:
    """Noise around a mean has an exponent near 0 always, a walk 0.5 within its error: neither opens the breaker."""
    rng = np.random.default_rng(0)
    assert not any(breaker_run([0.0] * 300))
    assert not any(breaker_run(list(0.42 + 0.04 * rng.standard_normal(300))))


def test_the_usual_gap_is_learned_and_a_long_one_degrades() -> None:
    """Without a nominal interval twenty gaps teach it."""
    p = P._replace(nominal_interval_s=jnp.asarray([0.0]))
    degraded = one_lane(regime.init_degraded())
    for _ in range(25):
        degraded = regime.watch_clock(degraded, jnp.asarray([3600.0]), YES, NO, p)
    np.testing.assert_allclose([3600.0], degraded.usual_gap_s)
    assert not bool(degraded.active[0])
    assert bool(regime.watch_clock(degraded, jnp.asarray([36001.0]), YES, NO, p).active[0])


def test_a_stated_interval_is_binding_from_the_first_gap() -> None:
    """nominal 1 s, factor 10: 9 s is fine, 11 s is not."""
    p = P._replace(nominal_interval_s=jnp.asarray([1.0]))
    fresh = one_lane(regime.init_degraded())
    assert [False, True] == [
        bool(regime.watch_clock(fresh, jnp.asarray([gap]), YES, NO, p).active[0]) for gap in (9.0, 11.0)
    ]


def test_a_run_of_low_entropy_gives_the_collapse_warning() -> None:
    """Ten low steps in a row at a window of 100."""
    collapse, warnings = one_lane(regime.init_collapse()), []
    for entropy in [3.0] + [0.1] * 12:
        collapse, ratio, warning = regime.watch_entropy(
            collapse, jnp.asarray([entropy]), jnp.asarray([0.1]), jnp.asarray([100.0]), NO, P
        )
        warnings.append(bool(warning[0]))
    assert [False] * 10 + [True] * 3 == warnings
    np.testing.assert_allclose([0.1], ratio)


def test_the_sorted_window_is_the_sorted_newest_residuals() -> None:
    """Deletion and insertion keep exactly the multiset, with repeats."""
    rng = np.random.default_rng(1)
    residuals = rng.integers(-5, 6, 300).astype(float)
    state = one_lane(intervals.init(50, COLUMN))
    for t, residual in enumerate(residuals):
        oldest = abs(residuals[t - 50]) if t >= 50 else intervals.UNFILLED
        state = intervals.learn(
            state, jnp.asarray([0.0]), jnp.asarray([residual]), jnp.asarray([0.0]), jnp.asarray([oldest]), YES, P
        )
    np.testing.assert_array_equal(np.sort(np.abs(residuals[-50:])), state.ordered[:, 0])


def covered(errors: np.ndarray, jumps: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Share of `errors` inside, mean Winkler score after 500, and the last weights, for a forecast of 0."""
    state = one_lane(intervals.init(200, COLUMN))
    learn, predict = jax.jit(intervals.learn), jax.jit(intervals.predict)
    zero, one = jnp.asarray([0.0]), jnp.asarray([1.0])
    state, bounds = predict(state, zero, zero, one, zero, P)
    inside, scores = [], []
    for t, (error, jump) in enumerate(zip(errors, jumps, strict=True)):
        lo, hi = float(bounds.lo[0]), float(bounds.hi[0])
        inside.append(lo <= error <= hi)
        scores.append(hi - lo + 40.0 * (max(lo - error, 0.0) + max(error - hi, 0.0)))
        oldest = abs(errors[t - 200]) if t >= 200 else intervals.UNFILLED
        at = [jnp.asarray([value]) for value in (error, error, jump, oldest)]
        state = learn(state, *at, YES, P)
        last = jnp.asarray([error - jump])
        state, bounds = predict(state, zero, last, one, jnp.asarray([t + 1.0]), P)
        assert bounds.lo[0] <= bounds.median[0] <= bounds.hi[0]
        assert bounds.lo[0] <= 0.0 <= bounds.hi[0]
    weights = aggregation.softmax(aggregation.gibbs_logits(state.loss, state.loss_count), axis=0)
    return float(np.mean(inside[500:])), float(np.mean(scores[500:])), np.asarray(weights)[:, 0]


def test_the_conformal_interval_covers_what_it_promises() -> None:
    """95 % of Gaussian errors fall inside; the score is near the best possible one, 4.68 deviations."""
    errors = np.random.default_rng(2).standard_normal(2000)
    share, score, _ = covered(errors, np.diff(errors, prepend=0.0))
    assert 0.94 <= share <= 0.96
    assert score < 1.03 * 4.68


def test_clustered_volatility_gets_the_fast_interval() -> None:
    """Errors whose size swings by a factor of ten: coverage holds, and the fast deviation has most of the weight."""
    rng = np.random.default_rng(5)
    size = np.exp(1.15 * np.sin(2 * np.pi * np.arange(3000) / 300))
    share, _, weights = covered(size * rng.standard_normal(3000), 10.0 * rng.standard_normal(3000))
    assert 0.935 <= share <= 0.965
    assert weights[2] > 0.5


def test_one_huge_error_does_not_widen_the_interval_for_long() -> None:
    """A jump of a thousand deviations: the window's quantile takes over from the running squares."""
    errors = np.random.default_rng(6).standard_normal(1200)
    calm = covered(errors, 3.0 * errors)[1]
    errors[600] = 1000.0
    scores = covered(errors, 3.0 * errors)[1]
    assert scores < calm + 40.0 * 1000.0 / 700.0 + 3.0
