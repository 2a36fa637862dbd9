"""The registry's events over HTTP: Server-Sent Events, read-only, for consumers of models.

`GET /models/NAME/events` answers with a stream. It begins with an event `state`, which says where the
registry is, or, after a `Last-Event-ID` or with `?since=CURSOR`, with what happened since. Then come
`version` and `alias` events as they happen, and heartbeats between them. The id of each event is the cursor
after it: who comes back with the last one that he has seen misses nothing and gets nothing twice.

All subscribers of a model share one look at the store. There are no queues: each subscriber reads the shared
feed from his own cursor, so a slow one costs no memory; one who takes nothing for `stall_seconds` is cut off.

References
----------
WHATWG, HTML Living Standard, section 9.2, "Server-sent events".
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from cd4ml.adapters.registry import Registry
from cd4ml.adapters.registry_events import BATCH, Cursor, ModelFeed, RegistryEvent
from cd4ml.errors import Cd4mlError, ServiceError, UsageError

__all__ = ["RegistryStream", "StreamLimits", "listening_socket", "serve_events"]

_LOG = logging.getLogger("cd4ml.events")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_PATIENCE = 3
"""So many looks at the store may fail in a row before subscribers are sent away."""
_RETRY_SECONDS = 5
_BUFFER_BYTES = 1 << 16


@dataclass(frozen=True)
class StreamLimits:
    """What a stream may cost.

    Attributes
    ----------
    poll_seconds : float
        Between two looks at the store, for each model that somebody listens to.
    heartbeat_seconds : float
        A comment is sent after so long without an event.
    stall_seconds : float
        A subscriber who takes nothing for so long is cut off.
    subscribers : int
        At most, of all models; others get 503.
    """

    poll_seconds: float = 1.0
    heartbeat_seconds: float = 15.0
    stall_seconds: float = 30.0
    subscribers: int = 1000


@dataclass
class _Channel:
    """One model that somebody listens to."""

    feed: ModelFeed
    subscribers: int = 0
    failures: int = 0
    looked: float = 0.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Let all who wait look at the feed."""
        self.changed.set()
        self.changed = asyncio.Event()


class RegistryStream:
    """The service; `app` is its ASGI application.

    Parameters
    ----------
    registry : Registry
        Only read.
    """

    def __init__(self, registry: Registry, limits: StreamLimits | None = None) -> None:
        self._registry, self.limits = registry, limits or StreamLimits()
        self._channels: dict[str, _Channel] = {}
        self._closing = False
        self.dropped = 0
        routes = [Route("/models/{name}/events", self._events), Route("/healthz", self._health)]
        self.app = Starlette(routes=routes)

    @property
    def subscribers(self) -> int:
        """How many listen now."""
        return sum(channel.subscribers for channel in self._channels.values())

    def close(self) -> None:
        """End all streams; to be called in the event loop."""
        self._closing = True
        for channel in self._channels.values():
            channel.wake()

    async def _health(self, request: Request) -> Response:
        now = time.monotonic()
        models = {
            name: {"stale_seconds": round(now - one.looked, 3), "subscribers": one.subscribers}
            for name, one in sorted(self._channels.items())
        }
        sound = all(channel.failures < _PATIENCE for channel in self._channels.values())
        body = {"dropped": self.dropped, "models": models, "subscribers": self.subscribers}
        return JSONResponse(body, 200 if sound else 503)

    async def _events(self, request: Request) -> Response:
        name = request.path_params["name"]
        since = request.headers.get("last-event-id") or request.query_params.get("since")
        try:
            cursor = Cursor.parse(since) if since else None
        except UsageError as error:
            return _refusal(400, error)
        try:
            channel = await self._channel(name)
        except UsageError as error:
            return _refusal(404, error)
        except Cd4mlError as error:
            return _refusal(503, error)
        if self._closing or self.subscribers >= self.limits.subscribers:
            return _refusal(503, ServiceError(f"{self.subscribers} listen already; try again later"))
        return _Subscription(self, name, channel, cursor)

    async def _channel(self, name: str) -> _Channel:
        """Return the channel of a model; the first look at the store is made here."""
        if not _NAME.fullmatch(name):
            raise UsageError("a model's name is letters, digits, '.', '_' and '-'")
        if name in self._channels:
            channel = self._channels[name]
            if channel.failures >= _PATIENCE:
                raise ServiceError("the store cannot be read now; try again later")
            return channel
        feed = ModelFeed(self._registry, name)
        await asyncio.to_thread(feed.poll)
        feed.resolve("latest")
        return self._channels.setdefault(name, _Channel(feed, looked=time.monotonic()))

    @contextlib.asynccontextmanager
    async def subscribed(self, name: str, channel: _Channel) -> AsyncIterator[_Channel]:
        """Look at the store as long as somebody listens."""
        channel = self._channels.setdefault(name, channel)
        channel.subscribers += 1
        if channel.task is None:
            channel.task = asyncio.create_task(self._watch(channel))
        try:
            yield channel
        finally:
            channel.subscribers -= 1
            if not channel.subscribers:
                channel.task.cancel()
                channel.task = None
                self._channels.pop(name, None)

    async def _watch(self, channel: _Channel) -> None:
        while not self._closing:
            try:
                changed = await asyncio.to_thread(channel.feed.poll)
            except Exception as error:
                channel.failures += 1
                if channel.failures == _PATIENCE:
                    _LOG.warning("subscribers of '%s' are sent away: %s", channel.feed.name, error)
                    channel.wake()
            else:
                channel.failures, channel.looked = 0, time.monotonic()
                if changed:
                    channel.wake()
            await asyncio.sleep(self.limits.poll_seconds)

    def ended(self, channel: _Channel) -> bool:
        """Tell whether a stream has to end: we stop, or the store cannot be read for too long."""
        return self._closing or channel.failures >= _PATIENCE


