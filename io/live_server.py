# SPDX-License-Identifier: MIT
"""The live page over HTTP: one page, and a stream of server-sent events behind it.

On the loopback address nobody is asked for a token; elsewhere one is needed, and a server without one is refused.
A reader that is slow misses frames and gets the newest: nothing is queued for it, and no other thread waits for it.
"""

import hmac
import json
import re
import time
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from threading import BoundedSemaphore, Lock, Thread
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs, urlsplit

from .live_page import POLICY, page

MOST_WATCHERS = 16
LEAST_TOKEN = 16
FRAME_S = 0.25
HEARTBEAT_S = 5.0
SOCKET_TIMEOUT_S = 20.0
COOKIE = "usp_token"
MOST_ROWS = 10_000
JSON_TYPE, HTML, TEXT = "application/json", "text/html; charset=utf-8", "text/plain; charset=utf-8"


class Rows(NamedTuple):
    """Points of a symbol as a JSON array; they have the running numbers `first` to `last - 1` of this run."""

    run: int
    first: int
    last: int
    points: str


class LiveSource(Protocol):
    """Where the page's numbers come from; every method may be called by several threads at once."""

    def watched(self, watchers: int) -> None:
        """How many readers there are now."""
        ...

    def wait(self, version: int, timeout_s: float) -> int:
        """The number of the newest change, as soon as it is not `version`, or after the timeout."""
        ...

    def overview(self, now_ns: int) -> str:
        """Everything but the points, as JSON."""
        ...

    def rows(self, symbol: str, run: int, after: int, most: int) -> Rows:
        """Points behind a running number, the newest `most` of them."""
        ...


class TokenNeeded(Exception):
    """The page would be open to other machines; the caller's fault."""


def is_loopback(host: str) -> bool:
    """True if only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_access(host: str, token: str) -> None:
    """TokenNeeded if the page would be open to other machines without a token that is worth the name."""
    if token and not re.fullmatch(rf"[A-Za-z0-9._~-]{{{LEAST_TOKEN},}}", token):
        raise TokenNeeded(
            f"found a token of {len(token)} characters; expected at least {LEAST_TOKEN} of A-Z a-z 0-9 . _ ~ -"
        )
    if not token and not is_loopback(host):
        raise TokenNeeded(
            f"found address {host} without a token; expected a loopback address, or a token of at least {LEAST_TOKEN}"
            " characters in USP_DASHBOARD__TOKEN"
        )


class LiveServer:
    """Serves until `close`. Port 0 takes a free one; `address` says where."""

    def __init__(self, source: LiveSource, host: str = "127.0.0.1", port: int = 0, token: str = "") -> None:
        """Raises TokenNeeded, and OSError if the port is taken."""
        check_access(host, token)
        self.source = source
        self.host = host
        self.token = token
        self.seats = BoundedSemaphore(MOST_WATCHERS)
        self.counting = Lock()
        self.watchers = 0
        self.stopped = False
        self.server = ThreadingHTTPServer((host, port), handler_of(self))
        self.server.daemon_threads = True
        self.thread = Thread(target=self.server.serve_forever, args=(0.1,), name="live-page", daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server.server_address[1]}/"

    def close(self) -> None:
        """Stop listening; streams end by themselves within a frame."""
        self.stopped = True
        self.server.shutdown()
        self.server.server_close()

    def count(self, change: int) -> None:
        """A reader came or went."""
        with self.counting:
            self.watchers += change
            self.source.watched(self.watchers)


def handler_of(live: LiveServer) -> type[BaseHTTPRequestHandler]:
    """The request handler of a server."""

    class Handler(BaseHTTPRequestHandler):
        timeout = SOCKET_TIMEOUT_S
        server_version = "usp"
        sys_version = ""

        def do_GET(self) -> None:
            """The page, its stream, and a sign of life."""
            asked = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(asked.query).items()}
            if not self.is_expected_host():
                self.answer(421, b"expected this server's own name as Host\n")
            elif asked.path == "/healthz":
                self.answer(200, b"ok\n")
            elif not self.is_allowed(query):
                self.answer(401, b"expected the token: open /?token=...\n")
            elif asked.path == "/" and "token" in query:
                self.remember()
            elif asked.path == "/":
                self.answer(200, page().encode(), HTML)
            elif asked.path == "/overview":
                self.answer(200, live.source.overview(time.time_ns()).encode(), JSON_TYPE)
            elif asked.path == "/events":
                self.events(query)
            else:
                self.answer(404, b"expected /, /overview or /events\n")

        def is_expected_host(self) -> bool:
            """Without a token the name must be a loopback one, or another site's page could read through a browser."""
            name = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
            return bool(live.token) or is_loopback(name)

        def is_allowed(self, query: Mapping[str, str]) -> bool:
            """The token may come as a parameter, a cookie or a bearer."""
            if not live.token:
                return True
            try:
                cookie = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
            except CookieError:
                cookie = None
            bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
            given = (query.get("token", ""), cookie.value if cookie else "", bearer)
            return any(hmac.compare_digest(each.encode(), live.token.encode()) for each in given)

        def remember(self) -> None:
            """Move the token from the address to a cookie, so that it is in no history."""
            self.send_response(303)
            self.send_header("Location", "/")
            self.send_header("Set-Cookie", f"{COOKIE}={live.token}; HttpOnly; SameSite=Strict; Path=/")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def answer(self, status: int, body: bytes, kind: str = TEXT) -> None:
            """One whole answer."""
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def end_headers(self) -> None:
            """No cache, no frame, nothing from elsewhere."""
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            super().end_headers()

        def events(self, query: Mapping[str, str]) -> None:
            """The stream, if there is a seat left."""
            if not live.seats.acquire(blocking=False):
                self.answer(503, f"expected at most {MOST_WATCHERS} readers at once\n".encode())
                return
            live.count(+1)
            try:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                self.stream(query.get("symbol", ""))
            except OSError:
                self.close_connection = True
            finally:
                live.count(-1)
                live.seats.release()

        def stream(self, symbol: str) -> None:
            """Frames as long as the reader takes them; a reader that comes back goes on where it was."""
            run, after = place_of(self.headers.get("Last-Event-ID", ""))
            version, beat_s = -1, 0.0
            while not live.stopped:
                newest = live.source.wait(version, HEARTBEAT_S / 2)
                now_s = time.monotonic()
                if newest != version or now_s - beat_s > HEARTBEAT_S:
                    self.frame("overview", live.source.overview(time.time_ns()))
                    rows = live.source.rows(symbol, run, after, MOST_ROWS)
                    if rows.last != after or rows.run != run:
                        run, after = rows.run, rows.last
                        head = json.dumps({"symbol": symbol, "run": run, "first": rows.first})
                        self.frame("rows", f'{head[:-1]},"rows":{rows.points}}}', f"{run}-{after}")
                    version, beat_s = newest, now_s
                time.sleep(FRAME_S)

        def frame(self, event: str, data: str, place: str = "") -> None:
            """One event of the stream."""
            number = f"id: {place}\n" if place else ""
            self.wfile.write(f"event: {event}\n{number}data: {data}\n\n".encode())
            self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged: their address may hold the token."""

    return Handler


def place_of(text: str) -> tuple[int, int]:
    """Run and running number of the last event that a reader had; (0, 0) for a new one."""
    run, _, after = text.partition("-")
    return (int(run), int(after)) if run.isdecimal() and after.isdecimal() and len(text) < 40 else (0, 0)
