"""What stands before a model server and remembers what is asked; it can also lack `:explain`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import requests


@dataclass
class Recorder:
    """A proxy.

    Attributes
    ----------
    asked : list
        Method, path, JSON of the body and headers of each request.
    without : tuple of str
        Requests whose path has one of these in it get a 404.
    replaced : mapping
        What answers a request whose path has the key in it, in place of the server's own body.
    """

    target: str
    asked: list[tuple[str, str, Any, dict[str, str]]] = field(default_factory=list)
    without: tuple[str, ...] = ()
    replaced: dict[str, str] = field(default_factory=dict)
    url: str = ""

    def rows(self) -> list[dict[str, Any]]:
        return [row for _, _, body, _ in self.asked if body for row in body["instances"]]


@contextmanager
def recording(target: str) -> Iterator[Recorder]:
    found = Recorder(target)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.forward(None)

        def do_POST(self) -> None:
            self.forward(self.rfile.read(int(self.headers["Content-Length"])))

        def forward(self, body: bytes | None) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.asked.append((self.command, self.path, json.loads(body) if body else None, headers))
            if any(part in self.path for part in found.without):
                self.answer(404, b'{"error": "no such path"}', {})
                return
            kept = {name: value for name, value in headers.items() if name in ("ce-id", "content-type")}
            answer = requests.request(
                self.command, found.target + self.path, data=body, headers=kept, timeout=10
            )
            content = answer.content
            for path, text in found.replaced.items():
                if path in self.path:
                    content = text.encode()
            named = ("ce-id", "x-cd4ml-version", "x-cd4ml-variant")
            more = {name: answer.headers[name] for name in named if name in answer.headers}
            self.answer(answer.status_code, content, more)

        def answer(self, status: int, content: bytes, more: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"content-type": "application/json", **more}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()
    server.server_close()