class _Subscription(Response):
    """One subscriber's stream, from a cursor to the end of the connection."""

    media_type = "text/event-stream"

    def __init__(self, stream: RegistryStream, name: str, channel: _Channel, cursor: Cursor | None) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._stream, self._name, self._channel, self._cursor = stream, name, channel, cursor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the subscriber goes, stalls, or the service ends."""

        async def write(text: str, more: bool = True) -> None:
            message = {"type": "http.response.body", "body": text.encode(), "more_body": more}
            await asyncio.wait_for(send(message), self._stream.limits.stall_seconds)

        async with self._stream.subscribed(self._name, self._channel) as channel:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            gone = asyncio.create_task(_disconnected(receive))
            sending = asyncio.create_task(self._send(channel, write))
            try:
                await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()
                    await write("", more=False)
            except TimeoutError:
                self._stream.dropped += 1
                _LOG.warning("a subscriber of '%s' took nothing and was cut off", self._name)
            finally:
                gone.cancel()
                sending.cancel()

    async def _send(self, channel: _Channel, write: Callable[..., Any]) -> None:
        feed, limits, cursor = channel.feed, self._stream.limits, self._cursor
        await write(f"retry: {_RETRY_SECONDS * 1000}\n\n")
        while not self._stream.ended(channel):
            changed = channel.changed  # before the feed is read: what comes meanwhile sets this one
            if cursor is None:
                cursor = feed.cursor
                await write(_state(feed, cursor))
            try:
                events = await asyncio.to_thread(feed.since, cursor)
            except UsageError:
                cursor = None  # ahead of a registry that was restored
                continue
            except Cd4mlError as error:
                _LOG.warning("the events of '%s' cannot be read: %s", self._name, error)
                return
            if events:
                await write("".join(map(_event, events)))
                cursor = events[-1].cursor
            if len(events) == BATCH:
                continue
            try:
                await asyncio.wait_for(changed.wait(), limits.heartbeat_seconds)
            except TimeoutError:
                await write(": still here\n\n")


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(event: RegistryEvent) -> str:
    return _framed(str(event.cursor), event.kind, event.to_dict())


def _state(feed: ModelFeed, cursor: Cursor) -> str:
    told = {"aliases": feed.aliases, "cursor": str(cursor), "model": feed.name, "versions": cursor.versions}
    return _framed(str(cursor), "state", told)


def _framed(identity: str, kind: str, value: Mapping[str, Any]) -> str:
    return f"id: {identity}\nevent: {kind}\ndata: {json.dumps(value, sort_keys=True)}\n\n"


def _refusal(status: int, error: Exception) -> JSONResponse:
    headers = {"Retry-After": str(_RETRY_SECONDS)} if status == 503 else None
    return JSONResponse({"error": " ".join(str(error).split())}, status, headers)


class _Server(uvicorn.Server):
    """Uvicorn that ends the streams when it is told to stop; otherwise it would wait for them."""

    def __init__(self, config: uvicorn.Config, stream: RegistryStream) -> None:
        super().__init__(config)
        self._stream = stream

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._stream.close()
        await super().shutdown(sockets)


def listening_socket(
    host: str, port: int, stall_seconds: float = StreamLimits.stall_seconds
) -> socket.socket:
    """Return a socket that listens; port 0 chooses a free one.

    Raises
    ------
    UsageError
        If the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # so that what was sent to a stalled reader is let go
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stall_seconds * 1000))
        found.bind((host, port))
        found.listen(256)
    except OSError as error:
        found.close()
        raise UsageError(
            f"cannot listen on {host}:{port} ({error.strerror}); give another address"
        ) from error
    return found


def serve_events(registry: Registry, listener: socket.socket, limits: StreamLimits | None = None) -> None:
    """Serve the events until SIGTERM or Ctrl-C."""
    stream = RegistryStream(registry, limits)
    # What Uvicorn says of a subscriber who was cut off is nothing to act on.
    config = uvicorn.Config(
        stream.app, log_config=None, log_level="critical", access_log=False, timeout_graceful_shutdown=5
    )
    _Server(config, stream).run(sockets=[listener])
