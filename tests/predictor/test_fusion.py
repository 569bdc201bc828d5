# SPDX-License-Identifier: MIT
"""Fusion of the kernels: couplings stay in range, weights stay on the simplex, distances are the textbook ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usp.predictor import fusion, identification, sinkhorn

LANES = 16
FLOOR = 0.01
step = jax.jit(fusion.jko_step)


def weights(seed: int, lanes: int = LANES) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet([0.7] * 4, size=lanes).T


def test_ground_cost_is_squared_or_huber_by_lane():
    """Squared distance; Huber: d^2 / 2 up to the knee, delta (d - delta / 2) beyond; symmetric with zero diagonal."""
    means = jnp.tile(jnp.asarray([[0.0], [0.5], [1.0], [4.0]]), (1, 2))
    cost = np.asarray(fusion.ground_cost(means, np.array([False, True]), 1.0))
    np.testing.assert_allclose(cost[0, :, 0], [0.0, 0.25, 1.0, 16.0])
    np.testing.assert_allclose(cost[0, :, 1], [0.0, 0.125, 0.5, 3.5])
    np.testing.assert_array_equal(cost, cost.transpose(1, 0, 2))


def test_epsilon_grows_with_volatility_and_never_falls_below_its_floor():
    """max(0.01, 0.1 (1 + 0.5 sigma)): the numbers of the specification, and no NaN from a NaN."""
    variance = np.array([0.0, 1.0, 4.0, 1e8, np.nan])
    found = np.asarray(fusion.coupled_epsilon(variance, 0.1, 0.5, 0.01))
    np.testing.assert_allclose(found, [0.1 * (1.0 + 0.5e-5), 0.15, 0.2, 0.1 * (1 + 0.5e4), 0.15])
    assert fusion.coupled_epsilon(0.0, 1e-5, 0.5, 0.01) == 0.01


def test_the_entropy_window_is_the_relaxation_time_within_its_bounds():
    """clip(5 L^2 / variance, 10, 500): calm lanes get the maximum, wild ones the minimum."""
    found = fusion.entropy_window(np.array([0.0, 0.001, 0.1, 0.05, 1e9, np.nan]), 5.0, 1.0, 10.0, 500.0)
    np.testing.assert_array_equal(found, [500, 500, 50, 100, 10, 500])
    assert found.dtype == jnp.int32


def test_the_learning_rate_is_at_most_one():
    """0.8 x 2 x eps_0 x variance inside [1e-6, 1], also at the variance 6.25 where the unclipped rule breaks down."""
    found = fusion.learning_rate(np.array([0.0, 1.0, 6.26, 1e300, np.inf, np.nan]), 0.1, 0.8, 1e-6)
    np.testing.assert_allclose(found, [1e-6, 0.16, 1.0, 1.0, 1.0, 1e-6])


def test_relative_variance_is_a_pure_number():
    """Errors and scale in another unit give the same number; a zero scale gives the neutral 1."""
    np.testing.assert_allclose(fusion.relative_variance(np.array([4.0, 4e-18]), np.array([1.0, 1e-9])), [4.0, 4.0])
    np.testing.assert_array_equal(fusion.relative_variance(np.array([0.0, 3.0]), 0.0), [1.0, 1.0])


def test_the_flow_is_the_minimiser_it_claims_to_be():
    """No other weight vector has a lower KL(r, rho) / eta + sum r loss + temperature sum r log r."""
    rho, loss = jnp.asarray(weights(1)), jnp.asarray(np.random.default_rng(1).exponential(size=(4, LANES)))

    def objective(r):
        return fusion.kl_divergence(r, rho) / 0.3 + fusion.free_energy(r, loss, 0.2)

    best = objective(step(rho, loss, 0.3, 0.0, 0.2))
    for seed in range(50):
        near = 0.999 * step(rho, loss, 0.3, 0.0, 0.2) + 0.001 * weights(seed + 2)
        assert (np.asarray(objective(near)) >= np.asarray(best) - 1e-15).all()


numbers = st.floats(allow_nan=True, allow_infinity=True, width=64)


@settings(max_examples=200, deadline=None)
@given(
    rho=st.lists(numbers, min_size=4, max_size=4),
    loss=st.lists(numbers, min_size=4, max_size=4),
    eta=st.floats(0.0, 1.0),
    floor=st.just(0.0) | st.floats(1e-9, 0.25),
)
def test_criterion_11_weights_are_a_simplex_to_1e_10_whatever_comes_in(rho, loss, eta, floor):
    """All >= max(0, floor) and |sum - 1| < 1e-10 for any weights and losses, NaN and infinity included."""
    found = np.asarray(step(jnp.asarray(rho)[:, None], jnp.asarray(loss)[:, None], eta, floor))
    assert abs(found.sum() - 1.0) < 1e-10
    assert (found >= 0.0).all() and (found >= floor * (1.0 - 1e-15)).all()
    assert bool(fusion.is_simplex(jnp.asarray(found), 1e-10)[0])


def test_criterion_11_the_sum_does_not_drift_over_many_steps():
    """After 20,000 steps with random losses the weights still sum to 1 within 1e-10."""
    losses = jnp.asarray(np.random.default_rng(3).exponential(size=(20_000, 4, LANES)))
    rho, _ = jax.lax.scan(lambda r, loss: (step(r, loss, 0.16, FLOOR), None), fusion.uniform(LANES), losses)
    assert np.abs(np.asarray(rho).sum(axis=0) - 1.0).max() < 1e-10


def test_a_dead_kernel_can_return():
    """After 500 bad steps a kernel has its floor; as the only good one it leads again within 60 steps."""
    rho, bad, good = fusion.uniform(1), jnp.asarray([[0.0], [0.0], [0.0], [5.0]]), jnp.asarray([[5.0]] * 3 + [[0.0]])
    for _ in range(500):
        rho = step(rho, bad, 0.16, FLOOR)
    assert FLOOR <= float(rho[3, 0]) < 0.02
    for _ in range(60):
        rho = step(rho, good, 0.16, FLOOR)
    assert float(rho[3, 0]) > 0.9


def test_a_kernel_without_a_finite_loss_falls_to_the_floor_and_no_information_changes_nothing():
    """NaN or infinite loss: the floor. All losses unusable: only the share of the floor is dealt out."""
    rho = jnp.asarray([[0.4, 0.4], [0.3, 0.3], [0.2, 0.2], [0.1, 0.1]])
    loss = jnp.asarray([[jnp.nan, jnp.nan], [1.0, jnp.inf], [1.0, jnp.nan], [1.0, jnp.nan]])
    found = np.asarray(step(rho, loss, 0.5, FLOOR))
    assert found[0, 0] == pytest.approx(FLOOR)
    np.testing.assert_allclose(found[:, 1], FLOOR + 0.96 * np.asarray(rho[:, 1]))


def test_criterion_37_a_huge_temperature_gives_uniform_weights():
    """With epsilon = 1e4 as temperature and as base of the learning rate, all weights are within 0.01 of 0.25."""
    eta = fusion.learning_rate(np.ones(LANES), 1e4, 0.8, 1e-6)
    loss = jnp.asarray(np.random.default_rng(4).exponential(size=(4, LANES)))
    found = step(jnp.asarray(weights(4)), loss, eta, FLOOR, 1e4)
    assert np.abs(np.asarray(found) - 0.25).max() <= 0.01


def test_criterion_25_a_shock_of_sigma_x_100_stays_finite_and_bounded():
    """At step 500 of 1,000 sigma rises 100 times: all finite, W_2 <= 10 (1 + sigma), epsilon >= its floor."""
    rng = np.random.default_rng(5)
    sigma = np.where(np.arange(1_000) < 500, 0.1, 10.0)
    truth = rng.normal(size=(1_000, LANES)) * sigma[:, None]
    means = rng.normal(size=(1_000, 4, LANES)) * sigma[:, None, None]

    def advance(state, values):
        rho, variance = state
        y, m = values
        variance = identification.ewma_variance(variance, y - jnp.sum(rho * m, axis=0), 0.1)
        relative = fusion.relative_variance(variance, 0.1)
        epsilon = fusion.coupled_epsilon(relative, 0.1, 0.5, 0.01)
        eta = fusion.learning_rate(relative, 0.1, 0.8, 1e-6)
        target = step(rho, jnp.square(m - y) / variance, eta, FLOOR)
        cost = fusion.ground_cost(m, False, 1.0)
        moved = sinkhorn.transport(cost, rho, target, epsilon, jnp.full(LANES, 200.0), 1e-6)
        return (target, variance), (target, epsilon, jnp.sqrt(moved.cost), moved.converged, moved.free_energy)

    start = (fusion.uniform(LANES), jnp.zeros(LANES))
    _, (rho, epsilon, distance, converged, energy) = jax.jit(lambda v: jax.lax.scan(advance, start, v))((truth, means))
    assert all(np.isfinite(np.asarray(x)).all() for x in (rho, epsilon, distance, energy))
    assert np.asarray(converged).all()
    assert (np.asarray(epsilon) >= 0.01).all()
    assert (np.asarray(distance) <= 10.0 * (1.0 + sigma[:, None])).all()
    assert np.abs(np.asarray(rho).sum(axis=1) - 1.0).max() < 1e-10


def test_criterion_25_sigma_of_1e4_may_warn_but_stays_finite():
    """Forecasts 1e4 apart and variance 1e8 give a finite plan and an honest flag."""
    rng = np.random.default_rng(6)
    cost = fusion.ground_cost(jnp.asarray(rng.normal(size=(4, LANES)) * 1e4), False, 1.0)
    epsilon = fusion.coupled_epsilon(np.full(LANES, 1e8), 0.1, 0.5, 0.01)
    moved = jax.jit(sinkhorn.transport)(
        cost, jnp.asarray(weights(6)), jnp.asarray(weights(7)), epsilon, jnp.full(LANES, 200.0), 1e-6
    )
    assert np.isfinite(np.asarray(moved.plan)).all() and np.isfinite(np.asarray(moved.cost)).all()
    assert (np.asarray(moved.max_err)[np.asarray(moved.converged)] <= 1e-6).all()


def test_fisher_rao_is_twice_the_angle_between_square_roots():
    """Zero for equal weights, pi for disjoint ones, 2 arccos(sum sqrt(p q)) between; exact for tiny differences."""
    p, q = jnp.asarray(weights(8)), jnp.asarray(weights(9))
    np.testing.assert_allclose(
        fusion.fisher_rao(p, q), 2.0 * np.arccos(np.sum(np.sqrt(np.asarray(p * q)), axis=0)), rtol=1e-7
    )
    assert (np.asarray(fusion.fisher_rao(p, p)) == 0.0).all()
    corner = jnp.asarray(np.eye(4)[:, :2])
    assert float(fusion.fisher_rao(corner[:, :1], corner[:, 1:])[0]) == pytest.approx(np.pi)
    near = jnp.asarray([[0.25 + 1e-12], [0.25 - 1e-12], [0.25], [0.25]])
    assert float(fusion.fisher_rao(fusion.uniform(1), near)[0]) == pytest.approx(np.sqrt(8.0) * 1e-12, rel=1e-3)


def test_the_divergence_to_the_best_weights_never_grows():
    """KL(w*, w) is a Lyapunov function of the flow when w* is all on the kernel with the least loss."""
    rng = np.random.default_rng(10)
    loss = jnp.asarray(rng.exponential(size=(4, LANES)))
    best = jnp.asarray((np.asarray(loss) == np.asarray(loss).min(axis=0)).astype(np.float64))
    rho, before = fusion.uniform(LANES), np.full(LANES, np.inf)
    for _ in range(50):
        rho = step(rho, loss, 0.16, 0.0)
        now = np.asarray(fusion.kl_divergence(best, rho))
        assert (now <= before + 1e-12).all()
        before = now


def test_mixture_variance_is_that_of_the_mixture_at_any_level():
    """sum rho (s^2 + m^2) - mean^2, also at level 1e8 where that formula has lost all digits."""
    rng = np.random.default_rng(11)
    rho, means, sigmas = weights(11), rng.normal(size=(4, LANES)), rng.exponential(size=(4, LANES))
    mean = np.sum(rho * means, axis=0)
    expected = np.sum(rho * (sigmas**2 + means**2), axis=0) - mean**2
    np.testing.assert_allclose(fusion.mixture_variance(rho, means, sigmas, mean), expected, rtol=1e-12)
    np.testing.assert_allclose(fusion.mixture_variance(rho, means + 1e8, sigmas, mean + 1e8), expected, rtol=1e-6)


def test_is_simplex_refuses_what_is_none():
    """Negative, not summing to one, NaN."""
    rho = jnp.asarray([[0.25, -0.1, 0.25, np.nan], [0.25, 0.6, 0.25, 0.5], [0.25, 0.25, 0.25, 0.5], [0.25] * 4])
    rho = rho.at[0, 2].add(1e-9)
    np.testing.assert_array_equal(fusion.is_simplex(rho, 1e-10), [True, False, False, False])


def test_the_bits_of_a_lane_depend_on_no_other_lane():
    """Permuting lanes permutes the results of a whole fusion step, bit for bit."""
    rng = np.random.default_rng(12)
    loss, means, order = rng.exponential(size=(4, LANES)), rng.normal(size=(4, LANES)), rng.permutation(LANES)

    @jax.jit
    def whole(rho, loss, means):
        moved = step(rho, loss, 0.1, FLOOR)
        mean = jnp.sum(moved * means, axis=0)
        distances = fusion.fisher_rao(rho, moved), fusion.kl_divergence(rho, moved)
        return moved, fusion.mixture_variance(moved, means, loss, mean), *distances

    straight = whole(weights(12), loss, means)
    permuted = whole(weights(12)[:, order], loss[:, order], means[:, order])
    for one, two in zip(straight, permuted, strict=True):
        np.testing.assert_array_equal(np.asarray(one)[..., order], np.asarray(two))
