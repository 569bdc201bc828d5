# SPDX-License-Identifier: MIT
"""The predictor: a pure, batched, compiled step over packed state. No I/O, no clock, no environment.

`structure_of` says which executable a symbol needs, `program_for` gives it, and a `Program` turns blocks of state,
parameters and inputs into new state and outputs. Everything is float64, so 64-bit mode is switched on here.
"""

import jax

jax.config.update("jax_enable_x64", True)

from .migration import migrated  # noqa: E402
from .program import Program, program_for  # noqa: E402
from .records import INPUT_COUNT, OUTPUT_COUNT, OUTPUTS, Inputs, Outputs, split_time_ns  # noqa: E402
from .structure import Structure, structure_of  # noqa: E402

__all__ = [
    "INPUT_COUNT",
    "OUTPUTS",
    "OUTPUT_COUNT",
    "Inputs",
    "Outputs",
    "Program",
    "Structure",
    "migrated",
    "program_for",
    "split_time_ns",
    "structure_of",
]
