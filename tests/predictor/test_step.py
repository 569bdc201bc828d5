# SPDX-License-Identifier: MIT
"""What one tick does and does not do."""

import numpy as np

from predictor_lanes import Lanes, config_with
from usp.predictor import OUTPUTS


def walk(steps: int, seed: int = 0) -> np.ndarray:
    """Random walks [steps, 16] around 100."""
    return 100.0 + np.cumsum(np.random.default_rng(seed).standard_normal((steps, 16)), axis=0)


def test_the_error_is_taken_against_the_stored_forecast() -> None:
    """Error = newest value - forecast published before it, signed; none on the first tick."""
    series = walk(120)
    outputs = Lanes().run(series)
    assert np.isnan(outputs[0, OUTPUTS.last_prediction_error]).all()
    expected = series[1:] - outputs[:-1, OUTPUTS.mean]
    np.testing.assert_array_equal(expected, outputs[1:, OUTPUTS.last_prediction_error])


def test_the_forecast_is_the_weighted_mean_of_the_kernels() -> None:
    """mean = sum rho K, rho on the simplex, lo <= median, mean <= hi."""
    outputs = Lanes().run(walk(150))
    rho, means = outputs[:, OUTPUTS.rho], outputs[:, OUTPUTS.kernel_mean]
    np.testing.assert_allclose((rho * means).sum(axis=1), outputs[:, OUTPUTS.mean], rtol=1e-12)
    np.testing.assert_allclose(rho.sum(axis=1), 1.0, atol=1e-10)
    for name in ("mean", "median"):
        value = outputs[:, getattr(OUTPUTS, name)]
        assert (outputs[:, OUTPUTS.lo] <= value).all() and (value <= outputs[:, OUTPUTS.hi]).all()


def test_an_idle_lane_keeps_every_bit() -> None:
    """No input, no change."""
    lanes = Lanes()
    lanes.run(walk(80))
    before = lanes.column(2)
    lanes.feed(5.0, active=np.arange(16) != 2)
    assert before.tobytes() == lanes.column(2).tobytes()


def test_a_refused_tick_changes_no_state_and_repeats_the_forecast_in_emergency() -> None:
    """Weights, forecast, key, step and hysteresis are held; the record is degraded and emergency, without an error."""
    lanes = Lanes()
    last = lanes.run(walk(80))[-1]
    before = lanes.column(4)
    held = lanes.feed(1e9, accept=0.0, gap_s=1000.0)
    assert before.tobytes() == lanes.column(4).tobytes()
    for row in (OUTPUTS.mean, OUTPUTS.rho, OUTPUTS.lo, OUTPUTS.hi, OUTPUTS.state_step):
        np.testing.assert_array_equal(last[row], held[row])
    assert (held[[OUTPUTS.degraded_mode, OUTPUTS.emergency_mode]] == 1.0).all()
    assert (held[OUTPUTS.operating_mode] == 2.0).all() and np.isnan(held[OUTPUTS.last_prediction_error]).all()


def test_a_price_that_is_not_finite_is_refused_even_if_accepted() -> None:
    """NaN and infinity cannot enter the state."""
    lanes = Lanes()
    lanes.run(walk(60))
    before = lanes.column(0)
    lanes.feed(np.nan)
    lanes.feed(np.inf)
    assert before.tobytes() == lanes.column(0).tobytes()


def test_degraded_ticks_hold_weights_and_volatility_and_recovery_takes_two_clean_ticks() -> None:
    """Degrade at once on the verdict, forecast with held weights, leave after two clean ticks."""
    lanes = Lanes()
    series = walk(200)
    last = lanes.run(series[:150])[-1]
    degraded = lanes.feed(series[150], degraded=1.0)
    after = lanes.run(series[151:154])
    assert (degraded[OUTPUTS.degraded_mode] == 1.0).all() and (degraded[OUTPUTS.operating_mode] == 1.0).all()
    np.testing.assert_array_equal(last[OUTPUTS.rho], degraded[OUTPUTS.rho])
    np.testing.assert_array_equal(last[OUTPUTS.ema_variance], degraded[OUTPUTS.ema_variance])
    assert [1.0, 0.0, 0.0] == after[:, OUTPUTS.degraded_mode, 0].tolist()


def test_a_gap_is_judged_by_the_symbols_own_interval() -> None:
    """Ticks every minute are normal; a pause of ten usual gaps is not."""
    lanes = Lanes()
    series = walk(60)
    calm = lanes.run(series[:50], gap_s=60.0)
    late = lanes.feed(series[50], gap_s=601.0)
    assert not calm[:, OUTPUTS.degraded_mode].any()
    assert late[OUTPUTS.degraded_mode].all()


def test_a_frozen_kernel_d_keeps_forecast_and_weight_and_learns_nothing() -> None:
    """freeze_kernel_d holds D's last valid output and weight; the others go on."""
    lanes = Lanes()
    series = walk(200)
    last = lanes.run(series[:150])[-1]
    before = lanes.document(0)["D"]
    frozen = lanes.feed(series[150], freeze_kernel_d=1.0)
    np.testing.assert_array_equal(last[OUTPUTS.kernel_mean][3], frozen[OUTPUTS.kernel_mean][3])
    np.testing.assert_array_equal(last[OUTPUTS.rho][3], frozen[OUTPUTS.rho][3])
    assert (frozen[OUTPUTS.kernel_health][3] == 3.0).all() and frozen[OUTPUTS.kernel_d_frozen].all()
    after = lanes.document(0)["D"]
    for name in ("regressions.0.covariance", "regressions.0.weights", "bank.loss"):
        np.testing.assert_array_equal(before[name], after[name])


