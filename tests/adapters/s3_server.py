"""S3 servers for tests: a mock in this process, and one that answers as it is told."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cd4ml.adapters.storage import S3Storage

CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)


# Answers of the scripted server that are no HTTP status: it closes the connection.
UNANSWERED = 0
WRITTEN_UNANSWERED = 1


@contextmanager
def environment(**values: str | None) -> Iterator[None]:
    """Set variables (None takes one away) and put them back at the end."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def moto_endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def mock_credentials() -> dict[str, str | None]:
    return dict.fromkeys(CREDENTIALS) | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret"}


def new_bucket(endpoint: str) -> S3Storage:
    storage = S3Storage(f"test-{uuid.uuid4().hex[:12]}", "some/prefix", endpoint)
    storage._client.make_bucket(storage.bucket)
    return storage


class _Scripted(ThreadingHTTPServer):
    def __init__(self, script: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.requests: list[str] = []
        self.writer = ""


class _Handler(BaseHTTPRequestHandler):
    server: _Scripted

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = self.server
        server.requests.append(f"{self.command} {self.path}")
        put = self.command == "PUT"
        status = server.script.pop(0) if server.script and put else 200
        if put and status in {200, WRITTEN_UNANSWERED}:
            server.writer = self.headers["x-amz-meta-writer"]
        if status in {UNANSWERED, WRITTEN_UNANSWERED}:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("ETag", '"0123"')
        self.send_header("x-amz-meta-writer", server.writer)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_GET = do_HEAD = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@contextmanager
def scripted_endpoint(*answers: int) -> Iterator[tuple[str, list[str]]]:
    """Serve PUTs with these HTTP statuses in turn, then 200, and remember the requests.

    It compares no ETag: every object has the ETag 0123 and the mark of the last writer.
    """
    server = _Scripted(list(answers))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        with environment(**mock_credentials()):
            yield f"http://127.0.0.1:{server.server_address[1]}", server.requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
