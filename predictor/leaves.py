# SPDX-License-Identifier: MIT
"""Leaves of a fresh state: numpy values of one lane, in their true dtypes, typed as the arrays which they become."""

from typing import Any, cast

import jax
import numpy as np


def leaf(value: Any) -> jax.Array:
    """`value` as a numpy array of its own dtype."""
    return cast(jax.Array, np.asarray(value))


def zero() -> jax.Array:
    """A float64 that starts at 0."""
    return leaf(np.float64(0.0))


def none() -> jax.Array:
    """A counter that starts at 0; int64 in documents."""
    return leaf(np.int64(0))


def off() -> jax.Array:
    """A flag that starts false; bool in documents."""
    return leaf(np.bool_(False))


def zeros(*shape: int) -> jax.Array:
    """An array of zeros."""
    return leaf(np.zeros(shape))
