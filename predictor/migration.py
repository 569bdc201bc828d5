# SPDX-License-Identifier: MIT
"""What becomes of a symbol's state when a change of configuration selects another program.

* What belongs to no kernel (scale, weights, detectors, intervals, step count, key) is carried array by array where
  the shape is equal; an array of another shape starts afresh.
* The history of levels keeps its newest values. Where it grows, its oldest value is repeated at the old end, and as
  many levels count as seen as were kept, so that nothing is estimated from the repeated ones.
* A kernel is carried whole if all its arrays have equal shapes and it still means the same, else it starts afresh:
  half of a regression is worse than none.
"""

from collections.abc import Mapping

import numpy as np

from ..config.model import ModelConfig
from .program import Program
from .structure import Structure

SHARED = "global"
HISTORY, LEVEL_COUNT = "scaling.history", "scaling.level_count"
SHAPES_ALONE = (
    "lane_width",
    "split_count",
    "solver_steps",
    "signature_depth",
    "wavelet_window",
    "wavelet_scales",
    "entropy_bins",
    "spatial_samples",
    "dgm_width",
    "dgm_depth",
    "activation",
)

Arrays = Mapping[str, np.ndarray]


def migrated(old: Program, new: Program, config: ModelConfig, symbol: str, column: np.ndarray) -> np.ndarray:
    """The state column [state_size] of `symbol` for the program `new`, made from its column under `old`."""
    before = old.to_document(column)
    document = new.to_document(new.init_column(config, symbol))
    keeps_meaning = meaning(old.structure) == meaning(new.structure)
    for segment, fresh in document.items():
        if segment == SHARED:
            document[segment] = carried(before[segment], fresh)
        elif keeps_meaning and fits(before[segment], fresh):
            document[segment] = before[segment]
    return new.from_document(document)


def meaning(structure: Structure) -> Structure:
    """The structure without the keys that select shapes or windows alone; equal ones mean the same by a coefficient."""
    blank = {name: "" if name == "activation" else 0 for name in SHAPES_ALONE}
    return structure._replace(**blank)


def fits(old: Arrays, new: Arrays) -> bool:
    """True if both have the same arrays of the same form."""
    return old.keys() == new.keys() and all(has_form_of(old[name], array) for name, array in new.items())


def has_form_of(old: np.ndarray, new: np.ndarray) -> bool:
    return old.shape == new.shape and old.dtype == new.dtype


def carried(old: Arrays, fresh: Arrays) -> dict[str, np.ndarray]:
    """The arrays of no kernel, each its old self where it can be."""
    found = {name: old[name] if name in old and has_form_of(old[name], new) else new for name, new in fresh.items()}
    before, after = old[HISTORY], fresh[HISTORY]
    if len(before) != len(after):
        found[HISTORY] = resized(before, len(after))
        found[LEVEL_COUNT] = np.minimum(old[LEVEL_COUNT], len(before)).astype(old[LEVEL_COUNT].dtype)
    return found


def resized(history: np.ndarray, length: int) -> np.ndarray:
    """The newest `length` values; a longer window repeats the oldest one."""
    missing = length - len(history)
    return np.concatenate([np.full(missing, history[0]), history]) if missing > 0 else history[-length:].copy()
