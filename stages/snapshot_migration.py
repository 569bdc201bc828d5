# SPDX-License-Identifier: MIT
"""Brings a stored state to the layout of this build, one version after the other.

The version is `meta.schema_version`, which stands in each snapshot's header. A change of a stage's document raises it
and adds one function here, which takes the document of the version before; released versions have golden files, which
must be loaded for ever.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from .contract import Document

Migration = Callable[[Document], Document]


class Step(NamedTuple):
    """From one version of a stage's document to the next."""

    to_version: str
    migrate: Migration


class UnknownLayout(ValueError):
    """No way leads from that version to this build's."""


STEPS: Mapping[tuple[str, str], Step] = {}


def migrated(
    stage: str, version: str, current: str, document: Document, steps: Mapping[tuple[str, str], Step] = STEPS
) -> Document:
    """The document in the layout `current`. UnknownLayout for a version of a newer build, or one without a way."""
    at = version
    while at != current:
        step = steps.get((stage, at))
        if step is None:
            raise UnknownLayout(
                f"found a state of {stage} in layout {version}; expected {current}, or a version from which a way leads"
                f" there (none from {at}): load it with the build that wrote it"
            )
        at, document = step.to_version, step.migrate(document)
    return document
