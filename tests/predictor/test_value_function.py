# SPDX-License-Identifier: MIT
"""Value functions against laws with a known conditional mean; training, collapse and growth of the network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from usp.predictor import network_training as training
from usp.predictor import value_function as vf
from usp.predictor.identification import histogram_entropy

ACTIVATION = "tanh"
NETWORK = vf.make_network(64, 4, 3)
ORNSTEIN = vf.Problem(jnp.array([0.1, -0.5]), jnp.array([0.4]), jnp.asarray(1.0), jnp.asarray(-2.0), jnp.asarray(2.0))
GEOMETRIC = vf.Problem(
    jnp.array([0.0, 0.05]), jnp.array([0.0, 0.2]), jnp.asarray(1.0), jnp.asarray(0.5), jnp.asarray(1.5)
)
LEFT = jnp.linspace(0.0, 1.0, 21)
solve = jax.jit(vf.solve, static_argnums=(2, 3, 4))


def ornstein_mean(left: np.ndarray, x: np.ndarray) -> np.ndarray:
    """E[X_T | X_t = x] of the Ornstein-Uhlenbeck process above."""
    return 0.2 + (x - 0.2) * np.exp(-0.5 * left)


def geometric_mean(left: np.ndarray, x: np.ndarray) -> np.ndarray:
    """x exp(r (T - t))."""
    return x * np.exp(0.05 * left)


CASES = {"ornstein": (ORNSTEIN, ornstein_mean), "geometric": (GEOMETRIC, geometric_mean)}


def grid_of(problem: vf.Problem) -> jax.Array:
    return jnp.linspace(problem.low, problem.high, 100)


@pytest.mark.parametrize("name", CASES)
def test_criterion_13_the_solution_is_the_conditional_mean(name):
    """Equation met within 1e-3 (RMS, between the collocation points), sup error below 5 % of the largest value."""
    problem, mean = CASES[name]
    solved = solve(NETWORK, problem, ACTIVATION, 256)
    found = np.asarray(vf.value_on(solved, problem, ACTIVATION, LEFT, grid_of(problem)))
    expected = mean(np.asarray(LEFT)[:, None], np.asarray(grid_of(problem)))
    assert np.abs(found - expected).max() <= 0.05 * np.abs(expected).max()
    left = np.asarray(vf.residuals(solved, problem, ACTIVATION, vf.collocation(problem, 300, 1_000)))
    assert np.sqrt(np.mean(left**2)) <= 1e-3


def test_criterion_13_value_functions_keep_the_order_of_their_terminal_conditions_and_of_time():
    """Comparison principle: g <= g' gives V <= V' everywhere; with upward drift V grows with the time left."""
    upward = ORNSTEIN._replace(drift=jnp.array([0.5]))

    def higher(x: jax.Array) -> jax.Array:
        return x + 0.1 * x * x

    low, high = (solve(NETWORK, upward, ACTIVATION, 256, g) for g in (vf.identity, higher))
    values = [
        vf.value_on(n, upward, ACTIVATION, LEFT, grid_of(upward), g) for n, g in ((low, vf.identity), (high, higher))
    ]
    assert (np.asarray(values[1] - values[0]) >= -1e-3).all()
    assert (np.diff(np.asarray(values[0]), axis=0) > 0.0).all()


def test_criterion_14_and_16_the_solution_does_not_collapse():
    """Var V / Var g within [0.3, 1.2] at 90 % of the times, >= 0.1 on [0, 0.9 T], median >= 0.5; gradient not zero."""
    solved = solve(NETWORK, ORNSTEIN, ACTIVATION, 256)
    values = vf.value_on(solved, ORNSTEIN, ACTIVATION, LEFT, grid_of(ORNSTEIN))
    ratio = np.asarray(vf.variance_ratio(values, grid_of(ORNSTEIN)))
    assert np.mean((ratio >= 0.3) & (ratio <= 1.2)) >= 0.9
    assert ratio[LEFT >= 0.1].min() >= 0.1 and np.median(ratio) >= 0.5
    np.testing.assert_allclose(ratio, np.exp(-np.asarray(LEFT)), atol=0.01)
    slope = jax.vmap(jax.grad(lambda x: vf.value(solved, ORNSTEIN, ACTIVATION, jnp.asarray(1.0), x)))(grid_of(ORNSTEIN))
    assert float(jnp.min(jnp.abs(slope))) > 0.0


def test_criterion_16_a_collapsed_value_function_shows_in_variance_and_entropy():
    """A constant V has ratio 0 and entropy 0; the terminal condition has ratio 1 and entropy log(bins)."""
    grid = grid_of(ORNSTEIN)
    values = jnp.stack([jnp.full_like(grid, 0.3), grid])
    np.testing.assert_allclose([0.0, 1.0], vf.variance_ratio(values, grid), atol=1e-12)
    entropy = histogram_entropy(values.T, jnp.full(2, -2.0), jnp.full(2, 2.0), 50)
    np.testing.assert_allclose([0.0, np.log(50.0)], entropy, atol=0.05)


def test_criterion_15_more_points_give_smaller_errors():
    """Mean squared residual below 1e-4, falling with refinement at a rate of at least one half of the point count."""
    counts = (16, 64, 256)
    check = vf.collocation(ORNSTEIN, 300, 1_000)
    errors = [
        float(
            jnp.sqrt(
                jnp.mean(jnp.square(vf.residuals(solve(NETWORK, ORNSTEIN, ACTIVATION, n), ORNSTEIN, ACTIVATION, check)))
            )
        )
        for n in counts
    ]
    assert errors[2] ** 2 < 1e-4 and errors[0] > errors[1] > errors[2], errors
    assert np.log(errors[0] / errors[2]) / np.log(counts[2] / counts[0]) >= 0.5


@pytest.mark.parametrize("activation", vf.ACTIVATIONS)
def test_every_activation_and_size_gives_another_network_and_the_same_mean(activation):
    """Smooth activations solve the equation within 5 %; depth and width change the answer in its last digits."""
    problem, mean = CASES["geometric"]
    expected = mean(np.ones(1), np.asarray(grid_of(problem)))
    found = []
    for width, depth in ((32, 2), (64, 2), (32, 3)):
        solved = solve(vf.make_network(width, depth, 3), problem, activation, 256)
        found.append(np.asarray(vf.value_on(solved, problem, activation, jnp.ones(1), grid_of(problem))))
        assert np.abs(found[-1] - expected).max() <= 0.05 * expected.max()
    assert not np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


def test_a_value_function_is_a_function_of_its_arguments_alone():
    """Solving and training twice gives the same bits: a replay makes the same network."""
    settings = training.Settings(epochs=5, points=32, rate=1e-3)
    train = jax.jit(training.train, static_argnums=(2, 3))
    small = vf.make_network(16, 2, 3)
    runs = [train(solve(small, ORNSTEIN, ACTIVATION, 64), ORNSTEIN, ACTIVATION, settings).network for _ in range(2)]
    for one, two in zip(*map(jax.tree.leaves, runs), strict=True):
        np.testing.assert_array_equal(one, two)


def test_training_lowers_the_loss():
    """From an untrained output layer, 200 epochs of Adam lower the mean squared residual tenfold."""
    small = vf.make_network(16, 2, 3)
    settings = training.Settings(epochs=200, points=64, rate=1e-2)
    done = jax.jit(training.train, static_argnums=(2, 3))(small, ORNSTEIN, ACTIVATION, settings)
    assert float(done.loss[-20:].mean()) < 0.1 * float(done.loss[0])
    assert not np.asarray(done.unstable).any()


def test_criterion_12_exploding_gradients_are_clipped_and_the_rate_is_halved():
    """A violent problem: more than 5 clipped epochs at 3 sigma_0 halve the rate and say so; at sigma_0 they do not.

    All weights stay finite, and the gradients applied never exceed norm 10.
    """
    violent = ORNSTEIN._replace(drift=jnp.array([0.0, -2_000.0]), diffusion=jnp.array([50.0]))
    small = vf.make_network(16, 2, 3)
    train = jax.jit(training.train, static_argnums=(2, 3))
    calm, wild = (
        train(small, violent, ACTIVATION, training.Settings(epochs=40, points=32, rate=1e-2, volatility=v))
        for v in (1.0, 3.0)
    )
    assert (np.asarray(wild.gradient_norm[:7]) > 10.0).all()
    assert not np.asarray(calm.unstable).any() and float(calm.rate) == 1e-2
    events = int(np.asarray(wild.unstable).sum())
    assert events >= 1 and float(wild.rate) == pytest.approx(1e-2 * 0.5**events)
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(wild.network))
    clipped = training.clip(calm.network, training.gradient_norm(calm.network))
    assert float(training.gradient_norm(clipped)) <= 10.0 + 1e-9


def test_criterion_12_training_settles_within_twenty_epochs_after_the_rate_is_halved():
    """After the volatile spell the loss of a tame problem does not grow over twenty epochs at the halved rate."""
    small = vf.make_network(16, 2, 3)
    settings = training.Settings(epochs=20, points=64, rate=5e-3, volatility=3.0)
    done = jax.jit(training.train, static_argnums=(2, 3))(small, ORNSTEIN, ACTIVATION, settings)
    assert not np.asarray(done.unstable).any()
    assert float(done.loss[-5:].mean()) <= float(done.loss[:5].mean())


@pytest.mark.parametrize(
    "ratio, expected", [(1.0, (64, 4)), (2.0, (64, 4)), (2.1, (128, 6)), (4.0, (128, 7)), (10.0, (128, 8))]
)
def test_criterion_27_the_architecture_grows_with_entropy(ratio, expected):
    """log(W D) grows by beta log kappa or up to the cap of four times; unchanged at or below the trigger."""
    start = vf.Architecture(64, 4)
    grown = vf.scaled_architecture(start, start, ratio, trigger=2.0, beta=0.7, most=4.0)
    assert grown == expected
    if ratio > 2.0:
        assert grown.width * grown.depth >= min(256 * ratio**0.7, 1_024)


def test_criterion_27_growth_is_capped_against_the_original_architecture():
    """Asking again and again ends at one architecture: at most one recompilation each, and none for ever after."""
    start = vf.Architecture(64, 4)
    seen, current = [start], start
    for _ in range(100):
        current = vf.scaled_architecture(current, start, 10.0, trigger=2.0, beta=0.7, most=4.0)
        seen.append(current)
    assert len(set(seen)) <= 2 and seen[1] == seen[-1]
