# SPDX-License-Identifier: MIT
"""The four kernels: one contract, and the formulas of each."""

from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import signax

from predictor_lanes import CONFIG, Lanes, with_bank
from usp.predictor import OUTPUTS, kernels, params, structure_of
from usp.predictor.kernels import dgm, levy_sde, signature
from usp.predictor.kernels.contract import Context, reach_of
from usp.predictor.structure import Structure

LANES = 4
STRUCTURE = structure_of(CONFIG, "x")
COLUMN = params.column_params(CONFIG, "x")


def lanes_of(tree: Any) -> Any:
    """One-lane numpy tree as arrays [..., LANES]."""
    return jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x, jnp.float64)[..., None], (*np.shape(x), LANES)), tree)


P = lanes_of(COLUMN)


def context(levels: np.ndarray, structure: Structure = STRUCTURE) -> Context:
    """The newest tick of scaled levels [N, LANES]."""
    history = np.zeros((structure.history, LANES))
    history[-len(levels) :] = levels[-structure.history :]
    lane = jnp.zeros(LANES)
    return Context(
        increment=jnp.asarray(history[-1] - history[-2]),
        level=jnp.asarray(history[-1]),
        history=jnp.asarray(history),
        deviation=lane + 2.0,
        count=lane + float(len(levels)),
        learn=jnp.ones(LANES, bool),
        freeze_d=jnp.zeros(LANES, bool),
        holder=lane + 0.5,
        noise=lane,
        alarm=jnp.zeros(LANES, bool),
        reach=reach_of(jnp.asarray(history)),
    )


@pytest.fixture(params=kernels.MODULES, ids=lambda module: module.__name__.rsplit(".", 1)[-1])
def kernel(request: pytest.FixtureRequest) -> ModuleType:
    return request.param


@pytest.fixture(params=["core", "full"])
def structure(request: pytest.FixtureRequest) -> Structure:
    return structure_of(with_bank(CONFIG, request.param), "x")


def test_with_no_evidence_a_kernel_forecasts_no_change(kernel: ModuleType, structure: Structure) -> None:
    """Fresh coefficients are zero, so the forecast is near the last value; health is ok."""
    state = lanes_of(kernel.init(structure, COLUMN))
    _, forecast = kernel.predict(structure, P, state, context(np.zeros((5, LANES)), structure))
    np.testing.assert_array_equal(0.0, forecast.mean)
    np.testing.assert_array_equal(0.0, forecast.health)


def test_a_kernel_learns_a_mean_reverting_series(kernel: ModuleType, structure: Structure) -> None:
    """On an AR(1) with coefficient 0.3 the forecast errors end well below those of the last value."""
    rng = np.random.default_rng(0)
    x = np.zeros((400, LANES))
    for t in range(1, len(x)):
        x[t] = 0.3 * x[t - 1] + rng.standard_normal(LANES)
    state = lanes_of(kernel.init(structure, COLUMN))

    @jax.jit
    def advance(state: Any, now: Context) -> Any:
        return kernel.predict(structure, P, kernel.update(structure, P, state, now), now)

    errors = []
    for t in range(2, len(x) - 1):
        state, forecast = advance(state, context(x[: t + 1], structure))
        errors.append(np.asarray(forecast.mean) - (x[t + 1] - x[t]))
    last = np.diff(x, axis=0)[200:]
    assert np.square(errors[200:]).mean() < 0.85 * np.square(last).mean()


def test_what_is_not_finite_is_reported_and_replaced(kernel: ModuleType, structure: Structure) -> None:
    """A poisoned level gives no change, never NaN."""
    state = lanes_of(kernel.init(structure, COLUMN))
    poisoned = context(np.full((40, LANES), np.nan), structure)
    _, forecast = kernel.predict(structure, P, state, poisoned)
    assert np.isfinite(np.asarray(forecast.mean)).all()


