# SPDX-License-Identifier: MIT
"""Value functions of the backward Kolmogorov equation by the deep Galerkin method. Off the tick path.

V(t, x) = E[g(X_T) | X_t = x] for dX = b(X) dt + s(X) dW solves V_t + b V_x + s^2 V_xx / 2 = 0 with V(T, x) = g(x). The
ansatz V = g + (1 - t / T) N(t, x) meets the terminal condition exactly. N is a network whose hidden layers are fixed
functions of a seed; the equation is linear in its output layer, which least squares over collocation points solve at
once. `network_training.train` descends on all layers. Both are functions of their arguments alone, so that a value
function belongs to the tick whose state it was made from, and a replay makes the same one bit for bit.

Sirignano, Spiliopoulos (2018), J. Comput. Phys. 375; Dong, Li (2021), Comput. Methods Appl. Mech. Eng. 387;
section 3.2.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "sigmoid": jax.nn.sigmoid,
    "swish": jax.nn.swish,
}
FIRST_LAYER_SPREAD = 1.5
SINGULAR_CUT = 1e-13
# The first coordinates of Roberts' R2 sequence: an even cover of the unit square for any number of points.
R2 = (0.7548776662466927, 0.5698402909980532)
Terminal = Callable[[jax.Array], jax.Array]


class Problem(NamedTuple):
    """Coefficients of the equation, in any consistent units: b and s are polynomials, lowest power first."""

    drift: jax.Array  # [n]
    diffusion: jax.Array  # [m]
    horizon: jax.Array
    low: jax.Array  # ends of the spatial range
    high: jax.Array


class Network(NamedTuple):
    """Hidden layers (weights [in, out], biases [out]) and output coefficients [W + 2]."""

    hidden: tuple[tuple[jax.Array, jax.Array], ...]
    output: jax.Array


def identity(x: jax.Array) -> jax.Array:
    """The terminal condition whose value function is the conditional mean."""
    return x


def polynomial(coefficients: jax.Array, x: jax.Array) -> jax.Array:
    """Value at x, by Horner's rule."""
    return jnp.polyval(coefficients[::-1], x)


def make_network(width: int, depth: int, seed: int) -> Network:
    """`depth` hidden layers of `width` units, a function of the seed; the output is zero, so V = g."""
    draw = np.random.Generator(np.random.Philox(seed))
    layers: list[tuple[jax.Array, jax.Array]] = []
    inputs = 2
    for layer in range(depth):
        spread = FIRST_LAYER_SPREAD if layer == 0 else 1.0 / np.sqrt(inputs)
        weights = spread * draw.standard_normal((inputs, width))
        layers.append((jnp.asarray(weights), jnp.asarray(draw.uniform(-1.0, 1.0, width))))
        inputs = width
    return Network(tuple(layers), jnp.zeros(width + 2))


def features(network: Network, activation: str, left: jax.Array, place: jax.Array) -> jax.Array:
    """Basis functions [W + 2] at one point: `left` = 1 - t / T in [0, 1], `place` in [-1, 1] across the range."""
    values = jnp.stack([left, place])
    for weights, biases in network.hidden:
        values = ACTIVATIONS[activation](values @ weights + biases)
    return jnp.concatenate([values, jnp.stack([jnp.ones_like(place), place])])


def value(
    network: Network, problem: Problem, activation: str, left: jax.Array, x: jax.Array, terminal: Terminal = identity
) -> jax.Array:
    """V at one point."""
    place = 2.0 * (x - problem.low) / (problem.high - problem.low) - 1.0
    return terminal(x) + left * (features(network, activation, left, place) @ network.output)


def residual(
    network: Network, problem: Problem, activation: str, left: jax.Array, x: jax.Array, terminal: Terminal = identity
) -> jax.Array:
    """V_left - T (b V_x + s^2 V_xx / 2) at one point, zero for the solution; in units of V."""

    def along(first: jax.Array, second: jax.Array) -> jax.Array:
        return value(network, problem, activation, first, second, terminal)

    slope = jax.grad(along, argnums=1)
    curvature = jax.grad(slope, argnums=1)(left, x)
    drift, diffusion = polynomial(problem.drift, x), polynomial(problem.diffusion, x)
    flow = drift * slope(left, x) + 0.5 * jnp.square(diffusion) * curvature
    return jax.grad(along)(left, x) - problem.horizon * flow


def collocation(problem: Problem, count: int, start: int = 0) -> tuple[jax.Array, jax.Array]:
    """`count` points (left, x) that cover time and range evenly; another `start` gives other points."""
    steps = np.arange(start + 1.0, start + count + 1.0)
    left, across = ((0.5 + steps * ratio) % 1.0 for ratio in R2)
    return jnp.asarray(left), problem.low + jnp.asarray(across) * (problem.high - problem.low)


def residuals(
    network: Network,
    problem: Problem,
    activation: str,
    points: tuple[jax.Array, jax.Array],
    terminal: Terminal = identity,
) -> jax.Array:
    """Residual at each of the `points`."""
    return jax.vmap(lambda left, x: residual(network, problem, activation, left, x, terminal))(*points)


def solve(network: Network, problem: Problem, activation: str, count: int, terminal: Terminal = identity) -> Network:
    """The network with the output layer that makes the residual over `count` points least (Galerkin, SVD)."""
    points = collocation(problem, count)

    def defect(output: jax.Array) -> jax.Array:
        return residuals(network._replace(output=output), problem, activation, points, terminal)

    nothing = jnp.zeros_like(network.output)
    offset, matrix = defect(nothing), jax.jacfwd(defect)(nothing)
    output, *_ = jnp.linalg.lstsq(matrix, -offset, rcond=SINGULAR_CUT)
    return network._replace(output=output)


def value_on(
    network: Network, problem: Problem, activation: str, left: jax.Array, grid: jax.Array, terminal: Terminal = identity
) -> jax.Array:
    """V [times, points] at times `left` [times] and levels `grid` [points]."""
    return jax.vmap(lambda t: jax.vmap(lambda x: value(network, problem, activation, t, x, terminal))(grid))(left)


def variance_ratio(values: jax.Array, terminal: jax.Array) -> jax.Array:
    """Var_x V(t, .) / Var g [times] of values [times, points]: near 1 where levels are kept apart, 0 when collapsed."""
    spread = jnp.var(terminal)
    return jnp.where(spread > 0.0, jnp.var(values, axis=-1) / jnp.where(spread > 0.0, spread, 1.0), 0.0)


class Architecture(NamedTuple):
    """Width and depth of the hidden layers."""

    width: int
    depth: int


def scaled_architecture(
    current: Architecture, original: Architecture, ratio: float, trigger: float, beta: float, most: float
) -> Architecture:
    """The architecture for an entropy that has grown `ratio` times; the current one at or below `trigger`.

    Capacity width x depth grows by ratio^beta, at the same width per depth and with the width a power of two, but
    never beyond `most` times the `original` capacity, so that repeated growth cannot run away. Section 3.2.
    """
    capacity = current.width * current.depth
    cap = most * original.width * original.depth
    wanted = min(capacity * ratio**beta, cap)
    if ratio <= trigger or wanted <= capacity:
        return current
    depth = max(int(np.ceil(np.sqrt(wanted * current.depth / current.width))), current.depth + 1)
    width = 1 << int(np.ceil(np.log2(wanted / depth)))
    return Architecture(max(width, current.width), depth)
