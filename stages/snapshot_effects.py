# SPDX-License-Identifier: MIT
"""Executes what the snapshotter asks for: files and hints. Each answers with replies; none may stop the stage."""

from collections.abc import Sequence

from ..io.cache import CacheUnavailable, SnapshotHint, SnapshotHints
from ..io.snapshot_errors import InsufficientStorage, SnapshotError, SnapshotStoreError
from ..io.snapshot_store import SnapshotStore
from .contract import Reply
from .snapshotter import (
    HintSkipped,
    PersistSnapshot,
    ScrubSnapshots,
    SnapshotPersisted,
    SnapshotRefused,
    SnapshotSetAside,
    UpdateHint,
)


def persist_snapshot(store: SnapshotStore, effect: PersistSnapshot) -> Sequence[Reply]:
    """A file, or the reason why not; a full disk must not end the process."""
    try:
        stored = store.persist(effect.data, effect.snapshot_id, effect.now_ns)
    except SnapshotError as fault:
        refusal = SnapshotRefused(event_of(fault), effect.stage, effect.partition, effect.snapshot_id, str(fault))
        return (refusal,)
    header = stored.header
    done = SnapshotPersisted(
        header.log_id,
        header.stage,
        header.partition,
        stored.snapshot_id,
        header.next_offset,
        header.step,
        str(stored.path),
    )
    return (done,)


def event_of(fault: SnapshotError) -> str:
    """Which event a refusal is: the room, the system, or the bytes."""
    if isinstance(fault, InsufficientStorage):
        return "InsufficientStorageEvent"
    return "SnapshotWriteFailedEvent" if isinstance(fault, SnapshotStoreError) else "CorruptedSnapshotEvent"


def update_hint(hints: SnapshotHints | None, effect: UpdateHint) -> Sequence[Reply]:
    """Nothing when Redis has it or knows better; without a Redis there is nobody to tell."""
    if hints is None:
        return ()
    hint = SnapshotHint(effect.snapshot_id, effect.next_offset, effect.step, effect.path)
    try:
        hints.advance(effect.log_id, effect.stage, effect.partition, hint)
    except CacheUnavailable as fault:
        return (HintSkipped(effect.stage, effect.partition, effect.snapshot_id, str(fault)),)
    return ()


def scrub_snapshots(store: SnapshotStore, effect: ScrubSnapshots) -> Sequence[Reply]:
    """One reply for each file that was set aside."""
    return [SnapshotSetAside(str(broken.path), broken.reason) for broken in store.scrub(effect.now_ns)]