def chen(increments: np.ndarray) -> np.ndarray:
    """Signature words y, ty, yy, tty, tyy, yyt, yyy of (time, value) by sequential tensor products."""
    one, two, three = np.zeros(2), np.zeros((2, 2)), np.zeros((2, 2, 2))
    for step in increments:
        d = np.array([1.0 / len(increments), step])
        three = three + np.einsum("i,j,k", d, d, d) / 6 + np.einsum("i,j,k", one, d, d) / 2 + np.einsum("ij,k", two, d)
        two = two + np.einsum("i,j", d, d) / 2 + np.einsum("i,j", one, d)
        one = one + d
    return np.array([one[1], two[0, 1], two[1, 1], three[0, 0, 1], three[0, 1, 1], three[1, 1, 0], three[1, 1, 1]])


def test_the_signature_is_that_of_chens_identity() -> None:
    """Prefix sums give the same words as the product of exponentials, to 1e-12."""
    increments = np.random.default_rng(1).standard_normal((8, LANES))
    words = np.asarray(signature.signature_terms(jnp.asarray(increments), 3))
    for lane in range(LANES):
        np.testing.assert_allclose(chen(increments[:, lane]), words[:, lane], atol=1e-12)


def oracle_words(path: np.ndarray, words: tuple[str, ...]) -> list[float]:
    """The same words from signax, whose levels are tensors of (time, value)."""
    levels = signax.signature(jnp.asarray(path), depth=5, flatten=False)
    return [float(levels[len(word) - 1][tuple("ty".index(letter) for letter in word)]) for word in words]


def path_of(increments: np.ndarray) -> np.ndarray:
    """(time, value) from (0, 0), one row per corner."""
    steps = np.stack([np.full(len(increments), 1.0 / len(increments)), increments], axis=1)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


def test_criterion_6_words_of_depth_four_and_five_are_those_of_signax() -> None:
    """Lyndon words of lengths 4 and 5, and Chen's identity across a cut, to 1e-10."""
    words = signature.LYNDON[4] + signature.LYNDON[5]
    increments = np.random.default_rng(8).standard_normal((12, LANES))
    found = np.asarray(jnp.stack(signature.iterated_integrals(jnp.asarray(increments), words)))
    for lane in range(LANES):
        np.testing.assert_allclose(found[:, lane], oracle_words(path_of(increments[:, lane]), words), atol=1e-10)
    all_terms = signature.signature_terms(jnp.asarray(increments), 5)
    assert all_terms.shape[0] == signature.WORDS[5]
    np.testing.assert_array_equal(found, all_terms[7:])


def test_criterion_7_words_of_the_value_alone_do_not_see_a_change_of_clock() -> None:
    """Words y, yy, yyy of a path sampled at t, t^2, sqrt t and (1 - cos pi t) / 2 agree to 1e-8; with time not.

    A warp that is not monotonic (t^2 - 0.5 t) is another path and differs.
    """
    clock = np.linspace(0.0, 1.0, 65)

    def words(warp: np.ndarray) -> np.ndarray:
        levels = np.sin(5.0 * warp) + warp**2
        steps = jnp.asarray(np.diff(levels)[:, None])
        return np.asarray(signature.signature_terms(steps, 3)[:, 0])

    value_alone, with_time = [0, 2, 6], [1, 3, 4, 5]
    straight = words(clock)
    for warp in (clock**2, np.sqrt(clock), 0.5 * (1.0 - np.cos(np.pi * clock))):
        np.testing.assert_allclose(words(warp)[value_alone], straight[value_alone], atol=1e-8)
        assert np.abs(words(warp)[with_time] - straight[with_time]).max() > 1e-3
    assert np.abs(words(clock**2 - 0.5 * clock)[value_alone] - straight[value_alone]).max() > 1e-3


