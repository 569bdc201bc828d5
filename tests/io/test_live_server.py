# SPDX-License-Identifier: MIT
import json
import re
import shutil
import subprocess
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from prediction_examples import numbered as prediction
from usp.io.live_page import LIVE_STYLE, SCRIPT, page
from usp.io.live_server import MOST_WATCHERS, LiveServer, TokenNeeded, check_access, place_of
from usp.stages.dashboard.live_window import LiveWindow

TOKEN = "a-token-of-enough-letters"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Window(LiveWindow):
    """A window that remembers how many look at it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def watched(self, watchers: int) -> None:
        """See `LiveSource.watched`."""
        self.seen.append(watchers)


def fed(count: int, symbol: str = "EURUSD") -> Window:
    """A window with so many forecasts."""
    window = Window()
    window.add([(prediction(n, symbol=symbol), n * 10**9) for n in range(1, count + 1)], count * 10**9)
    return window


@pytest.fixture
def live() -> Iterator[tuple[Window, LiveServer]]:
    """A served window without a token."""
    window = fed(3)
    server = LiveServer(window)
    yield window, server
    server.close()


@contextmanager
def asked(server: LiveServer, path: str, **headers: str) -> Generator[HTTPResponse]:
    """One request."""
    connection = HTTPConnection("127.0.0.1", urlsplit(server.address).port or 0, timeout=10.0)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        yield answer
        answer.close()
    finally:
        connection.close()


def events(answer: HTTPResponse) -> Iterator[tuple[str, str, Any]]:
    """(event, id, data) of a stream."""
    fields = {"event": "", "id": ""}
    while line := answer.readline().decode().rstrip("\n"):
        name, _, text = line.partition(": ")
        fields[name] = text
        if name == "data":
            yield fields["event"], fields["id"], json.loads(text)
            fields = {"event": "", "id": ""}
            answer.readline()


def test_the_page_allows_itself_alone(live: tuple[Window, LiveServer]):
    """Its policy names its own script and style by hash; nothing comes from another address."""
    with asked(live[1], "/") as answer:
        policy = answer.headers["Content-Security-Policy"]
        text = answer.read().decode()
    assert text == page()
    assert "default-src 'none'" in policy
    assert policy.count("'sha256-") == 2
    assert "unsafe" not in policy
    assert text.count("<script>") == text.count("<style>") == 1
    assert f"<script>{SCRIPT}</script>" in text
    assert f"<style>{LIVE_STYLE}</style>" in text
    assert not re.search(r"https?://|\bon\w+=\"|innerHTML|\beval\b", text)


def test_the_stream_gives_the_state_and_then_what_is_new(live: tuple[Window, LiveServer]):
    """First everything that is kept, then only the points behind it."""
    window, server = live
    with asked(server, "/events?symbol=EURUSD") as answer:
        stream = events(answer)
        name, _, overview = next(stream)
        assert (name, overview["totals"]["predictions"]) == ("overview", 3)
        name, place, rows = next(stream)
        assert (name, rows["first"], len(rows["rows"])) == ("rows", 0, 3)
        assert dict(zip(overview["columns"], rows["rows"][-1], strict=True))["mean"] == prediction(3).mean
        window.add([(prediction(4), 4 * 10**9)], 4 * 10**9)
        assert next(stream)[0] == "overview"
        name, again, rows = next(stream)
        assert (name, rows["first"], len(rows["rows"])) == ("rows", 3, 1)
        assert place != again


def test_a_reader_that_comes_back_goes_on_where_it_was(live: tuple[Window, LiveServer]):
    """By the id of its last event; another run of the feed starts it afresh."""
    window, server = live
    with asked(server, "/events?symbol=EURUSD", Last_Event_ID=f"{window.run}-2") as answer:
        stream = events(answer)
        next(stream)
        assert next(stream)[2]["first"] == 2
    with asked(server, "/events?symbol=EURUSD", Last_Event_ID=f"{window.run + 1}-2") as answer:
        stream = events(answer)
        next(stream)
        assert next(stream)[2]["first"] == 0


@pytest.mark.parametrize("text", ["", "x", "1", "-", "1-x", "-1-2", "9" * 50 + "-1"])
def test_an_id_that_is_none_begins_anew(text: str):
    """It comes from outside."""
    assert place_of(text) == (0, 0)


def test_the_source_knows_whether_somebody_looks(live: tuple[Window, LiveServer]):
    """So that nothing is read for nobody; seats come back when a reader leaves."""
    window, server = live
    for _ in range(3):
        with asked(server, "/events") as answer:
            assert answer.status == 200
            next(events(answer))
        window.add([(prediction(9), 0)], 0)
    end = time.monotonic() + 20.0
    while window.seen[-1] and time.monotonic() < end:
        window.add([(prediction(9), 0)], 0)
        time.sleep(0.05)
    assert window.seen[0] == 1
    assert window.seen[-1] == 0


def test_there_are_so_many_seats():
    """The next reader is told to come later, and costs nothing."""
    server = LiveServer(fed(1))
    for _ in range(MOST_WATCHERS):
        assert server.seats.acquire(blocking=False)
    with asked(server, "/events") as answer:
        assert answer.status == 503
    server.close()


def test_another_site_cannot_read_through_the_browser(live: tuple[Window, LiveServer]):
    """A foreign name that leads to the loopback address is refused."""
    with asked(live[1], "/overview", Host="evil.example") as answer:
        assert answer.status == 421
    with asked(live[1], "/overview", Host="localhost:1") as answer:
        assert json.loads(answer.read())["totals"]["predictions"] == 3


def test_unknown_paths_are_refused(live: tuple[Window, LiveServer]):
    """There are no files behind the page."""
    for path in ("/../etc/passwd", "/live_page.js", "/metrics"):
        with asked(live[1], path) as answer:
            assert answer.status == 404


def test_a_token_is_asked_for():
    """As parameter (then moved to a cookie), cookie or bearer; a wrong one opens nothing but the sign of life."""
    server = LiveServer(fed(1), token=TOKEN)
    with asked(server, "/") as answer:
        assert answer.status == 401
    with asked(server, "/events?token=wrong-token-wrong-token") as answer:
        assert answer.status == 401
    with asked(server, f"/?token={TOKEN}") as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
    with asked(server, "/overview", Cookie=cookie.partition(";")[0]) as answer:
        assert answer.status == 200
    with asked(server, "/overview", Authorization=f"Bearer {TOKEN}") as answer:
        assert answer.status == 200
    with asked(server, "/healthz") as answer:
        assert answer.status == 200
    server.close()


@pytest.mark.parametrize(
    ("host", "token"), [("0.0.0.0", ""), ("192.0.2.1", ""), ("::", ""), ("127.0.0.1", "short"), ("0.0.0.0", "a; b" * 9)]
)
def test_an_open_door_is_refused(host: str, token: str):
    """Before anything listens; the token itself is not told."""
    with pytest.raises(TokenNeeded) as told:
        LiveServer(fed(1), host=host, token=token)
    assert not token or token not in str(told.value)
    check_access("::1", "")
    check_access("0.0.0.0", TOKEN)


STREAM = """<script>window.EventSource = class {
  constructor(url) { this.heard = {}; if (url.endsWith("=")) setTimeout(() => this.tell("overview", OVERVIEW), 10);
    else setTimeout(() => { this.tell("overview", OVERVIEW); this.tell("rows", ROWS); }, 10); }
  addEventListener(name, hear) { this.heard[name] = hear; }
  tell(name, data) { this.heard[name]({data: JSON.stringify(data)}); }
  close() {}
};</script>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
def test_a_browser_draws_it_without_a_complaint(tmp_path: Path):
    """Ten thousand points: table filled, charts named, names from outside are text, the console stays empty.

    The stream is played from the file, because a headless browser prints a page only once nothing is open.
    """
    name = "<b>X</b>"
    window = fed(10_000, name)
    rows = window.rows(name, window.run, 0, 10_000)
    told = f'{{"symbol":{json.dumps(name)},"run":{rows.run},"first":{rows.first},"rows":{rows.points}}}'
    stream = STREAM.replace("OVERVIEW", window.overview(0)).replace("ROWS", told).replace("</b>", "<\\/b>")
    file = tmp_path / "page.html"
    file.write_text(page().replace(f"<script>{SCRIPT}", f"{stream}<script>{SCRIPT}"))
    switches = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={tmp_path}"]
    command = [str(CHROMIUM), *switches, "--virtual-time-budget=3000", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "<b>10,000</b>" in done.stdout
    assert "&lt;b&gt;X&lt;/b&gt;</button>" in done.stdout
    assert re.search(r'aria-label="Forecast and actual of [^"]+ newest 2000 points', done.stdout)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
