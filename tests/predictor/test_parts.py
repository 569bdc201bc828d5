# SPDX-License-Identifier: MIT
"""The parts that are measured one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from predictor_lanes import CONFIG, with_bank
from usp.predictor import program_for, structure_of
from usp.predictor.parts import parts


@pytest.mark.parametrize("bank", ["core", "full"])
def test_every_part_carries_its_own_state(bank: str) -> None:
    """A tick gives a state of the form that it took, so that it can be repeated."""
    program = program_for(structure_of(with_bank(CONFIG, bank), "x"))
    parameters = np.ones((program.param_count, program.lane_width))
    found = parts(program, program.new_block(), jnp.asarray(parameters))
    assert {"kernel A", "kernel B", "kernel C", "kernel D", "weights", "interval"} <= set(found)
    for name, (tick, start) in found.items():
        forms = [
            jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (start, jax.eval_shape(tick, start))
        ]
        assert forms[0] == forms[1], name
