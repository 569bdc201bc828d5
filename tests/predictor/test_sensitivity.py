# SPDX-License-Identifier: MIT
"""Derivatives of the forecast against differences."""

import jax
import jax.numpy as jnp
import numpy as np

from predictor_lanes import CONFIG
from usp.predictor import params, parts, program_for, sensitivity, state, structure_of
from usp.predictor.kernels import dgm, rkhs, signature


def whole_of() -> state.State:
    """A state with a history and with coefficients that are not zero."""
    program = program_for(structure_of(CONFIG, "x"))
    document, rng = program.to_document(program.init_column(CONFIG, "x")), np.random.default_rng(5)
    history = document["global"]["scaling.history"]
    history[:] = np.cumsum(rng.standard_normal(len(history)))
    for segment in ("A", "B", "D"):
        for name, leaf in document[segment].items():
            if name.endswith("weights"):
                leaf[:] = 0.1 * rng.standard_normal(leaf.shape)
    return state.unpack(program.layout, jnp.asarray(program.from_document(document))[:, None])


def test_derivatives_are_those_of_central_differences() -> None:
    """Kernels A, B and D, at the newest, second and fifth newest level, to 1e-6; the norm is positive and finite."""
    structure = structure_of(CONFIG, "x")
    p = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64)[..., None], params.column_params(CONFIG, "x"))
    whole = whole_of()
    context = parts.context_of(whole.shared)
    found = sensitivity.gradients(structure, p, whole)
    for name, module, own in (("A", rkhs, whole.a), ("B", dgm, whole.b), ("D", signature, whole.d)):

        def forecast(history: jax.Array, module=module, own=own) -> float:
            moved = context._replace(history=history, level=history[-1])
            return float(history[-1, 0] + module.predict(structure, p, own, moved)[1].mean[0])

        for back in (1, 2, 5):
            up, down = (forecast(context.history.at[-back, 0].add(h)) for h in (1e-5, -1e-5))
            assert abs((up - down) / 2e-5 - float(found[name][-back, 0])) < 1e-6
    norm = float(sensitivity.gradient_norm(structure, p, whole)[0])
    assert np.isfinite(norm) and norm > 0.0
