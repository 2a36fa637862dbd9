"""One connection of the HTTP server, with limits: uvicorn bounds neither heads nor pipelines nor waiting."""

from __future__ import annotations

from asyncio import Transport
from asyncio.events import TimerHandle
from typing import Any

import orjson
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HEAD_BYTES", "HEAD_SECONDS", "Connection"]

HEAD_BYTES = 65_536
"""Most bytes of a request's line and headers, or of what else comes between bodies: framing, trailers."""
HEAD_SECONDS = 30.0
"""Longest time without a whole head; also for the rest of a body that was refused to arrive."""
_MOST_WAITING = 256
_PHRASES = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


class Connection(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 on httptools that refuses what is too large, too slow or no HTTP, in JSON.

    A request that is answered before its body came (too large a body) does not end the connection: the rest
    is read and dropped for as long as `head_seconds`, so that a client that only listens once it has sent
    everything reads the refusal and no reset.

    Parameters
    ----------
    head_bytes : int
        See `HEAD_BYTES`.
    head_seconds : float
        See `HEAD_SECONDS`.
    """

    def __init__(
        self, *args: Any, head_bytes: int = HEAD_BYTES, head_seconds: float = HEAD_SECONDS, **named: Any
    ) -> None:
        super().__init__(*args, **named)
        # A request to change protocols is answered in this one.
        self.ws_protocol_class = None
        self._head_bytes = head_bytes
        self._head_seconds = head_seconds
        self._bytes_between = 0
        self._bytes_read = 0
        self._over = False
        self._timer: TimerHandle | None = None
        self._refusal = (400, "", "no HTTP/1.1", "an HTTP/1.1 request")

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin, with a time limit for the first head."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; refuse where too many of them are no body."""
        if self._over or self.transport.is_closing():
            return
        self._bytes_read = len(data)
        self._bytes_between += self._bytes_read
        super().data_received(data)
        if self._bytes_between > self._head_bytes and not self.transport.is_closing():
            self._too_large()
            self.send_400_response("")
        elif self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._arm()

    def on_headers_complete(self) -> None:
        """Begin a request whose head is within limits."""
        # Only a head that came in many bytes, some of them perhaps before, can be too large: look closer.
        if self._bytes_between + self._bytes_read > self._head_bytes:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self._head_bytes:
                self._too_large()
                raise ValueError("the head is too large")
        if len(self.pipeline) >= _MOST_WAITING:
            self._refusal = (400, "", f"{_MOST_WAITING} requests that wait", "answers read meanwhile")
            raise ValueError("too many requests at once")
        self._bytes_between = 0
        self._disarm()
        super().on_headers_complete()
        if self.expect_100_continue:
            # Once refused, the client need not send the body, and the next request could not be told from it.
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._bytes_between = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request's body."""
        self._bytes_between = 0
        self._disarm()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse as JSON what never became a request, and end the connection."""
        self._over = True
        self._disarm()
        if self.cycle is not None and not (self.cycle.response_complete or self.cycle.more_body):
            # Requests before it are still to be answered, and the next bytes would be taken for their answer.
            self.cycle.keep_alive = False
            return
        status, field, found, allowed = self._refusal
        text = f"{field or 'request'}: expected {allowed}; found {found}"
        body = orjson.dumps({"error": text, "field": field, "found": found, "allowed": allowed})
        head = (
            f"HTTP/1.1 {status} {_PHRASES[status]}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()

    def _too_large(self) -> None:
        allowed = f"a request line and headers of at most {self._head_bytes} bytes"
        self._refusal = (431, "", "more", allowed)

    def _arm(self) -> None:
        self._timer = self.loop.call_later(self._head_seconds, self._late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._bytes_between == 0 or (self.cycle is not None and not self.cycle.response_complete):
            self.transport.close()  # nothing was asked, or it was answered and its body never ended
            return
        self._refusal = (408, "", "a part of a head", f"a whole head within {self._head_seconds:g} s")
        self.send_400_response("")


class _Flow(FlowControl):
    """Does not read on while requests wait for the one before them: their number would have no bound."""

    def __init__(self, transport: Transport, connection: Connection) -> None:
        super().__init__(transport)
        self._connection = connection

    def resume_reading(self) -> None:
        """Read on, if nothing waits."""
        if not self._connection.pipeline:
            super().resume_reading()
