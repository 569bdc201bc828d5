# SPDX-License-Identifier: MIT
"""`/metrics`, `/healthz` and `/readyz` of a stage process, on a thread of its own."""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


def serve_health(
    host: str, port: int, registry: CollectorRegistry, waiting_for: Callable[[], str]
) -> ThreadingHTTPServer | None:
    """Start serving; port 0 is off. The process is alive if this answers, ready once it waits for nothing any more.

    `waiting_for` says what for and how much is left; empty is ready.
    """
    if port == 0:
        return None

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            match self.path:
                case "/metrics":
                    self.answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
                case "/healthz":
                    self.answer(200, b"ok\n")
                case "/readyz":
                    missing = waiting_for()
                    self.answer(503 if missing else 200, f"{missing or 'ready'}\n".encode())
                case _:
                    self.answer(404, b"expected /metrics, /healthz or /readyz\n")

        def answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged; scrapes would drown the log."""

    server = ThreadingHTTPServer((host, port), Handler)
    Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
