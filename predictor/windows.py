# SPDX-License-Identifier: MIT
"""Windows of the signal [N, L]: time first, lanes last, oldest row first.

The `filled` [L] newest rows (the last ones) hold values; the rows before them are ignored whatever they hold.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array

TINY = 1e-300
MACHINE_EPSILON = float(np.finfo(np.float64).eps)


def filled_rows(length: int, filled: Array) -> Array:
    """Mask [length, L]: true in the last `filled` rows."""
    return jnp.arange(length)[:, None] >= length - jnp.asarray(filled)


def centre_and_scale(window: Array, filled: Array) -> tuple[Array, Array]:
    """Window minus its newest value, over its range, and the rounding error [L] of that; zeros if it says nothing."""
    inside = filled_rows(window.shape[0], filled)
    centred = jnp.where(inside, window - window[-1], 0.0)
    spread = jnp.max(jnp.abs(centred), axis=0)
    usable = jnp.isfinite(spread) & (spread > 0.0)
    spread = jnp.where(usable, spread, 1.0)
    magnitude = jnp.max(jnp.where(inside, jnp.abs(window), 0.0), axis=0)
    return jnp.where(usable, centred, 0.0) / spread, jnp.where(usable, MACHINE_EPSILON * magnitude / spread, 0.0)


def shifted(x: Array, by: int) -> Array:
    """y[i] = x[i + by], zero where that is outside."""
    if by >= 0:
        return jnp.pad(x[by:], (0, by))
    return jnp.pad(x[:by], (-by, 0))
