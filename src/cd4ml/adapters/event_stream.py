"""A reader of Server-Sent Events over HTTP, with nothing but the standard library.

References
----------
WHATWG, HTML Living Standard, section 9.2, "Server-sent events".
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from types import TracebackType
from urllib.parse import urlsplit

from cd4ml.errors import ServiceError, UsageError

__all__ = ["EventStream", "StreamEvent"]

_LINE_BYTES = 1 << 16
_OK = 200


@dataclass(frozen=True)
class StreamEvent:
    """One event: where to go on after it, its kind and what it says."""

    id: str
    kind: str
    data: str


class EventStream:
    """One connection to a stream of events.

    Parameters
    ----------
    url : str
        http://host:port/path or https://...
    last_id : str
        The id of the last event that was received; "" for none.
    connect_seconds, silence_seconds : float
        How long to wait for the connection, and at most between two lines: heartbeats are lines.

    Raises
    ------
    UsageError
        If the address is not one of HTTP.
    """

    def __init__(
        self, url: str, last_id: str = "", connect_seconds: float = 5.0, silence_seconds: float = 45.0
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"the address of an event stream is http://host:port; found '{url}'")
        self._url, self._last_id, self._silence_seconds = url, last_id, silence_seconds
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        make = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = make(parts.hostname, parts.port, timeout=connect_seconds)
        self._socket: socket.socket | None = None
        self._response: HTTPResponse | None = None

    def __enter__(self) -> EventStream:
        """Connect.

        Raises
        ------
        ServiceError
            If nobody answers, or not with a stream of events.
        """
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
        if self._last_id:
            headers["Last-Event-ID"] = self._last_id
        try:
            self._connection.connect()
            self._socket = self._connection.sock
            self._connection.request("GET", self._path, headers=headers)
            response = self._response = self._connection.getresponse()
            self._socket.settimeout(self._silence_seconds)
        except (OSError, HTTPException) as error:
            self.close()
            raise self._broken(error) from error
        kind = response.headers.get_content_type()
        if response.status != _OK or kind != "text/event-stream":
            self.close()
            raise ServiceError(
                f"expected a stream of events from {self._url}; found {response.status} ({kind})"
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self._response is not None:
            self._response.close()
        self._connection.close()

    def __iter__(self) -> Iterator[StreamEvent]:
        """Yield the events until the stream ends.

        Raises
        ------
        ServiceError
            If the connection breaks, is silent for too long, or sends a line without an end.
        """
        kind, data = "message", list[str]()
        for line in self._lines():
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if data:
                    yield StreamEvent(self._last_id, kind, "\n".join(data))
                kind, data = "message", []
            elif name == "data":
                data.append(value)
            elif name == "event":
                kind = value
            elif name == "id" and "\0" not in value:
                self._last_id = value

    def close(self) -> None:
        """End the connection, also while another thread reads from it."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _lines(self) -> Iterator[str]:
        response = self._response
        while response is not None:
            try:
                line = response.readline(_LINE_BYTES)
            except (OSError, HTTPException, ValueError) as error:
                raise self._broken(error) from error
            if not line:
                return
            if not line.endswith(b"\n"):
                raise ServiceError(f"expected lines of events from {self._url}; found one without an end")
            yield line.rstrip(b"\r\n").decode("utf-8", "replace")

    def _broken(self, error: Exception) -> ServiceError:
        why = str(error) or type(error).__name__
        return ServiceError(f"expected a stream of events from {self._url}; found none ({why})")
