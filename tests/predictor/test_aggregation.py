# SPDX-License-Identifier: MIT
"""Weights of experts."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from predictor_lanes import CONFIG
from usp.predictor import aggregation, params

LANES = 3


def lanes_of(tree: Any) -> Any:
    """One-lane numpy tree as arrays [..., LANES]."""
    return jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x, jnp.float64)[..., None], (*np.shape(x), LANES)), tree)


P = lanes_of(params.column_params(CONFIG, "x"))
ALL = jnp.ones(LANES, bool)


def fresh(experts: int) -> aggregation.Bank:
    """An empty record of LANES lanes."""
    return jax.tree.map(
        lambda x: jnp.broadcast_to(jnp.asarray(x, jnp.float64)[..., None], (*np.shape(x), LANES)),
        aggregation.init(experts),
    )


def play(errors: np.ndarray) -> tuple[aggregation.Bank, aggregation.Mixture]:
    """Feed forecasts with the given errors [steps, K] against a target of 0."""
    bank = fresh(errors.shape[1])
    mixture = aggregation.mix(bank, jnp.zeros((errors.shape[1], LANES)), P)
    for row in errors:
        forecasts = jnp.broadcast_to(jnp.asarray(row)[:, None], (len(row), LANES))
        bank = aggregation.remember(bank, forecasts, aggregation.mix(bank, forecasts, P))
        bank = aggregation.learn(bank, jnp.zeros(LANES), ALL, P)
        mixture = aggregation.mix(bank, forecasts, P)
    return bank, mixture


def test_weights_are_uniform_before_the_warm_up_is_over() -> None:
    """Twenty ticks say nothing yet."""
    errors = np.random.default_rng(0).standard_normal((19, 4)) * np.array([0.01, 1.0, 1.0, 1.0])
    np.testing.assert_array_equal(0.25, play(errors)[1].weights)


def test_the_best_expert_gets_the_weight_and_the_rest_none() -> None:
    """Weights sum to 1, go to the least squared error, and come back to another after a change."""
    rng = np.random.default_rng(1)
    first = rng.standard_normal((200, 4)) * np.array([0.5, 1.0, 1.0, 1.0])
    weights = np.asarray(play(first)[1].weights)
    np.testing.assert_allclose(weights.sum(axis=0), 1.0, atol=1e-12)
    assert (weights[0] > 0.7).all()
    second = rng.standard_normal((300, 4)) * np.array([1.0, 1.0, 0.3, 1.0])
    assert (np.asarray(play(np.vstack([first, second]))[1].weights)[2] > 0.7).all()


def test_the_gibbs_weight_is_the_discounted_loss_to_the_power_of_half_the_count() -> None:
    """Closed form of the rule: c = d c + l, n = d n + 1, w ~ c^(-n / 2)."""
    errors = np.random.default_rng(2).standard_normal((60, 3))
    bank, _ = play(errors)
    d = CONFIG.bank.gibbs_discounts[1]
    powers = d ** np.arange(59, -1, -1.0)
    np.testing.assert_allclose((powers[:, None] * errors**2).sum(axis=0), bank.loss[1, :, 0], rtol=1e-9)
    np.testing.assert_allclose(powers.sum(), bank.count[1, 0], rtol=1e-12)


def test_perfect_and_equal_experts_give_finite_weights() -> None:
    """Zero errors (unchanged prices) divide by nothing."""
    weights = np.asarray(play(np.zeros((100, 4)))[1].weights)
    np.testing.assert_allclose(weights, 0.25, atol=1e-12)


def test_lanes_that_do_not_learn_keep_their_record() -> None:
    """`where` gates by lane."""
    bank, _ = play(np.ones((30, 2)))
    held = aggregation.learn(bank, jnp.ones(LANES), jnp.asarray([True, False, True]), P)
    for old, new in zip(jax.tree.leaves(bank), jax.tree.leaves(held), strict=True):
        np.testing.assert_array_equal(old[..., 1], new[..., 1])
