# SPDX-License-Identifier: MIT
"""Recursive regressions against batch least squares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from usp.predictor import lattice, rls

LANES = 4
UPDATE = jax.jit(lattice.update)


def lanes_of(tree: object) -> object:
    """One-lane numpy state as arrays [..., LANES]."""
    return jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x)[..., None], (*np.shape(x), LANES)), tree)


def autoregression(steps: int, seed: int = 0) -> np.ndarray:
    """Stationary AR(2) levels [steps, LANES]."""
    rng = np.random.default_rng(seed)
    x = np.zeros((steps, LANES))
    for t in range(2, steps):
        x[t] = 1.2 * x[t - 1] - 0.5 * x[t - 2] + rng.standard_normal(LANES)
    return x


def test_recursive_least_squares_is_ridge_regression() -> None:
    """After n ticks the coefficients are those of the batch problem with the prior precision."""
    rng = np.random.default_rng(1)
    features, targets = rng.standard_normal((50, 3, LANES)), rng.standard_normal((50, LANES))
    state, ridge = lanes_of(rls.init(3, 0.1)), jnp.full(LANES, 0.1)
    for phi, y in zip(features, targets, strict=True):
        state = rls.update(state._replace(regressor=jnp.asarray(phi)), jnp.asarray(y), jnp.ones(LANES, bool), ridge)
    for lane in range(LANES):
        a = features[:, :, lane]
        expected = np.linalg.solve(a.T @ a + 0.1 * np.eye(3), a.T @ targets[:, lane])
        np.testing.assert_allclose(expected, state.weights[:, lane], rtol=1e-9)


def test_a_broken_covariance_starts_again_from_the_prior() -> None:
    """A lane that is no longer positive definite is reset; the others are untouched."""
    state = lanes_of(rls.init(2, 0.5))
    state = state._replace(
        regressor=jnp.ones((2, LANES)),
        covariance=state.covariance.at[:, :, 1].set(jnp.array([[-1.0, 0.0], [0.0, jnp.nan]])),
    )
    learned = rls.update(state, jnp.ones(LANES), jnp.ones(LANES, bool), jnp.full(LANES, 0.5))
    np.testing.assert_array_equal(2.0 * np.eye(2), learned.covariance[:, :, 1])
    assert np.isfinite(np.asarray(learned.covariance)).all() and (np.asarray(learned.weights)[:, 1] == 0.0).all()


@pytest.mark.parametrize("forgetting", [1.0, 0.98])
def test_every_order_of_the_lattice_is_an_autoregression_by_least_squares(forgetting: float) -> None:
    """Forecasts of all orders agree with weighted batch regression of the increment on a constant and lagged levels."""
    x, order = autoregression(400), 6
    state = lanes_of(lattice.init(order, 1, 1e-3))
    factor, knee = jnp.full((1, LANES), forgetting), jnp.full(LANES, 1e9)
    for t in range(1, len(x)):
        state = UPDATE(state, jnp.asarray(x[t]), jnp.asarray(x[t] - x[t - 1]), factor, knee)
    forecasts = np.asarray(lattice.predict(state)[0][:, 0])
    for lane in range(LANES):
        for m in (1, 2, 6):
            rows = np.arange(m, len(x) - 1)
            lags = np.stack([x[rows - i, lane] for i in range(m)], axis=1)
            design = np.hstack([np.ones((len(rows), 1)), lags])
            root = forgetting ** (0.5 * (rows[-1] - rows))
            solution, *_ = np.linalg.lstsq(
                design * root[:, None], (x[rows + 1, lane] - x[rows, lane]) * root, rcond=None
            )
            newest = np.concatenate([[1.0], x[len(x) - 1 - np.arange(m), lane]])
            assert abs(newest @ solution - forecasts[m - 1, lane]) < 0.05


def test_the_huber_twin_is_not_moved_by_one_jump() -> None:
    """With a huge knee both agree; with a small one an outlier moves the twin far less."""
    x = autoregression(300)
    x[250:] += 200.0 * (np.arange(50) == 0)[:, None]
    results = []
    for knee in (1e9, 2.0):
        state = lanes_of(lattice.init(2, 1, 1e-3))
        for t in range(1, 252):
            state = UPDATE(
                state, jnp.asarray(x[t]), jnp.asarray(x[t] - x[t - 1]), jnp.ones((1, LANES)), jnp.full(LANES, knee)
            )
        results.append(np.asarray(state.robust_gain[0, 0] - state.joint_gain[0, 0]))
    np.testing.assert_allclose(0.0, results[0], atol=1e-12)
    assert (np.abs(results[1]) > 1e-3).all()


def test_a_restarted_lattice_is_a_fresh_one_at_the_present_level() -> None:
    """Only the lanes asked for are cleared."""
    x = autoregression(50)
    state = lanes_of(lattice.init(3, 1, 1e-3))
    for t in range(1, 50):
        state = UPDATE(
            state, jnp.asarray(x[t]), jnp.asarray(x[t] - x[t - 1]), jnp.ones((1, LANES)), jnp.full(LANES, 2.0)
        )
    where = jnp.asarray([[True, False, False, False]])
    again = lattice.restart(state, jnp.asarray(x[49]), where, jnp.full(LANES, 1e-3))
    assert (float(again.weight[0, 0]), float(again.level_mean[0, 0])) == (1.0, x[49, 0])
    np.testing.assert_array_equal(state.joint_gain[..., 1:], again.joint_gain[..., 1:])
