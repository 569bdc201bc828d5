# SPDX-License-Identifier: MIT
"""Predictions for tests of which only some fields matter."""

from dataclasses import fields
from typing import Any, get_origin, get_type_hints

from usp.schemas.records import Prediction

ZEROS: dict[Any, Any] = {int: 0, float: 0.0, str: "", bool: False, list: []}
HINTS = get_type_hints(Prediction)
BLANK = {f.name: ZEROS.get(get_origin(HINTS[f.name]) or HINTS[f.name]) for f in fields(Prediction)}


def prediction(**chosen: Any) -> Prediction:
    """An accepted prediction with these fields; all others are zero or absent."""
    return Prediction(**(BLANK | {"operating_mode": "inference", "accepted": True} | chosen))
