"""A server that answers as Prometheus does about the counters of model servers under steady traffic."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

__all__ = ["Counting", "counting"]

_SCRAPE_SECONDS = 0.05
_A_SCRAPE = 20
"""Requests of each variant between two scrapes."""


@dataclass
class Counting:
    """The counters: each variant answers equally many requests.

    Attributes
    ----------
    failing : float
        Share of the candidate's requests that fail.
    asked : list of dict
        Labels of each question, with the name of the series as `__name__`.
    """

    url: str = ""
    failing: float = 0.0
    asked: list[dict[str, str]] = field(default_factory=list)
    began: float = field(default_factory=time.time)

    def series(self, query: str, at_seconds: float) -> list[dict[str, Any]]:
        """Return what `name{labels}[Nms]` has at a time."""
        match = re.fullmatch(r"(\w+)\{(.*)\}\[(\d+)ms\]", query)
        assert match, query
        labels = dict(re.findall(r'(\w+)="([^"]*)"', match[2]))
        self.asked.append(labels | {"__name__": match[1]})
        share = self._share(labels)
        first = max(at_seconds - int(match[3]) / 1000, self.began)
        values = []
        for scrape in range(self._scrape(first) + 1, self._scrape(at_seconds) + 1):
            values.append([self.began + scrape * _SCRAPE_SECONDS, str(round(scrape * _A_SCRAPE * share))])
        edges = ["0.1", "+Inf"] if match[1].endswith("_bucket") and "le" not in labels else [""]
        found = [labels | ({"le": edge} if edge else {}) for edge in edges]
        return [{"metric": one, "values": values} for one in found] if values else []

    def _share(self, labels: dict[str, str]) -> float:
        match labels.get("outcome"):
            case None:
                return 1.0
            case "server_error" if labels["variant"] != "stable":
                return self.failing
            case _:
                return 0.0

    def _scrape(self, at_seconds: float) -> int:
        return int((at_seconds - self.began) / _SCRAPE_SECONDS)


@contextmanager
def counting() -> Iterator[Counting]:
    """Serve them on loopback."""
    found = Counting()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            result = found.series(asked["query"][0], float(asked["time"][0]))
            answer = {"status": "success", "data": {"resultType": "matrix", "result": result}}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

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
