# SPDX-License-Identifier: MIT
"""A schema registry in this process: what registries answer over HTTP, as far as a client asks."""

import base64
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Registry:
    """Schemas by id, subjects by name; `refuse` answers the next requests with that status."""

    schemas: list[str] = field(default_factory=list)
    subjects: dict[str, set[int]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    refuse: list[int] = field(default_factory=list)
    password: str = ""
    first_id: int = 7
    url: str = ""

    def register(self, subject: str, text: str) -> int:
        """The id of a schema; the same text has the same id under every subject."""
        if text not in self.schemas:
            self.schemas.append(text)
        number = self.first_id + self.schemas.index(text)
        self.subjects.setdefault(subject, set()).add(number)
        return number

    def answer(self, method: str, path: str, body: dict) -> tuple[int, dict]:
        """Status and document, as the registry's reference describes them."""
        parts = path.strip("/").split("/")
        if parts[0] == "schemas":
            index = int(parts[2]) - self.first_id
            if 0 <= index < len(self.schemas):
                return 200, {"schema": self.schemas[index]}
            return 404, {"error_code": 40403, "message": "Schema not found"}
        if parts[2:] == ["versions"]:
            return 200, {"id": self.register(parts[1], body["schema"])}
        known = self.subjects.get(parts[1], set())
        number = self.first_id + self.schemas.index(body["schema"]) if body["schema"] in self.schemas else 0
        if number in known:
            return 200, {"subject": parts[1], "id": number, "version": 1, "schema": body["schema"]}
        return 404, {"error_code": 40403, "message": "Schema not found"}


@contextmanager
def serving(registry: Registry) -> Generator[Registry]:
    """The registry on a free loopback port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply({})

        def do_POST(self) -> None:
            self.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def reply(self, body: dict) -> None:
            registry.requests.append(f"{self.command} {self.path}")
            given = self.headers.get("Authorization", "").removeprefix("Basic ")
            if registry.password and base64.b64decode(given).decode() != registry.password:
                status, document = 401, {"message": "Unauthorized"}
            elif registry.refuse:
                status, document = registry.refuse.pop(0), {"message": "as planned"}
            else:
                status, document = registry.answer(self.command, self.path, body)
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    registry.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
