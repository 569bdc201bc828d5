# SPDX-License-Identifier: MIT
import os
from pathlib import Path

import pytest

from usp.io.atomic_file import write_all, write_atomically


def test_a_file_is_replaced_whole(tmp_path: Path):
    """Folders are made, the mode is set, nothing else stays behind."""
    path = tmp_path / "a" / "b"
    write_atomically(path, b"one")
    write_atomically(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_the_steps_come_in_the_order_that_survives_a_power_loss(tmp_path: Path):
    """Data before name, name before folder."""
    steps: list[str] = []
    write_atomically(tmp_path / "x", b"data", reached=steps.append)
    assert steps == ["after_temp", "after_write", "after_fsync", "after_rename", "after_folder_fsync"]


def test_a_refused_write_leaves_nothing(tmp_path: Path):
    """An error of the system is passed on and the temporary file is gone."""
    (tmp_path / "x").mkdir()
    with pytest.raises(OSError):
        write_atomically(tmp_path / "x", b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_every_byte_is_written_through_a_narrow_pipe():
    """The system may take fewer bytes than it is given."""
    reader, writer = os.pipe()
    os.set_blocking(writer, True)
    data = bytes(range(256)) * 100
    write_all(writer, data)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert file.read() == data
