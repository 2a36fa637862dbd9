"""A server with a page of metrics as a gateway of two model servers has it; tests move its counters."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry

from cd4ml.serving.telemetry import Telemetry, page

MODEL = "shop"


@dataclass
class Page:
    """The counters of some variants, counted by the model server's own telemetry."""

    url: str = ""
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    away: bool = False
    text: bytes = b""
    asked: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin to count from 0."""
        self.registry = CollectorRegistry()
        versions = {"stable": "1", "canary": "2", "shadow": "2"}
        self.variants = {
            name: Telemetry(MODEL, version, name, self.registry) for name, version in versions.items()
        }

    def count(self, variant: str, number: int, status: int = 200, seconds: float = 0.004) -> None:
        for _ in range(number):
            self.variants[variant].observe("v1", seconds, (), status)


@contextmanager
def served() -> Iterator[Page]:
    """Serve a page on loopback, at /metrics; any other path answers what `text` is."""
    found = Page()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(dict(self.headers))
            body = page(found.registry)[0] if self.path == "/metrics" else found.text
            self.send_response(503 if found.away else 200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        found.url = f"http://127.0.0.1:{server.server_port}"
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
