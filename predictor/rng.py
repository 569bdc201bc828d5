# SPDX-License-Identifier: MIT
"""Randomness without hidden state: threefry keys per symbol, folded by role, advanced once per accepted tick."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

IMPLEMENTATION = "threefry2x32"
ROLES = {"C": 2}


def symbol_key(seed: int, symbol: str) -> np.ndarray:
    """Key data uint32 [2] of a symbol, independent of every other symbol's and of Python's string hash."""
    stable = int.from_bytes(hashlib.sha256(symbol.encode()).digest()[:4], "little")
    key = jax.random.fold_in(jax.random.key(seed, impl=IMPLEMENTATION), np.uint32(stable))
    return np.asarray(jax.random.key_data(key))


def advance(keys: jax.Array, split_count: int) -> tuple[jax.Array, jax.Array]:
    """Next keys [2, L] and the subkeys [split_count, 2, L] of this tick; the two never coincide."""

    def one(data: jax.Array) -> jax.Array:
        key = jax.random.wrap_key_data(data, impl=IMPLEMENTATION)
        return jax.random.key_data(jax.random.split(key, split_count + 1))

    children = jax.vmap(one, in_axes=-1, out_axes=-1)(keys)
    return children[0], children[1:]


def normal(keys: jax.Array, role: str) -> jax.Array:
    """One standard normal number [L] of a role, from the subkeys [split_count, 2, L].

    A threefry key is itself 64 random bits, and this role draws nothing else from it.
    """
    high, low = keys[ROLES[role]].astype(jnp.float64)
    uniform = (high * 2.0**32 + low + 0.5) * 2.0**-64
    return jnp.sqrt(2.0) * jax.scipy.special.erfinv(jnp.clip(2.0 * uniform - 1.0, -1.0 + 1e-15, 1.0 - 1e-15))
