# SPDX-License-Identifier: MIT
"""What snapshots bear witness to: the line of the audit log that was the newest when their epoch came into force."""

from .snapshot_errors import SnapshotError
from .snapshot_format import verify
from .snapshot_store import SnapshotStore

AUDIT_ANCHOR = "audit_head"


def anchored_heads(store: SnapshotStore) -> dict[str, str]:
    """Hash of an audit line -> name of the newest snapshot that names it; of each partition its newest sound file.

    A file that is no sound snapshot witnesses nothing; whoever loads it says so.
    """
    newest = {(file.stage, file.partition): file for file in store.files()}
    heads: dict[str, str] = {}
    for file in newest.values():
        try:
            header = verify(file.path.read_bytes(), store.limits, str(file.path)).header
        except (SnapshotError, OSError):
            continue
        if AUDIT_ANCHOR in header.anchors:
            heads[header.anchors[AUDIT_ANCHOR]] = file.path.name
    return heads
