# SPDX-License-Identifier: MIT
"""Snapshots of a stage's state: one file each, verified before anything of it is used.

snapshot_format.py   the file as a pure function of header and state, and back
snapshot_body.py     the state as deterministic MessagePack
snapshot_chunks.py   pieces for the way through the log
snapshot_store.py    a folder of files, with retention and quarantine
"""

from pathlib import Path

from .atomic_file import write_atomically
from .snapshot_body import Document, SnapshotLimits
from .snapshot_chunks import Assembler, BadChunk, CompleteSet, split_into_chunks
from .snapshot_errors import SnapshotCorrupt, SnapshotError, SnapshotStoreError, SnapshotUnsupported
from .snapshot_files import Retention, SnapshotFile
from .snapshot_format import DEFAULT_LIMITS, Snapshot, SnapshotHeader, document_hash, hash_of_body, snapshot_id
from .snapshot_format import decode as decode_snapshot
from .snapshot_format import encode as encode_snapshot
from .snapshot_format import verify as verify_bytes
from .snapshot_store import Broken, SnapshotStore, StoredSnapshot

__all__ = [
    "Assembler",
    "BadChunk",
    "Broken",
    "CompleteSet",
    "Retention",
    "Snapshot",
    "SnapshotCorrupt",
    "SnapshotError",
    "SnapshotFile",
    "SnapshotHeader",
    "SnapshotLimits",
    "SnapshotStore",
    "SnapshotStoreError",
    "SnapshotUnsupported",
    "StoredSnapshot",
    "decode_snapshot",
    "document_hash",
    "encode_snapshot",
    "hash_of_body",
    "load_snapshot",
    "save_snapshot",
    "snapshot_id",
    "split_into_chunks",
    "verify_snapshot",
]


def save_snapshot(path: Path, header: SnapshotHeader, document: Document, *, fsync: bool = True) -> str:
    """Write a state to `path` atomically; its snapshot id."""
    data = encode_snapshot(header, document)
    write_atomically(path, data, fsync=fsync)
    return snapshot_id(data)


def load_snapshot(path: Path, limits: SnapshotLimits = DEFAULT_LIMITS) -> Snapshot:
    """The verified state of a file. Every failure is a SnapshotError that names the file; nothing is half loaded."""
    return decode_snapshot(read(path), limits, str(path))


def verify_snapshot(path: Path, limits: SnapshotLimits = DEFAULT_LIMITS) -> SnapshotHeader:
    """Prove a file without parsing the state in it."""
    return verify_bytes(read(path), limits, str(path)).header


def read(path: Path) -> bytes:
    """The bytes of a file; SnapshotError if there are none to be had."""
    try:
        return path.read_bytes()
    except OSError as fault:
        raise SnapshotError(f"{path}: cannot be read: {fault}; expected a snapshot file") from fault
