"""An HTTP proxy on loopback that passes requests on to a real server, and harms those that it is told to.

A fault is a function of the exchange; it decides what of the request arrives and what of the answer comes
back. Without a fault every byte passes as it is, so that signatures hold.
"""

from __future__ import annotations

import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

__all__ = [
    "Answer",
    "Exchange",
    "Fault",
    "FaultProxy",
    "alter_answer",
    "answering",
    "cut_answer",
    "cut_request",
    "fault_proxy",
    "lose_answer",
    "lose_request",
    "silent_after",
    "silent_before",
    "skewed",
    "trickle",
]


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class Exchange(BaseHTTPRequestHandler):
    """One request, and what a fault may do with it."""

    server: _Server
    protocol_version = "HTTP/1.1"

    def handle_request(self) -> None:
        with suppress(OSError, HTTPException):  # a client, or a server, that goes away is what is tested here
            fault = self.server.proxy._fault(self.command, self.path)
            if fault:
                fault(self)
            else:
                self.reply(self.forward())

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = handle_request

    @property
    def length(self) -> int:
        """Bytes of the request's body."""
        return int(self.headers.get("Content-Length") or 0)

    def body(self) -> bytes:
        """Read the request's body."""
        return self.rfile.read(self.length)

    def forward(self, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """Pass the request on, perhaps changed, and return the answer."""
        sent = self.body() if body is None else body
        with self._connected() as connection:
            self._send_head(connection, headers or dict(self.headers.items()))
            connection.send(sent)
            found = connection.getresponse()
            return Answer(found.status, tuple(found.getheaders()), found.read())

    def forward_half(self) -> None:
        """Pass on the head and half of the body, and hang up there."""
        with self._connected() as connection:
            self._send_head(connection, dict(self.headers.items()))
            connection.send(self.rfile.read(self.length // 2))

    def reply(self, answer: Answer, sent_bytes: int | None = None, pause_seconds: float = 0.0) -> None:
        """Give an answer, or only the first bytes of its body; in ten pieces when a pause is given."""
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            if name.lower() not in {"connection", "content-length", "transfer-encoding"}:
                self.send_header(name, value)
        promised = dict(answer.headers).get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", promised or str(len(answer.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        body = answer.body[:sent_bytes]
        step = max(1, len(body) // 10) if pause_seconds else max(1, len(body))
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            time.sleep(pause_seconds)

    def hang_up(self) -> None:
        """Break the connection to the client, as a cable that is pulled does."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def wait(self, seconds: float) -> None:
        """Do nothing for some time, but not longer than the proxy runs."""
        self.server.proxy.stopping.wait(seconds)

    @contextmanager
    def _connected(self) -> Iterator[HTTPConnection]:
        parts = urlsplit(self.server.proxy.upstream)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=30)
        try:
            yield connection
        finally:
            connection.close()

    def _send_head(self, connection: HTTPConnection, headers: dict[str, str]) -> None:
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


Fault = Callable[[Exchange], None]


@dataclass
class _Rule:
    fault: Fault
    method: str
    path: re.Pattern[str]
    skip: int
    times: int


class FaultProxy:
    """The proxy as a test sees it.

    Attributes
    ----------
    endpoint : str
        Where it listens.
    requests : list of str
        "METHOD path" of all that came, in their order.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.endpoint = ""
        self.requests: list[str] = []
        self.errors: list[BaseException | None] = []
        self.stopping = threading.Event()
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()

    def on(self, method: str, path: str, fault: Fault, times: int = 1, skip: int = 0) -> None:
        """Harm the next `times` requests of a method ("" any) whose path has `path`, after `skip` of them."""
        with self._lock:
            self._rules.append(_Rule(fault, method, re.compile(path), skip, times))

    def heal(self) -> None:
        """Harm nothing more."""
        with self._lock:
            self._rules.clear()

    def count(self, method: str, path: str) -> int:
        """Return how many requests of a method came whose path has `path`."""
        return sum(one.startswith(f"{method} ") and bool(re.search(path, one)) for one in self.requests)

    def _fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.requests.append(f"{method} {path}")
            for rule in self._rules:
                if rule.times <= 0 or rule.method not in {"", method} or not rule.path.search(path):
                    continue
                if rule.skip > 0:
                    rule.skip -= 1
                    continue
                rule.times -= 1
                return rule.fault
        return None


class _Server(ThreadingHTTPServer):
    def __init__(self, proxy: FaultProxy) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.proxy = proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep what went wrong in a fault itself, for the test to fail with."""
        self.proxy.errors.append(sys.exception())


@contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """Serve as a proxy of `upstream` on loopback."""
    proxy = FaultProxy(upstream)
    server = _Server(proxy)
    proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()
    assert not proxy.errors, proxy.errors


def answering(status: int, code: str = "", **headers: str) -> Fault:
    """Answer in the server's place: with an error code of S3, or without as a gateway does."""
    told = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    kind = "application/xml" if code else "text/html"
    body = f"<Error><Code>{code}</Code></Error>" if code else "<h1>a gateway</h1>"

    def fault(exchange: Exchange) -> None:
        exchange.body()
        exchange.reply(Answer(status, (("Content-Type", kind), *told), body.encode()))

    return fault


def cut_request(exchange: Exchange) -> None:
    """Half of the request's body arrives; then both connections break."""
    exchange.forward_half()
    exchange.hang_up()


def lose_request(exchange: Exchange) -> None:
    """Nothing arrives, and the connection breaks."""
    exchange.hang_up()


def lose_answer(exchange: Exchange) -> None:
    """The request is carried out, and the connection breaks before the answer."""
    exchange.forward()
    exchange.hang_up()


def cut_answer(exchange: Exchange) -> None:
    """The connection breaks in the middle of the answer's body."""
    answer = exchange.forward()
    exchange.reply(answer, sent_bytes=len(answer.body) // 2)
    exchange.hang_up()


def silent_before(seconds: float) -> Fault:
    """Nothing arrives, and no answer comes for some time."""

    def fault(exchange: Exchange) -> None:
        exchange.wait(seconds)
        exchange.hang_up()

    return fault


def silent_after(seconds: float) -> Fault:
    """The request is carried out, and no answer comes for some time."""

    def fault(exchange: Exchange) -> None:
        exchange.forward()
        exchange.wait(seconds)
        exchange.hang_up()

    return fault


def trickle(pause_seconds: float) -> Fault:
    """The answer comes whole, in ten pieces with a pause behind each."""
    return lambda exchange: exchange.reply(exchange.forward(), pause_seconds=pause_seconds)


def alter_answer(change: Callable[[bytes], bytes]) -> Fault:
    """The answer's body is another one, of which its length tells nothing."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.forward()
        exchange.reply(replace(answer, body=change(answer.body)))

    return fault


def skewed(ahead_seconds: float, access_key: str, secret_key: str, region: str = "us-east-1") -> Fault:
    """Sign the request anew as a client does whose clock is ahead, and let the answer's date look so too."""
    from minio.credentials import Credentials
    from minio.signer import sign_v4_s3

    ahead = timedelta(seconds=ahead_seconds)

    def fault(exchange: Exchange) -> None:
        unsigned = {"authorization", "accept-encoding", "content-length", "user-agent", "x-amz-date"}
        headers = {name: value for name, value in exchange.headers.items() if name.lower() not in unsigned}
        now = datetime.now(UTC) + ahead
        headers["x-amz-date"] = now.strftime("%Y%m%dT%H%M%SZ")
        url = urlsplit(f"http://{exchange.headers['Host']}{exchange.path}")
        digest = exchange.headers["x-amz-content-sha256"]
        keys = Credentials(access_key, secret_key)
        signed = sign_v4_s3(
            method=exchange.command,
            url=url,
            region=region,
            headers=headers,
            credentials=keys,
            content_sha256=digest,
            date=now,
        )
        answer = exchange.forward(headers={**signed, "Content-Length": str(exchange.length)})
        shifted = tuple(
            (name, _earlier(value, ahead) if name == "Date" else value) for name, value in answer.headers
        )
        exchange.reply(replace(answer, headers=shifted))

    return fault


def _earlier(date: str, by: timedelta) -> str:
    return format_datetime((parsedate_to_datetime(date) - by).astimezone(UTC), usegmt=True)
