# SPDX-License-Identifier: MIT
"""What can be wrong with a snapshot.

* SnapshotError
  + SnapshotCorrupt          the bytes are not what was written; the file is set aside
    x NotASnapshot, SnapshotTruncated, DigestMismatch, SnapshotMalformed
  + SnapshotUnsupported      whole, but not for this build; the file stays
    x FormatVersionUnsupported, AlgorithmUnsupported, CompressionUnsupported, SerializationUnsupported
  + SnapshotTooLarge         beyond a limit of this process
  + SnapshotUnencodable      ours: a state that the format cannot hold
  + SnapshotStoreError       the folder: no room, no permission, a name that leads out of it
    x InsufficientStorage, SnapshotWriteFailed, UnsafeSnapshotName
"""


class SnapshotError(Exception):
    """Says what was found, what was expected, and in which file."""


class SnapshotCorrupt(SnapshotError):
    """The bytes are not what was written."""


class NotASnapshot(SnapshotCorrupt):
    """Does not begin like a snapshot."""


class SnapshotTruncated(SnapshotCorrupt):
    """Shorter or longer than it says itself."""


class DigestMismatch(SnapshotCorrupt):
    """The footer does not belong to these bytes."""


class SnapshotMalformed(SnapshotCorrupt):
    """The footer is right, what it covers makes no sense."""


class SnapshotUnsupported(SnapshotError):
    """Perhaps good, but this build cannot tell or cannot read it."""


class FormatVersionUnsupported(SnapshotUnsupported):
    """Written by a newer or much older build."""


class AlgorithmUnsupported(SnapshotUnsupported):
    """Unknown hash algorithm in the footer."""


class CompressionUnsupported(SnapshotUnsupported):
    """Unknown compression, or one whose library is not installed."""


class SerializationUnsupported(SnapshotUnsupported):
    """Not MessagePack."""


class SnapshotTooLarge(SnapshotError):
    """Beyond a limit of this process."""


class SnapshotUnencodable(SnapshotError):
    """A state that the format cannot hold exactly."""


class SnapshotStoreError(SnapshotError):
    """The folder refuses."""


class InsufficientStorage(SnapshotStoreError):
    """Less free space than twice the file."""


class SnapshotWriteFailed(SnapshotStoreError):
    """The operating system refused to write."""


class UnsafeSnapshotName(SnapshotStoreError):
    """A stage name that is no file name."""
