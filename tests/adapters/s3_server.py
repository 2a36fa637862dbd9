"""S3 servers for tests: one that keeps what it is given, and one that answers as it is told."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cd4ml.adapters.storage import S3Storage

CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)

# Answers of the scripted server that are no HTTP status.
UNANSWERED = 0
"""It closes the connection."""
WRITTEN_UNANSWERED = 1
"""It does what is asked and closes the connection."""
CUT = 2
"""It closes the connection in the middle of the body."""
LATE = 3
"""It refuses the condition, because it has carried out the attempt before only now."""
Answer = int | tuple[int, str]
"""An HTTP status, perhaps with an error code of S3."""


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
    """Serve moto on loopback, one request at a time: its conditional PUT looks first and writes later."""
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    moto, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def one_at_a_time(environ: dict[str, Any], start: Any) -> list[bytes]:
        with lock:
            return [b"".join(moto(environ, start))]

    server = make_server("127.0.0.1", 0, one_at_a_time, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def mock_credentials() -> dict[str, str | None]:
    return dict.fromkeys(CREDENTIALS) | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret"}


def new_bucket(endpoint: str) -> S3Storage:
    storage = S3Storage(f"test-{uuid.uuid4().hex[:12]}", "some/prefix", endpoint)
    storage._client.make_bucket(storage.bucket)
    return storage


class _Scripted(ThreadingHTTPServer):
    def __init__(self, script: list[Answer], method: str, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script, self.method, self.body = script, method, body
        self.requests: list[str] = []
        self.writer = ""


class _Handler(BaseHTTPRequestHandler):
    server: _Scripted

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = self.server
        server.requests.append(f"{self.command} {self.path}")
        scripted = self.command == server.method and server.script
        answer = server.script.pop(0) if scripted else 200
        if self.command == "PUT" and answer in {200, WRITTEN_UNANSWERED, LATE}:
            server.writer = self.headers["x-amz-meta-writer"] or ""
        if answer in {UNANSWERED, WRITTEN_UNANSWERED}:
            self.close_connection = True
            return
        status, code = answer if isinstance(answer, tuple) else (412 if answer == LATE else answer, "")
        body = f"<Error><Code>{code}</Code></Error>".encode() if code else server.body
        self.send_response(200 if status == CUT else status)
        self.send_header("ETag", '"0123"')
        self.send_header("x-amz-meta-writer", server.writer)
        self.send_header("Content-Type", "application/xml" if code else "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if status == CUT else body)
        self.close_connection = self.close_connection or status == CUT

    do_PUT = do_GET = do_HEAD = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@contextmanager
def scripted_endpoint(
    *answers: Answer, method: str = "PUT", body: bytes = b""
) -> Iterator[tuple[str, list[str]]]:
    """Serve requests of one method with these answers in turn, then 200, and remember all requests.

    It compares no ETag: every object has the ETag 0123, the mark of the last writer and the same body.
    """
    server = _Scripted(list(answers), method, body)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        with environment(**mock_credentials()):
            yield f"http://127.0.0.1:{server.server_address[1]}", server.requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
