# SPDX-License-Identifier: MIT
"""Fusion of the four kernels: ground cost, couplings to volatility, the weight flow, and distances between weights.

Everything here is elementwise in the lane, or a sum over the leading (kernel) axis: arrays are [4, L] or [L],
float64, lanes last. Weights live on the simplex: all >= 0, sum 1. No function raises; bad input of one lane
(NaN, infinity) gives a defined value in that lane and touches no other. Spec: PREDICTOR sections 5.1 and 5.2.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

KERNEL_COUNT = 4
VARIANCE_GUARD = 1e-10
SMALLEST_WEIGHT = 1e-300


def uniform(lanes: int) -> Array:
    """Weights [4, L] that favour no kernel: the start value, and the answer to a regime change (section 5.3)."""
    return jnp.full((KERNEL_COUNT, lanes), 1.0 / KERNEL_COUNT, dtype=jnp.float64)


def ground_cost(means: Array, huber: ArrayLike, delta: ArrayLike) -> Array:
    """Cost [4, 4, L] of moving weight between kernels whose forecasts are `means` [4, L]; squared or Huber.

    `huber` (bool, [L] or scalar) chooses per lane, because the circuit breaker of section 5.4 switches to Huber;
    `delta` is the knee, in signal units. Section 5.1; Huber (1964), Ann. Math. Stat. 35.
    """
    distance = jnp.abs(means[:, None] - means[None, :])
    linear = delta * (distance - 0.5 * jnp.asarray(delta))
    return jnp.where(huber, jnp.where(distance <= delta, 0.5 * distance * distance, linear), distance * distance)


def relative_variance(variance: ArrayLike, reference_scale: ArrayLike) -> Array:
    """Variance [L] of the forecast errors in units of a reference scale (for example the RMS increment) squared.

    The couplings below need a pure number; the raw variance has the square of the signal's unit (section 5.2).
    A reference of zero or a value that is not finite gives 1.0, the neutral value.
    """
    ratio = jnp.asarray(variance) / jnp.square(jnp.asarray(reference_scale))
    return jnp.where(jnp.isfinite(ratio), ratio, 1.0)


def coupled_epsilon(variance: ArrayLike, base: ArrayLike, coupling: ArrayLike, minimum: ArrayLike) -> Array:
    """Sinkhorn strength [L] that grows with volatility: max(minimum, base (1 + coupling sqrt(variance))).

    Section 5.1 with sinkhorn_epsilon_0, sinkhorn_alpha, sinkhorn_epsilon_min; `variance` is the relative variance.
    """
    sigma = jnp.sqrt(jnp.maximum(jnp.nan_to_num(jnp.asarray(variance), nan=1.0), VARIANCE_GUARD))
    return jnp.maximum(minimum, base * (1.0 + coupling * sigma))


def entropy_window(
    variance: ArrayLike, relaxation: ArrayLike, domain_length: ArrayLike, minimum: ArrayLike, maximum: ArrayLike
) -> Array:
    """Entropy horizon [L] in steps (int32): clip(relaxation L^2 / variance, minimum, maximum), L = domain_length.

    L^2 / sigma^2 is the relaxation time of a diffusion on an interval of length L (section 5.2).
    A calm lane (variance 0) gets the maximum.
    """
    horizon = relaxation * jnp.square(jnp.asarray(domain_length)) / jnp.maximum(jnp.asarray(variance), VARIANCE_GUARD)
    steps = jnp.where(jnp.isnan(horizon), maximum, horizon)
    return jnp.clip(steps, minimum, maximum).astype(jnp.int32)


def learning_rate(variance: ArrayLike, epsilon_base: ArrayLike, safety: ArrayLike, minimum: ArrayLike) -> Array:
    """JKO step [L]: safety 2 epsilon_base variance, kept in [minimum, 1] so that no volatility makes it explode.

    Section 5.2; `variance` is the relative variance (a pure number).
    """
    rate = safety * 2.0 * epsilon_base * jnp.asarray(variance)
    return jnp.clip(jnp.nan_to_num(rate, nan=0.0, posinf=1.0), minimum, 1.0)


def jko_step(rho: Array, loss: Array, eta: ArrayLike, floor: ArrayLike, temperature: ArrayLike = 0.0) -> Array:
    """One step of the weight flow: weights [4, L] after the losses [4, L], exactly on the simplex, all >= floor.

    It minimises KL(r, rho) / eta + sum r loss + temperature sum r log r in closed form,
    r proportional to (rho exp(-eta loss))^(1 / (1 + eta temperature)): the Jordan-Kinderlehrer-Otto scheme in the
    Fisher-Rao geometry, which is also the Gibbs (multiplicative) update. A large temperature gives uniform weights.
    Then r <- floor + (1 - 4 floor) r, so that a kernel with no weight can come back (fixed share).
    A loss that is NaN or infinite counts as infinitely bad; if no kernel has a finite loss, or rho is no weight
    vector, the old information is not used up: the weights stay, or become uniform.

    Jordan, Kinderlehrer, Otto (1998), SIAM J. Math. Anal. 29; Herbster, Warmuth (1998); section 5.2.
    """
    prior = valid_or_uniform(rho)
    finite = jnp.isfinite(loss)
    log_prior = jnp.log(jnp.maximum(prior, SMALLEST_WEIGHT))
    logits = (log_prior - eta * jnp.where(finite, loss, 0.0)) / (1.0 + eta * jnp.asarray(temperature))
    logits = jnp.where(finite, logits, -jnp.inf)
    top = jnp.max(logits, axis=0)
    weights = jnp.exp(logits - jnp.where(jnp.isfinite(top), top, 0.0))
    total = jnp.sum(weights, axis=0)
    moved = jnp.where(total > 0.0, weights / jnp.where(total > 0.0, total, 1.0), prior)
    share = jnp.clip(floor, 0.0, 1.0 / KERNEL_COUNT)
    return share + (1.0 - KERNEL_COUNT * share) * moved


def valid_or_uniform(rho: Array) -> Array:
    """Weights [4, L] normalised to sum 1; a lane with negative, NaN or all-zero weights becomes uniform."""
    total = jnp.sum(rho, axis=0)
    valid = jnp.isfinite(total) & (total > 0.0) & (jnp.min(rho, axis=0) >= 0.0)
    return jnp.where(valid, rho / jnp.where(valid, total, 1.0), 1.0 / KERNEL_COUNT)


def is_simplex(rho: Array, tolerance: float) -> Array:
    """Whether each lane [L] of rho [4, L] is a weight vector: all >= 0 and |sum - 1| <= tolerance (NaN is not)."""
    return (jnp.min(rho, axis=0) >= 0.0) & (jnp.abs(jnp.sum(rho, axis=0) - 1.0) <= tolerance)


def free_energy(rho: Array, loss: Array, temperature: ArrayLike) -> Array:
    """F(rho) = sum rho loss + temperature sum rho log rho per lane [L]; what jko_step descends (section 5.2)."""
    log_rho = jnp.log(jnp.maximum(rho, SMALLEST_WEIGHT))
    return jnp.sum(rho * (loss + jnp.asarray(temperature) * log_rho), axis=0)


def fisher_rao(p: Array, q: Array) -> Array:
    """Geodesic distance [L] between weights p and q [4, L], in [0, pi]: 2 arccos(sum sqrt(p q)), section 5.2.

    Computed as 4 arcsin(|sqrt p - sqrt q| / 2), the same number without the loss of half the digits at p = q.
    """
    chord = jnp.sqrt(jnp.sum(jnp.square(jnp.sqrt(p) - jnp.sqrt(q)), axis=0))
    return 4.0 * jnp.arcsin(jnp.minimum(0.5 * chord, jnp.sqrt(0.5)))


def kl_divergence(p: Array, q: Array) -> Array:
    """KL(p, q) = sum p log(p / q) per lane [L], the Lyapunov function of the flow (section 5.2); 0 log 0 = 0."""
    ratio = jnp.log(jnp.maximum(p, SMALLEST_WEIGHT)) - jnp.log(jnp.maximum(q, SMALLEST_WEIGHT))
    return jnp.sum(jnp.where(p > 0.0, p * ratio, 0.0), axis=0)


def mixture_variance(rho: Array, means: Array, sigmas: Array, mean: Array) -> Array:
    """Variance [L] of the mixture of the four forecasts around the fused `mean` [L]; means, sigmas are [4, L].

    sum rho (sigma^2 + (m - mean)^2), equal to sum rho (sigma^2 + m^2) - mean^2 of section 5.7 step 23 but without
    its cancellation for levels far from zero.
    """
    return jnp.sum(rho * (jnp.square(sigmas) + jnp.square(means - mean)), axis=0)
