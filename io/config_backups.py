# SPDX-License-Identifier: MIT
"""Earlier versions of the configuration file: the latest one, and time-stamped ones that are never overwritten."""

import hashlib
from pathlib import Path

from .atomic_file import write_atomically
from .audit_log import utc_stamp

BACKUP_SUFFIX = ".bak"
FREEZE_SUFFIX = ".frozen"
BACKUPS_KEPT = 50


def content_hash(content: bytes) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def latest_backup_path(config_path: Path) -> Path:
    """`config.toml` -> `config.toml.bak`."""
    return config_path.with_name(config_path.name + BACKUP_SUFFIX)


def freeze_path(config_path: Path) -> Path:
    """`config.toml` -> `config.toml.frozen`: while it is there, no change is made; it holds the reason."""
    return config_path.with_name(config_path.name + FREEZE_SUFFIX)


def create_config_backup(config_path: Path = Path("config.toml"), backup_path: Path | None = None) -> None:
    """Copy the file to `backup_path` (default: its name with .bak appended), whole or not at all."""
    if not config_path.exists():
        raise FileNotFoundError(f"Config file not found: {config_path}; expected the file that is to be backed up")
    mode = config_path.stat().st_mode & 0o777
    write_atomically(backup_path or latest_backup_path(config_path), config_path.read_bytes(), mode=mode)


def new_backup_path(config_path: Path) -> Path:
    """A time-stamped name that nobody has used: `config.toml.bak.2026-02-19T14:32:05.000001Z`."""
    while True:
        path = config_path.with_name(f"{latest_backup_path(config_path).name}.{utc_stamp()}")
        if not path.exists():
            return path


def stamped_backups(config_path: Path) -> list[Path]:
    """All time-stamped backups, oldest first."""
    return sorted(config_path.parent.glob(f"{latest_backup_path(config_path).name}.????-??-??T*Z"))


def keep_version(config_path: Path) -> None:
    """A time-stamped backup of the file as it is, unless the newest one is that: any version can be had again.

    So the newest one is the version in force.
    """
    content = config_path.read_bytes()
    if [path.read_bytes() for path in stamped_backups(config_path)[-1:]] != [content]:
        mode = config_path.stat().st_mode & 0o777
        write_atomically(new_backup_path(config_path), content, mode=mode)
        prune_backups(config_path)


def prune_backups(config_path: Path, keep: int = BACKUPS_KEPT) -> None:
    """Remove all but the newest time-stamped backups."""
    for path in stamped_backups(config_path)[:-keep]:
        path.unlink(missing_ok=True)
