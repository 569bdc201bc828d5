# SPDX-License-Identifier: MIT
"""Universal Stochastic Predictor: audited, exactly replayable one-step-ahead predictions.

`from usp import Predictor` is the library without Kafka; the pipeline is started by the command `usp`.
"""

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .stages.library import Predictor, orchestrate_step

__all__ = ["Predictor", "orchestrate_step"]

# 64-bit must be on before JAX traces anything, whichever of the two packages is imported first; JAX itself is
# imported only by those who predict.
os.environ["JAX_ENABLE_X64"] = "1"
if "jax" in sys.modules:
    sys.modules["jax"].config.update("jax_enable_x64", True)


def __getattr__(name: str) -> Any:
    """The library's names, loaded (with JAX) on first use."""
    if name not in __all__:
        raise AttributeError(f"module 'usp' has no attribute {name!r}; expected one of {__all__}")
    from .stages import library

    return getattr(library, name)
