"""HTTP/1.1 around the API: bodies, warnings, watches as chunked streams, and ordered faults."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

from tests.kubernetes.standin.answers import Refused
from tests.kubernetes.standin.api import Api, Watch
from tests.kubernetes.standin.faults import Call, Fault, Faults
from tests.kubernetes.standin.store import Event
from tests.kubernetes.standin.writes import Answer

__all__ = ["HttpServer"]

_LOOK_SECONDS = 0.5


class HttpServer(ThreadingHTTPServer):
    """The server on a free port of the loopback; `calls` holds every call in the order of arrival."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, api: Api) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = api
        self.faults = Faults()
        self.calls: list[Call] = []
        self.bookmark_seconds = 60.0
        self.stopping = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hung up is no error of the server."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: HttpServer

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: the calls are kept in `calls`."""

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _serve(self) -> None:
        call, error = self._call()
        self.server.calls.append(call)
        fault = self.server.faults.take(call) or Fault(times=0)
        if fault.drop:
            self.close_connection = True
            return
        if fault.wait_seconds:
            time.sleep(fault.wait_seconds)
        answer = Answer(int(fault.answer["code"]), fault.answer) if fault.answer else error or self._ask(call)
        if fault.lose_answer:
            self.close_connection = True
            return
        try:
            if isinstance(answer, Watch):
                call.code = 200
                self._stream(answer)
            else:
                call.code = answer.code
                self._answer(answer)
        except ConnectionError:
            self.close_connection = True

    def _call(self) -> tuple[Call, Answer | None]:
        url = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content_type = (self.headers.get("Content-Type") or "application/json").split(";")[0].strip()
        params = dict(parse_qsl(url.query, keep_blank_values=True))
        call = Call(self.command, url.path, params, content_type, self.headers.get("User-Agent", "unknown"))
        try:
            call.body = _read(raw, content_type)
        except (ValueError, yaml.YAMLError) as error:
            message = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
            details = {"message": f"error decoding body: {error}", "reason": "BadRequest", "code": 400}
            return call, Answer(400, message | details)
        return call, None

    def _ask(self, call: Call) -> Answer | Watch:
        try:
            return self.server.api.handle(call)
        except Refused as refused:
            return Answer(refused.code, refused.body)

    def _answer(self, answer: Answer) -> None:
        body = json.dumps(answer.body).encode() + b"\n"
        self.send_response(answer.code)
        self.send_header("Content-Type", "application/json")
        for text in answer.warnings:
            self.send_header("Warning", f"299 - {json.dumps(text)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, watch: Watch) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in _events(self.server, watch):
            line = json.dumps(event).encode() + b"\n"
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")


def _read(raw: bytes, content_type: str) -> Any:
    if not raw:
        return None
    if content_type.endswith("yaml"):
        try:
            return json.loads(raw)
        except ValueError:
            return yaml.load(raw, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return json.loads(raw)


def _events(server: HttpServer, watch: Watch) -> Iterator[dict[str, Any]]:
    """What a watch sees until its time is over; 410 as an event when its start is forgotten."""
    store, key = server.api.store, watch.kind.store_key
    end = time.monotonic() + watch.timeout_seconds
    shown = _shower(watch)
    with store.lock:
        seen = store.version if watch.start is None else watch.start
        present = store.all(key, watch.namespace) if watch.start is None else []
    for document in present:
        if watch.chosen(document):
            yield {"type": "ADDED", "object": document | {"apiVersion": watch.kind.api_version}}
    next_bookmark = time.monotonic() + server.bookmark_seconds
    while True:
        try:
            events = store.events_after(key, seen)
        except Refused as refused:
            yield {"type": "ERROR", "object": refused.body}
            return
        for event in events:
            seen = event.version
            told = shown(event)
            if told:
                yield told
        left = end - time.monotonic()
        if server.stopping or left <= 0:
            break
        if time.monotonic() >= next_bookmark and watch.bookmarks:
            next_bookmark = time.monotonic() + server.bookmark_seconds
            yield _bookmark(watch, store.version)
        seen = _rest(server, key, seen, min(left, _LOOK_SECONDS))
    if watch.bookmarks:
        yield _bookmark(watch, store.version)


def _rest(server: HttpServer, key: tuple[str, str], seen: int, seconds: float) -> int:
    """Wait for a write. Return up to which version nothing happened to this kind."""
    store = server.api.store
    store.wait(lambda: store.version > seen or server.stopping, seconds)
    with store.lock:
        return store.version if store.is_quiet(key, seen) else seen


def _bookmark(watch: Watch, version: int) -> dict[str, Any]:
    metadata = {"resourceVersion": str(version)}
    document = {"apiVersion": watch.kind.api_version, "kind": watch.kind.kind, "metadata": metadata}
    return {"type": "BOOKMARK", "object": document}


def _shower(watch: Watch) -> Callable[[Event], dict[str, Any] | None]:
    """An object that comes into the selection is added for the watcher, one that leaves it is deleted."""

    def shown(event: Event) -> dict[str, Any] | None:
        document = event.document
        if watch.namespace and document["metadata"].get("namespace") != watch.namespace:
            return None
        was = event.before is not None and watch.chosen(event.before)
        is_in = event.kind != "DELETED" and watch.chosen(document)
        if not was and not is_in:
            return None
        kind = "MODIFIED" if was and is_in else "ADDED" if is_in else "DELETED"
        return {"type": kind, "object": document | {"apiVersion": watch.kind.api_version}}

    return shown
