# SPDX-License-Identifier: MIT
"""Keys per symbol: the children of a key are those of `jax.random.split`, whatever compiles them."""

import jax
import numpy as np
import pytest

from usp.predictor import rng

LANES = 16


@pytest.mark.parametrize("split_count", [1, 4, 7])
def test_children_are_those_of_jax(split_count: int) -> None:
    """Word for word, over three generations."""
    keys = np.stack([rng.symbol_key(7, f"SYMBOL{lane}") for lane in range(LANES)], axis=1)

    def split(data: jax.Array) -> jax.Array:
        return jax.random.key_data(
            jax.random.split(jax.random.wrap_key_data(data, impl="threefry2x32"), split_count + 1)
        )

    for _ in range(3):
        expected = np.asarray(jax.vmap(split, in_axes=-1, out_axes=-1)(keys))
        found, subkeys = jax.jit(rng.advance, static_argnums=1)(keys, split_count)
        assert np.array_equal(np.concatenate([np.asarray(found)[None], np.asarray(subkeys)]), expected)
        keys = np.asarray(found)


def test_numbers_of_a_role_are_standard_normal() -> None:
    """Mean, variance and fourth moment of 20,000 of them."""
    keys = np.stack([rng.symbol_key(7, str(lane)) for lane in range(200)], axis=1)
    drawn = []
    for _ in range(100):
        keys, subkeys = jax.jit(rng.advance, static_argnums=1)(keys, 4)
        drawn.append(np.asarray(rng.normal(subkeys, "C")))
    numbers = np.concatenate(drawn)
    assert abs(numbers.mean()) < 0.03
    assert abs(numbers.var() - 1.0) < 0.04
    assert abs((numbers**4).mean() - 3.0) < 0.25
