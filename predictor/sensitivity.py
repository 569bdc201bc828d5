# SPDX-License-Identifier: MIT
"""How much the next forecast hangs on each past value: exact derivatives by automatic differentiation. On request.

The derivative of the mean of kernels A, B and D, with coefficients and weights as they stand, with respect to the
newest levels, in a lane of its own. It is the discrete Malliavin derivative of the forecast along the observed path.
Kernel C is left out: its lattices hold the past as reflection errors, not as levels. Spec: PREDICTOR 3.1.
"""

from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from . import parts
from .kernels import dgm, rkhs, signature
from .kernels.contract import Context
from .params import Params
from .state import State
from .structure import Structure

DIFFERENTIATED = (("A", rkhs, 0), ("B", dgm, 1), ("D", signature, 3))


def gradients(structure: Structure, p: Params, whole: State) -> dict[str, jax.Array]:
    """Kernel -> derivative [N, L] of its forecast level with respect to the past scaled levels, newest last."""
    context = parts.context_of(whole.shared)
    own = {"A": whole.a, "B": whole.b, "D": whole.d}
    return {name: gradient(module, structure, p, own[name], context) for name, module, _ in DIFFERENTIATED}


def gradient(module: ModuleType, structure: Structure, p: Params, own: Any, context: Context) -> jax.Array:
    """Derivative [N, L] of one kernel's forecast level; lanes are independent, so one reverse pass serves them all."""

    def total(history: jax.Array) -> jax.Array:
        moved = context._replace(history=history, level=history[-1])
        return jnp.sum(history[-1] + module.predict(structure, p, own, moved)[1].mean)

    return jax.grad(total)(context.history)


def gradient_norm(structure: Structure, p: Params, whole: State) -> jax.Array:
    """Euclidean norm [L] of the derivative of the weighted forecast of kernels A, B and D, per unit of their weight."""
    found = gradients(structure, p, whole)
    weights = {name: whole.shared.rho[row] for name, _, row in DIFFERENTIATED}
    total = jnp.maximum(jnp.sum(jnp.stack(list(weights.values())), axis=0), 1e-12)
    mixed = jnp.sum(jnp.stack([weights[name] * found[name] for name in found]), axis=0) / total
    return jnp.sqrt(jnp.sum(mixed * mixed, axis=0))
