# SPDX-License-Identifier: MIT
"""Acceptance criteria that concern several parts at once; the others stand with the parts that they concern."""

import jax
import jax.numpy as jnp
import numpy as np

from predictor_lanes import CONFIG, Lanes
from usp.predictor import OUTPUTS, identification, params, regime

P = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64)[..., None], params.column_params(CONFIG, "x"))
WATCH = jax.jit(regime.watch_errors)


def alarms_of(z: np.ndarray, kurtosis: np.ndarray | float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Alarms and levels [steps, lanes] of standardised errors [steps, lanes]."""
    lanes = z.shape[1]
    fresh = jax.tree.map(
        lambda x: jnp.broadcast_to(jnp.asarray(x)[..., None], (*np.shape(x), lanes)), regime.init_cusum(P)
    )
    state = jax.tree.map(lambda x: x.astype(jnp.float64), fresh)
    levels, alarms, yes = [], [], jnp.ones((2, lanes), bool)
    kurtoses = np.broadcast_to(kurtosis, z.shape)
    for row, kappa in zip(z, kurtoses, strict=True):
        state, alarm = WATCH(state, jnp.stack([row, 0.0 * row]), jnp.asarray(kappa), yes, P)
        alarms.append(np.asarray(alarm))
        levels.append(np.asarray(state.adaptive_h_t))
    return np.array(alarms), np.array(levels)


def test_criterion_18_a_change_at_500_is_found_between_500_and_550() -> None:
    """Standard errors whose mean moves by 1.5 sigma at step 500, in 64 runs; at most 1 false alarm per 10^4 steps."""
    z = np.random.default_rng(1).standard_normal((550, 64))
    z[500:] += 1.5
    alarms, _ = alarms_of(z)
    assert alarms[:500].mean() <= 1e-4
    assert alarms[500:].any(axis=0).all()


def test_criterion_26_the_level_follows_the_tails_and_the_false_alarms_do_not() -> None:
    """Normal until 1,000, Student's t with 3 degrees after: h_1500 / h_500 in [1.5, 2.5] in the median of 64 runs.

    The rates of false alarms before and after differ by less than 0.05.
    """
    rng = np.random.default_rng(2)
    errors = np.concatenate([rng.standard_normal((1_000, 64)), rng.standard_t(3, (500, 64)) / np.sqrt(3.0)])
    kurtosis = jax.jit(identification.kurtosis)
    filled = jnp.full(64, 252.0)
    kappa = np.full(errors.shape, 3.0)
    for t in range(252, len(errors), 10):
        kappa[t : t + 10] = kurtosis(errors[t - 252 : t], filled, 1e-10, 1.0, 100.0)
    alarms, levels = alarms_of(errors, kappa)
    assert 1.5 <= np.median(levels[1_499] / levels[499]) <= 2.5
    assert abs(alarms[:1_000].mean() - alarms[1_000:].mean()) < 0.05


def test_criterion_36_the_level_in_raw_units_follows_sigma() -> None:
    """Errors over sigma: a drift of 0.05 is seen at sigma 0.01 and not at 0.5; a drift of 2 is seen at 0.5."""
    noise = np.random.default_rng(3).standard_normal((200, 3))
    sigma, drift = np.array([0.01, 0.5, 0.5]), np.array([0.05, 0.05, 2.0])
    raw = sigma * noise + drift
    alarms, levels = alarms_of(raw / sigma)
    assert alarms.any(axis=0).tolist() == [True, False, True]
    level_raw = levels[-1] * sigma
    np.testing.assert_allclose(level_raw[1] / level_raw[0], 50.0, rtol=0.1)


def test_criterion_20_and_40_a_restored_symbol_forecasts_the_same_and_outputs_stay_on_the_device() -> None:
    """State to document and back in another lane: the next forecast differs by nothing; the step returns arrays."""
    lanes = Lanes()
    series = 100.0 + np.cumsum(np.random.default_rng(4).standard_normal((90, 16)), axis=0)
    lanes.run(np.repeat(series[:, :1], 16, axis=1))
    restored = lanes.program.from_document(lanes.document(0))
    lanes.block = lanes.program.load_column(lanes.block, 7, restored)
    lanes.parameters[:, 7] = lanes.parameters[:, 0]
    found = lanes.feed(101.0)
    assert found[OUTPUTS.mean, 7] == found[OUTPUTS.mean, 0]
    _, outputs = lanes.program.step(lanes.program.new_block(), lanes.parameters, lanes.program.idle_inputs())
    assert isinstance(outputs, jax.Array)
