# SPDX-License-Identifier: MIT
"""A proposal as a file, written by `usp tune --out` and sent by `usp config propose --from`; people read it between."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from ...io.atomic_file import write_atomically

MOST_BYTES = 2**20


class ProposalFileError(ValueError):
    """The file holds no proposal; the message says what was expected."""


class Wish(NamedTuple):
    """Changes as TOML literals, why, and the objective that they reached."""

    changes: dict[str, str]
    trigger: str
    best_objective: float | None


def write_wish(path: Path, wish: Wish, facts: Mapping[str, Any]) -> None:
    """One JSON document: the wish, and under `tuning` what it rests on."""
    document = {**wish._asdict(), "tuning": dict(facts)}
    write_atomically(path, (json.dumps(document, indent=2) + "\n").encode())


def read_wish(path: Path) -> Wish:
    """The wish of a file; ProposalFileError if it holds none."""
    data = path.read_bytes()
    try:
        if len(data) > MOST_BYTES:
            raise ValueError("too long")
        found: Any = json.loads(data)
        changes, trigger, best = found["changes"], found["trigger"], found["best_objective"]
        fits = isinstance(changes, dict) and isinstance(trigger, str) and changes != {}
        fits = fits and all(isinstance(value, str) for value in cast("dict[str, Any]", changes).values())
        if not fits or not (best is None or (isinstance(best, int | float) and math.isfinite(best))):
            raise ValueError("other types")
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        expected = (
            "JSON with changes (keys with TOML literals), trigger and best_objective, as usp tune --out writes it"
        )
        raise ProposalFileError(f"{path}: found no proposal ({fault!r:.80}); expected {expected}") from fault
    return Wish(dict(cast("dict[str, str]", changes)), trigger, None if best is None else float(best))
