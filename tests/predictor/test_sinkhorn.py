# SPDX-License-Identifier: MIT
"""Entropic transport between weight vectors, against ott-jax, log-domain scalings and the optimality conditions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ott.geometry import geometry
from ott.problems.linear import linear_problem
from ott.solvers.linear import sinkhorn as ott_sinkhorn

from usp.predictor import fusion, sinkhorn

LANES = 16
TOLERANCE = 1e-6
KINDS = ("unrelated", "tie", "equal", "near", "kernel_d", "uniform", "arbitrary_cost")
solve = jax.jit(sinkhorn.transport)


def problem(kind: str, lanes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cost [4, 4, lanes] of forecasts of any scale, source and target weights [4, lanes] with a floor of 0.01."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(4, lanes)) * 10.0 ** rng.uniform(-3.0, 3.0, size=lanes)
    if kind == "tie":
        means[1] = means[0]
    cost = np.square(means[:, None] - means[None, :])
    if kind == "arbitrary_cost":
        cost = rng.exponential(size=(4, 4, lanes))
    source, target = (0.01 + 0.96 * rng.dirichlet([0.5] * 4, size=lanes).T for _ in range(2))
    if kind == "equal":
        target = source.copy()
    if kind == "near":
        loss = jnp.asarray(rng.exponential(size=(4, lanes)))
        target = np.asarray(fusion.jko_step(jnp.asarray(source), loss, 0.01, 0.01))
    if kind == "kernel_d":
        source = np.tile([[0.0], [0.0], [0.0], [1.0]], lanes)
    if kind == "uniform":
        source = np.full((4, lanes), 0.25)
    return cost, source, target


def run(cost, source, target, epsilon, max_iter=200.0) -> sinkhorn.Transport:
    lanes = cost.shape[-1]
    result = solve(cost, source, target, np.full(lanes, epsilon), np.broadcast_to(max_iter, lanes), TOLERANCE)
    return sinkhorn.Transport(*map(np.asarray, result))


def log_sum_exp(x, axis: int) -> np.ndarray:
    top = x.max(axis=axis, keepdims=True)
    return np.log(np.exp(x - top).sum(axis=axis)) + top.squeeze(axis)


def log_domain_plan(cost, source, target, epsilon: float, sweeps: int) -> np.ndarray:
    """Plain Sinkhorn scalings with log-sum-exp; slow, and right when it has converged."""
    scaled = cost / cost.mean(axis=(0, 1))
    with np.errstate(divide="ignore"):
        log_source, log_target = np.log(source), np.log(target)
    g = np.zeros_like(target)
    for _ in range(sweeps):
        f = epsilon * (log_source - log_sum_exp((g - scaled) / epsilon, axis=1))
        g = epsilon * (log_target - log_sum_exp((f[:, None] - scaled) / epsilon, axis=0))
    return np.exp((f[:, None] + g - scaled) / epsilon)


def l1(a, b) -> np.ndarray:
    return np.abs(a - b).sum(axis=(0, 1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("epsilon", [1.0, 0.1, 0.01])
def test_the_plan_equals_log_domain_scalings(kind, epsilon):
    """Where it says converged, the plan is within 1e-6 (L1) of log-domain Sinkhorn, as far as that has settled.

    A plan whose marginals are off by x is off by at most 7 x itself, which is what the reference is granted.
    """
    cost, source, target = problem(kind, LANES)
    result = run(cost, source, target, epsilon)
    reference = log_domain_plan(cost, source, target, epsilon, sweeps=2_000)
    unsettled = np.abs(reference.sum(axis=1) - source).sum(axis=0)
    assert result.converged.all()
    assert (unsettled < 1e-7).any()
    assert (l1(result.plan, reference) <= 1e-6 + 7.0 * unsettled).all()


@pytest.mark.parametrize("epsilon", [1.0, 0.1, 0.03])
def test_the_plan_and_its_cost_equal_those_of_ott(epsilon):
    """ott-jax finds the same plan and the same transport cost."""
    cost, source, target = problem("unrelated", 4)
    scale = cost.mean(axis=(0, 1))
    result = run(cost, source, target, epsilon)

    def oracle(scaled, a, b):
        transport = linear_problem.LinearProblem(geometry.Geometry(cost_matrix=scaled, epsilon=epsilon), a, b)
        found = ott_sinkhorn.Sinkhorn(threshold=1e-10, max_iterations=50_000)(transport)
        return found.matrix, found.converged

    matrix, converged = jax.jit(jax.vmap(oracle, in_axes=-1, out_axes=-1))(cost / scale, source, target)
    assert np.asarray(converged).all()
    assert (l1(result.plan, np.asarray(matrix)) <= 1e-6).all()
    np.testing.assert_allclose(result.cost, np.sum(matrix * cost, axis=(0, 1)), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("epsilon", [1e-3, 1e-4])
def test_criterion_10_converges_for_every_epsilon_down_to_1e_4(kind, epsilon):
    """Marginals within 1e-6 (L1) and the form of the optimum, log P + C / epsilon = f_i + g_j, both within 100 steps.

    The two conditions have one solution, so they certify the plan without another solver.
    """
    cost, source, target = problem(kind, 1_024, seed=1)
    result = run(cost, source, target, epsilon, max_iter=100)
    assert result.converged.all()
    assert (result.max_err <= TOLERANCE).all()
    scaled = cost / cost.mean(axis=(0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        separable = np.log(result.plan) + scaled / epsilon
        curl = separable[:-1, :-1] + separable[1:, 1:] - separable[:-1, 1:] - separable[1:, :-1]
    seen = np.isfinite(curl) & (result.plan.min(axis=(0, 1)) > 1e-290)
    assert (np.abs(curl[seen]) <= 1e-6 * 16.0 / epsilon * 1e-4).all()


def test_criterion_10_says_so_when_it_has_not_converged():
    """A step limit of one, or epsilon far below 1e-4, gives `converged` only if the marginals really are right."""
    cost, source, target = problem("unrelated", 1_024)
    for epsilon, limit in ((0.1, 1), (1e-6, 20)):
        result = run(cost, source, target, epsilon, max_iter=limit)
        rows = np.abs(result.plan.sum(axis=1) - source).sum(axis=0)
        columns = np.abs(result.plan.sum(axis=0) - target).sum(axis=0)
        np.testing.assert_allclose(result.max_err, rows + columns, atol=1e-12)
        assert not result.converged.all()
        assert (result.max_err[result.converged] <= TOLERANCE).all()
        assert (result.iterations <= limit).all()


def test_criterion_37_a_huge_epsilon_gives_the_independent_plan():
    """At epsilon = 1e4 the cost does not matter: P = source x target."""
    cost, source, target = problem("unrelated", LANES)
    result = run(cost, source, target, 1e4)
    assert (l1(result.plan, source[:, None] * target[None, :]) <= 1e-3).all()


def test_the_answer_does_not_depend_on_the_unit_of_the_signal():
    """Costs 2^40 times larger give the same plan, and cost and free energy 2^40 times larger."""
    cost, source, target = problem("unrelated", LANES)
    one, other = run(cost, source, target, 0.1), run(cost * 2.0**40, source, target, 0.1)
    np.testing.assert_array_equal(one.plan, other.plan)
    np.testing.assert_array_equal(one.cost * 2.0**40, other.cost)
    np.testing.assert_allclose(one.free_energy * 2.0**40, other.free_energy, rtol=1e-12)


def test_free_energy_is_cost_minus_temperature_times_entropy():
    """And it is the minimum: the independent plan and the diagonal-heavy plan of the same marginals have more."""
    cost, source, target = problem("uniform", LANES)
    target = source.copy()
    result = run(cost, source, target, 0.1)
    temperature = 0.1 * cost.mean(axis=(0, 1))

    def energy(plan):
        entropy = -np.sum(np.where(plan > 0.0, plan * np.log(np.maximum(plan, 1e-300)), 0.0), axis=(0, 1))
        return np.sum(plan * cost, axis=(0, 1)) - temperature * entropy

    np.testing.assert_allclose(result.free_energy, energy(result.plan), rtol=1e-9)
    assert (result.free_energy <= energy(source[:, None] * target[None, :])).all()
    assert (result.free_energy <= energy(np.eye(4)[..., None] * source) + 1e-12 * temperature).all()


def test_zero_weights_carry_no_mass():
    """Rows without source and columns without target are exactly zero, at every epsilon, and the rest is right."""
    cost, source, target = problem("arbitrary_cost", LANES)
    source[0], target[2] = 0.0, 0.0
    source, target = source / source.sum(axis=0), target / target.sum(axis=0)
    for epsilon in (1.0, 1e-4):
        result = run(cost, source, target, epsilon)
        assert result.converged.all()
        assert (result.plan[0] == 0.0).all() and (result.plan[:, 2] == 0.0).all()
        np.testing.assert_allclose(result.plan.sum(axis=0), target, atol=TOLERANCE)


def test_equal_forecasts_cost_nothing():
    """A cost of zero everywhere gives the independent plan, cost zero, converged."""
    _, source, target = problem("unrelated", LANES)
    result = run(np.zeros((4, 4, LANES)), source, target, 0.1)
    np.testing.assert_allclose(result.plan, source[:, None] * target[None, :], atol=1e-15)
    assert (result.cost == 0.0).all() and result.converged.all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_a_lane_that_is_no_transport_problem_is_named_and_hurts_no_other(bad):
    """It is not converged, has an infinite error and zero cost; the bits of the others are as without it."""
    cost, source, target = problem("unrelated", LANES)
    good = run(cost, source, target, 0.1)
    broken_cost, broken_source = cost.copy(), source.copy()
    broken_cost[0, 1, 3] = bad if bad > 0 or np.isnan(bad) else np.nan
    broken_source[2, 5] = bad
    result = run(broken_cost, broken_source, target, 0.1)
    others = [lane for lane in range(LANES) if lane not in (3, 5)]
    assert not result.converged[[3, 5]].any() and np.isinf(result.max_err[[3, 5]]).all()
    assert (result.cost[[3, 5]] == 0.0).all() and (result.free_energy[[3, 5]] == 0.0).all()
    for before, after in zip(good, result, strict=True):
        np.testing.assert_array_equal(before[..., others], after[..., others])


def test_the_bits_of_a_lane_depend_on_no_other_lane():
    """Neither other lanes' values, nor how long they take, nor the position of the lane change one bit."""
    cost, source, target = problem("unrelated", LANES)
    epsilon, limit = np.full(LANES, 0.1), np.full(LANES, 200.0)
    base = solve(cost, source, target, epsilon, limit, TOLERANCE)
    hard = np.array([1e-4 if lane % 2 else 0.1 for lane in range(LANES)])
    mixed = solve(cost, source, target, hard, np.where(hard < 0.1, 500.0, 200.0), TOLERANCE)
    order = np.random.default_rng(2).permutation(LANES)
    moved = solve(cost[..., order], source[:, order], target[:, order], epsilon, limit, TOLERANCE)
    for one, two, three in zip(base, mixed, moved, strict=True):
        np.testing.assert_array_equal(np.asarray(one)[..., ::2], np.asarray(two)[..., ::2])
        np.testing.assert_array_equal(np.asarray(one)[..., order], np.asarray(three))


def test_each_lane_has_its_own_step_limit():
    """A lane with limit 3 stops at 3 while its neighbour goes on."""
    cost, source, target = problem("unrelated", 2)
    result = solve(cost, source, target, np.full(2, 1e-3), np.array([3.0, 200.0]), TOLERANCE)
    assert result.iterations[0] == 3 and not result.converged[0]
    assert result.iterations[1] > 3 and result.converged[1]