def test_a_level_shift_resets_the_weights_to_uniform_through_the_grace_period() -> None:
    """The alarm of the change detector takes effect on rho at once, and holds for the grace period."""
    lanes = Lanes(config_with(orchestration__cusum_h=3.0))
    rng = np.random.default_rng(3)
    quiet = rng.standard_normal((400, 16))
    lanes.run(quiet)
    shifted = lanes.run(2.0 + rng.standard_normal((60, 16)))
    alarms = shifted[:, OUTPUTS.regime_changed]
    assert alarms.any(axis=0).all()
    for lane in range(16):
        first = int(np.argmax(alarms[:, lane]))
        held = shifted[first : min(first + 20, 60), OUTPUTS.rho, lane]
        np.testing.assert_array_equal(np.full_like(held, 0.25), held)


def test_a_collapse_of_roughness_gives_everything_to_kernel_d() -> None:
    """A smooth path that turns rough opens the breaker: emergency, rho = (0, 0, 0, 1), and it closes again."""
    lanes = Lanes(config_with(orchestration__cusum_h=10.0))
    rng = np.random.default_rng(5)
    smooth = np.cumsum(np.cumsum(rng.standard_normal((400, 16)) * 0.05, axis=0) * 0.1, axis=0)
    lanes.run(smooth)
    rough = lanes.run(smooth[-1] + rng.standard_normal((500, 16)) * 5.0)
    broken = rough[:, OUTPUTS.breaker_active] > 0.5
    assert broken.any(axis=0).all() and not broken[-1].any()
    rho = rough[:, OUTPUTS.rho].transpose(0, 2, 1)[broken]
    np.testing.assert_array_equal(np.tile([0.0, 0.0, 0.0, 1.0], (len(rho), 1)), rho)
    assert (rough[:, OUTPUTS.emergency_mode][broken] == 1.0).all()


def test_every_output_is_finite_and_ordered_on_hostile_input() -> None:
    """Huge jumps, constants, alternating extremes, denormals, drifts: no NaN in outputs or state, lo <= hi."""
    steps, rng = 400, np.random.default_rng(7)
    t = np.arange(steps)
    noise = rng.standard_normal((8, steps))
    series = np.zeros((steps, 16))
    series[:, 0] = np.where(t % 2, 1e300, -1e300)
    series[:, 1] = 7.0
    series[:, 2] = np.where(t < 200, noise[0], np.where(t < 300, 1e300, noise[0]))
    series[:, 3] = 5e-324 * rng.integers(0, 3, steps)
    series[:, 4] = np.cumsum(noise[1]) * 1e-300
    series[:, 5] = 100.0 + np.cumsum(np.where(rng.random(steps) < 0.05, 10.0 ** rng.integers(-3, 12, steps), 0.01))
    series[:, 6] = np.where(t < 200, 100.0 + np.cumsum(noise[2]), 5.0)
    series[:, 7] = np.exp(np.clip(np.cumsum(2.0 * noise[3]), -600, 600))
    series[:, 8] = 10.0 ** rng.integers(-300, 300, steps) * np.sign(noise[4])
    series[:, 9] = 61837.0 + 0.01 * (rng.random(steps) < 0.4)
    series[:, 10] = t
    series[:, 11] = np.where(t % 7 == 0, 1e150, 0.0)
    series[:, 12] = 1e9 + np.cumsum(noise[5]) * 1e-6
    series[:, 13] = np.tan(rng.uniform(-np.pi / 2, np.pi / 2, steps))
    series[:, 14] = np.sin(0.1 * t)
    series[:, 15] = np.where(t < 60, t % 2 * 1e-12, np.where(t % 3 == 0, 1e12, noise[6]))
    lanes = Lanes()
    outputs = lanes.run(series)
    rest = np.delete(outputs, OUTPUTS.last_prediction_error, axis=1)
    assert np.isfinite(rest).all() and np.isfinite(outputs[1:]).all()
    assert (outputs[:, OUTPUTS.lo] <= outputs[:, OUTPUTS.hi]).all()
    assert np.isfinite(lanes.program.read_columns(lanes.block)).all()


def test_forecasts_of_known_laws_are_near_the_best_possible() -> None:
    """Within 2.5 % of the law's own noise after a burn-in of 300, and intervals cover about 95 %."""
    steps, rng = 1200, np.random.default_rng(11)
    noise = rng.standard_normal((steps, 16))
    series = np.zeros((steps, 16))
    for t in range(1, steps):
        series[t, :4] = 50.0 + noise[t, :4]
        series[t, 4:8] = series[t - 1, 4:8] + noise[t, 4:8]
        series[t, 8:12] = 0.9 * series[t - 1, 8:12] + noise[t, 8:12]
        series[t, 12:] = 1.58 * series[t - 1, 12:] - 0.81 * series[max(t - 2, 0), 12:] + noise[t, 12:]
    outputs = Lanes().run(series)
    error = outputs[300:, OUTPUTS.last_prediction_error]
    ratio = np.sqrt((error**2).mean(axis=0) / (noise[300:] ** 2).mean(axis=0))
    groups = ratio.reshape(4, 4).mean(axis=1)
    assert (groups <= 1.025).all(), groups
    inside = (series[1:] >= outputs[:-1, OUTPUTS.lo]) & (series[1:] <= outputs[:-1, OUTPUTS.hi])
    assert 0.94 <= inside[300:].mean() <= 0.96
