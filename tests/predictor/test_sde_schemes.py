# SPDX-License-Identifier: MIT
"""Schemes for stochastic differential equations against closed forms and diffrax."""

from itertools import pairwise

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from usp.predictor import sde_schemes as sde

RATE, VOLATILITY = 0.5, 0.8
GEOMETRIC = sde.Equation(lambda x: RATE * x, lambda x: VOLATILITY * x)
STIFF = sde.Equation(lambda x: -50.0 * x - 3.0 * x**3, lambda x: 0.1 + 0.0 * x)
PATHS = 2_000
ALWAYS, NEVER = (jnp.asarray(0.0), jnp.asarray(1e-300)), (jnp.asarray(1e300), jnp.asarray(2e300))


def strong_error(step, steps: int) -> float:
    """Mean |X_1 - exact| of geometric Brownian motion from 1."""
    shocks = np.random.default_rng(1).standard_normal((512, PATHS)) / np.sqrt(512)
    coarse = jnp.asarray(shocks.reshape(steps, -1, PATHS).sum(axis=1))
    exact = np.exp((RATE - 0.5 * VOLATILITY**2) + VOLATILITY * shocks.sum(axis=0))
    end, _ = jax.lax.scan(lambda x, w: (step(GEOMETRIC, x, 1.0 / steps, w), None), jnp.ones(PATHS), coarse)
    return float(np.abs(np.asarray(end) - exact).mean())


@pytest.mark.parametrize("step, order", [(sde.explicit_step, 0.5), (sde.milstein_step, 1.0)])
def test_criterion_8_strong_order(step, order):
    """The error falls as dt^(1/2) for the explicit scheme and as dt for Milstein, within 0.15, on 8 to 128 steps."""
    errors = [strong_error(step, steps) for steps in (8, 32, 128)]
    found = np.log(errors[0] / errors[2]) / np.log(16.0)
    assert found == pytest.approx(order, abs=0.15)


def test_the_schemes_are_those_of_diffrax():
    """Euler and Milstein along the same Brownian path give diffrax's values to 1e-9."""
    times = jnp.linspace(0.0, 1.0, 33)
    path = diffrax.VirtualBrownianTree(0.0, 1.0, tol=2.0**-9, shape=(), key=jax.random.key(2))
    shocks = [path.evaluate(first, last) for first, last in pairwise(times)]
    terms = diffrax.MultiTerm(
        diffrax.ODETerm(lambda t, x, a: GEOMETRIC.drift(x)),
        diffrax.ControlTerm(lambda t, x, a: GEOMETRIC.diffusion(x), path),
    )
    for step, solver in ((sde.explicit_step, diffrax.Euler()), (sde.milstein_step, diffrax.ItoMilstein())):
        x = jnp.asarray(1.0)
        for shock in shocks:
            x = step(GEOMETRIC, x, 1.0 / 32, shock)
        exact = diffrax.diffeqsolve(
            terms, solver, 0.0, 1.0, None, jnp.asarray(1.0), stepsize_controller=diffrax.StepTo(times)
        )
        assert float(x) == pytest.approx(float(exact.ys[-1]), rel=1e-9)


def test_the_implicit_step_solves_its_equation_and_counts_iterations():
    """X = x + b(X) dt + noise to the tolerance; a linear drift takes one iteration, a cubic one more."""
    x, dt, shock = jnp.asarray([1.0, -2.0]), jnp.asarray(0.1), jnp.asarray([0.3, -0.2])
    solved = sde.implicit_step(STIFF, x, dt, shock, jnp.asarray(1e-12))
    np.testing.assert_allclose(solved.level, x + STIFF.drift(solved.level) * dt + 0.1 * shock, atol=1e-10)
    assert (np.asarray(solved.residual) <= 1e-11).all() and (np.asarray(solved.iterations) > 1.0).all()
    linear = sde.Equation(lambda y: -50.0 * y, lambda y: 0.1 + 0.0 * y)
    assert (np.asarray(sde.implicit_step(linear, x, dt, shock, jnp.asarray(1e-9)).iterations) == 1.0).all()


def test_criterion_9_a_step_ten_times_beyond_the_stability_limit_is_noticed_and_the_implicit_scheme_survives_it():
    """dt = 10 (2 / 50): the explicit path is flagged, the implicit one stays near zero and is not."""
    shocks = jnp.asarray(np.random.default_rng(3).standard_normal((40, 8)) * np.sqrt(0.4))
    start, dt, tolerance = jnp.ones(8), jnp.asarray(0.4), jnp.asarray(1e-10)
    _, wild = sde.hybrid_path(STIFF, start, dt, shocks, NEVER, tolerance)
    end, tame = sde.hybrid_path(STIFF, start, dt, shocks, ALWAYS, tolerance)
    assert np.asarray(wild.diverged).all() and not np.asarray(tame.diverged).any()
    assert (np.abs(np.asarray(end)) < 0.2).all()


def test_stiffness_chooses_the_scheme_and_the_metrics_are_those_of_the_path():
    """Explicit below the low limit, implicit above the high one, a blend between; shares, iterations, residual."""
    shocks = jnp.asarray(np.random.default_rng(4).standard_normal((30, 4)) * 0.01)
    start, dt, tolerance = jnp.full(4, 0.1), jnp.asarray(0.001), jnp.asarray(1e-12)
    path = jax.jit(sde.hybrid_path, static_argnums=0)
    _, explicit = path(STIFF, start, dt, shocks, NEVER, tolerance)
    _, implicit = path(STIFF, start, dt, shocks, ALWAYS, tolerance)
    _, between = path(STIFF, start, dt, shocks, (jnp.asarray(100.0), jnp.asarray(2_000.0)), tolerance)
    assert (np.asarray(explicit.explicit_share) == 1.0).all() and (np.asarray(explicit.iterations_mean) == 0.0).all()
    assert (np.asarray(implicit.explicit_share) == 0.0).all() and (np.asarray(implicit.iterations_mean) >= 1.0).all()
    assert (np.asarray(between.explicit_share) == 0.0).all()
    assert (np.asarray(implicit.residual_max) <= 1e-11).all()
    np.testing.assert_allclose(np.asarray(implicit.stiffness_max), (50.0 + 9.0 * 0.1**2) / 0.1, rtol=0.05)


def test_rough_paths_have_the_base_thresholds_and_smooth_ones_higher_ones():
    """max(100, 25 / (1 - H)^2) and max(1000, 250 / (1 - H)^2)."""
    numbers = (jnp.asarray(x) for x in (100.0, 1_000.0, 25.0, 250.0, 1e-3))
    low, high = sde.thresholds(jnp.asarray([0.0, 0.5, 0.9]), *numbers)
    np.testing.assert_allclose([100.0, 100.0, 2_500.0], low, rtol=1e-9)
    np.testing.assert_allclose([1_000.0, 1_000.0, 25_000.0], high, rtol=1e-9)