def test_newton_solves_the_implicit_step_and_counts_its_iterations() -> None:
    """A stiff cubic drift: the residual vanishes; a linear drift takes one iteration."""
    a = jnp.asarray([[0.1] * LANES, [-50.0] * LANES, [0.0] * LANES, [-3.0] * LANES])
    x, used, residual = levy_sde.newton(a, lane := jnp.ones(LANES), lane * 0.5, lane * 0.1, lane * 1e-12, lane > 0)
    np.testing.assert_allclose(x, 1.0 + 0.1 * levy_sde.drift_value(a, x), atol=1e-6)
    assert (np.asarray(residual) < 1e-6).all() and (np.asarray(used) >= 1).all()
    linear = a.at[3].set(0.0)
    found = levy_sde.newton(linear, lane, lane * 0.5, lane * 0.1, lane * 1e-9, lane > 0)
    assert (np.asarray(found[1]) == 1.0).all()


def test_newton_goes_on_where_it_is_hard_and_nowhere_else() -> None:
    """A steep cubic from afar takes more than ten iterations; lanes that want none, or are done, keep their bits."""
    lane = jnp.ones(LANES)
    a = jnp.asarray([[0.0] * LANES, [-1.0] * LANES, [0.0] * LANES, [-1000.0] * LANES])
    easy, hard = jnp.arange(LANES) % 2 == 0, jnp.arange(LANES) % 2 == 1
    guess = jnp.where(hard, 10.0, 0.3)
    both, used, residual = (np.asarray(x) for x in levy_sde.newton(a, lane * 0, guess, lane, lane * 1e-9, lane > 0))
    alone, no_use, _ = (np.asarray(x) for x in levy_sde.newton(a, lane * 0, guess, lane, lane * 1e-9, easy))
    assert (10 < used[1::2]).all() and (used <= 20).all() and (residual < 1e-9).all()
    assert (alone[::2] == both[::2]).all()
    assert (alone[1::2] == 10.0).all() and (no_use[1::2] == 0.0).all()


def test_smooth_paths_raise_the_stiffness_thresholds() -> None:
    """max(base, C / (1 - H)^2) of the spec."""
    low, high = levy_sde.thresholds(P, jnp.asarray([0.0, 0.5, 0.9, 1.0]))
    np.testing.assert_allclose([100.0, 100.0, 2500.0, 25.0 / 1e-6], low, rtol=1e-9)
    np.testing.assert_allclose([1000.0, 1000.0, 25000.0, 250.0 / 1e-6], high, rtol=1e-9)


def test_entropy_of_the_value_function_is_positive_and_falls_when_levels_mean_nothing() -> None:
    """Random walk: V keeps levels apart, entropy near log(bins). White noise: V is flat, entropy is low."""
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((500, 16))
    series = np.where(np.arange(16) < 8, np.cumsum(noise, axis=0), noise)
    entropy = Lanes().run(series)[-1, OUTPUTS.dgm_entropy]
    assert (entropy[:8] > 3.0).all() and (entropy[8:] < 2.5).all() and (entropy >= 0.0).all()


def test_moments_of_a_polynomial_path_are_its_derivatives() -> None:
    """The rows are orthogonal under the weights: a straight line has no third moment, a constant only the first."""
    weights = dgm.moment_weights(12, 4, 0.85)
    line = np.arange(12.0)[::-1]
    np.testing.assert_allclose([1.0, 0.0, 0.0, 0.0], weights @ np.ones(12), atol=1e-12)
    np.testing.assert_allclose([0.0, 0.0], (weights @ line)[2:], atol=1e-12)
    assert (weights @ line)[1] > 0.0


def test_the_cubic_basis_has_every_product_once() -> None:
    """56 distinct monomials of five moments."""
    full = structure_of(with_bank(CONFIG, "full"), "x")
    path = np.cumsum(np.random.default_rng(4).standard_normal((40, LANES)), axis=0)
    basis = np.asarray(dgm.cubic_basis(full, context(path, full)))
    assert (56, LANES) == basis.shape
    assert 56 == len(np.unique(basis[:, 0].round(12)))
