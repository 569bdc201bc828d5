# SPDX-License-Identifier: MIT
"""Descent on all layers of a value network: Adam with clipped gradients. Off the tick path.

Nothing here draws at random: the collocation points move along an even sequence, epoch by epoch, so that the same
network, problem and settings give the same bits. Kingma, Ba (2015), ICLR; spec: section 3.2 and criterion 12.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from .value_function import Network, Problem, Terminal, collocation, identity, residuals

GRADIENT_CLIP = 10.0
PATIENCE = 5
VOLATILE = 2.0
DECAY_FIRST, DECAY_SECOND, GUARD = 0.9, 0.999, 1e-8


class Settings(NamedTuple):
    """How long and how fast; `volatility` is the present sigma over its usual value."""

    epochs: int
    points: int
    rate: float
    volatility: float = 1.0


class Training(NamedTuple):
    """The trained network, its loss [epochs] and gradient norm [epochs], the last rate, and whether it was unstable.

    `unstable` [epochs]: the gradient was clipped more than 5 times in a row while volatility was above twice its
    usual value; the rate is halved there and the run counted anew.
    """

    network: Network
    loss: jax.Array
    gradient_norm: jax.Array
    rate: jax.Array
    unstable: jax.Array


class Descent(NamedTuple):
    """Loop state: network, Adam's moments, rate and run of clipped epochs."""

    network: Network
    first: Network
    second: Network
    rate: jax.Array
    clipped_run: jax.Array


def train(
    network: Network, problem: Problem, activation: str, settings: Settings, terminal: Terminal = identity
) -> Training:
    """Minimise the mean squared residual over fresh points each epoch."""

    def loss_of(candidate: Network, points: tuple[jax.Array, jax.Array]) -> jax.Array:
        return jnp.mean(jnp.square(residuals(candidate, problem, activation, points, terminal)))

    left, x = collocation(problem, settings.epochs * settings.points)
    points = left.reshape(settings.epochs, -1), x.reshape(settings.epochs, -1)

    def epoch(
        state: Descent, batch: tuple[jax.Array, tuple[jax.Array, jax.Array]]
    ) -> tuple[Descent, tuple[jax.Array, jax.Array, jax.Array]]:
        number, where = batch
        loss, gradient = jax.value_and_grad(loss_of)(state.network, where)
        norm = gradient_norm(gradient)
        run = jnp.where(norm > GRADIENT_CLIP, state.clipped_run + 1.0, 0.0)
        unstable = (run > PATIENCE) & (settings.volatility > VOLATILE)
        rate = jnp.where(unstable, 0.5 * state.rate, state.rate)
        moved = adam(state._replace(rate=rate), clip(gradient, norm), number)
        return moved._replace(clipped_run=jnp.where(unstable, 0.0, run)), (loss, norm, unstable)

    zeros = jax.tree.map(jnp.zeros_like, network)
    start = Descent(network, zeros, zeros, jnp.asarray(settings.rate), jnp.asarray(0.0))
    end, (loss, norm, unstable) = lax.scan(epoch, start, (jnp.arange(1.0, settings.epochs + 1.0), points))
    return Training(end.network, loss, norm, end.rate, unstable)


def gradient_norm(gradient: Network) -> jax.Array:
    """Euclidean norm over all layers."""
    return jnp.sqrt(sum((jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradient)), start=jnp.asarray(0.0)))


def clip(gradient: Network, norm: jax.Array) -> Network:
    """The gradient, shortened to norm 10 where it is longer; nothing where it is not finite."""
    factor = jnp.where(jnp.isfinite(norm), jnp.minimum(1.0, GRADIENT_CLIP / jnp.maximum(norm, GUARD)), 0.0)
    return jax.tree.map(lambda leaf: jnp.where(jnp.isfinite(leaf), leaf, 0.0) * factor, gradient)


def adam(state: Descent, gradient: Network, number: jax.Array) -> Descent:
    """One step of Adam; `number` counts from 1."""
    first = jax.tree.map(lambda m, g: DECAY_FIRST * m + (1.0 - DECAY_FIRST) * g, state.first, gradient)
    second = jax.tree.map(lambda v, g: DECAY_SECOND * v + (1.0 - DECAY_SECOND) * g * g, state.second, gradient)
    warm_first, warm_second = 1.0 - DECAY_FIRST**number, 1.0 - DECAY_SECOND**number

    def move(weight: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
        return weight - state.rate * (m / warm_first) / (jnp.sqrt(v / warm_second) + GUARD)

    return state._replace(network=jax.tree.map(move, state.network, first, second), first=first, second=second)
