# SPDX-License-Identifier: MIT
"""Randomness without hidden state: threefry keys per symbol, folded by role, advanced once per accepted tick."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

IMPLEMENTATION = "threefry2x32"
ROLES = {"C": 2}
ROUNDS = 20
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = np.uint32(0x1BD11BDA)


def symbol_key(seed: int, symbol: str) -> np.ndarray:
    """Key data uint32 [2] of a symbol, independent of every other symbol's and of Python's string hash."""
    stable = int.from_bytes(hashlib.sha256(symbol.encode()).digest()[:4], "little")
    key = jax.random.fold_in(jax.random.key(seed, impl=IMPLEMENTATION), np.uint32(stable))
    return np.asarray(jax.random.key_data(key))


def advance(keys: jax.Array, split_count: int) -> tuple[jax.Array, jax.Array]:
    """Next keys [2, L] and the subkeys [split_count, 2, L] of this tick; the two never coincide.

    The children of `jax.random.split`, whose hash is compiled into a loop that costs more than its arithmetic here.
    """
    children = [jnp.stack(threefry(keys, number)) for number in range(split_count + 1)]
    return children[0], jnp.stack(children[1:])


def threefry(keys: jax.Array, number: int) -> tuple[jax.Array, jax.Array]:
    """Two words [L] each: the hash of the counter (0, `number`) under the keys [2, L].

    Threefry-2x32 with 20 rounds: Salmon et al. (2011), Parallel random numbers: as easy as 1, 2, 3.
    """
    words = (keys[0], keys[1], keys[0] ^ keys[1] ^ PARITY)
    x, y = words[0], words[1] + np.uint32(number)
    for group in range(ROUNDS // 4):
        for distance in ROTATIONS[group % 2]:
            x = x + y
            y = (y << np.uint32(distance) | y >> np.uint32(32 - distance)) ^ x
        x = x + words[(group + 1) % 3]
        y = y + words[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


def normal(keys: jax.Array, role: str) -> jax.Array:
    """One standard normal number [L] of a role, from the subkeys [split_count, 2, L].

    A threefry key is itself 64 random bits, and this role draws nothing else from it.
    """
    high, low = keys[ROLES[role]].astype(jnp.float64)
    uniform = (high * 2.0**32 + low + 0.5) * 2.0**-64
    return jnp.sqrt(2.0) * jax.scipy.special.erfinv(jnp.clip(2.0 * uniform - 1.0, -1.0 + 1e-15, 1.0 - 1e-15))
