# SPDX-License-Identifier: MIT
"""Forecasts kept as files, one for each series and model, so that an interrupted run goes on where it stopped.

The name of a file is a hash of all that its contents depend on: values, burn-in, the model's code and settings. A file
that cannot be read counts as not there.
"""

import io
import zipfile
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path

import numpy as np

from ....io.atomic_file import write_atomically
from .metrics import Forecasts


@dataclass(frozen=True)
class Store:
    """A folder of results."""

    folder: Path

    def path(self, *parts: object) -> Path:
        """The file of a result that depends on these parts."""
        return self.folder / f"{sha256(repr(parts).encode()).hexdigest()[:32]}.npz"

    def load(self, path: Path) -> Forecasts | None:
        """What was kept, or None."""
        try:
            with np.load(path, allow_pickle=False) as data:
                return Forecasts(**{name: data[name] for name in data.files})
        except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile):
            return None

    def save(self, path: Path, found: Forecasts) -> None:
        """Keep a result; whole or not at all."""
        named = {each.name: getattr(found, each.name) for each in fields(Forecasts)}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{name: array for name, array in named.items() if array is not None})
        write_atomically(path, buffer.getvalue(), fsync=False)
