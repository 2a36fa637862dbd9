"""KServe's ModelServer around bundles: its processes, what each of them sets up, and how they end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from kserve import ModelServer
from kserve.protocol.rest.multiprocess.server import RESTServerMultiProcess, RESTServerProcess
from kserve.protocol.rest.server import RESTServer

from cd4ml.adapters.served_file import ServedFile
from cd4ml.serving.connection import HEAD_SECONDS, Connection
from cd4ml.serving.edges import Edge, add_error_handlers
from cd4ml.serving.explain import explain_routes
from cd4ml.serving.following import Follower
from cd4ml.serving.logs import RequestIds, log_as_json
from cd4ml.serving.predictor import BundlePredictor
from cd4ml.serving.recording import Recorder
from cd4ml.serving.routes import build_routes
from cd4ml.serving.telemetry import forget_counts
from cd4ml.serving.work import Capacity

__all__ = ["Server", "Settings"]

_LOG = logging.getLogger("cd4ml.serving")
_LOOK_SECONDS = 1.0
_BEGIN_SECONDS = 300.0
"""A worker that imports on a busy machine is silent for long; KServe ends it after five seconds, for ever."""


@dataclass(frozen=True)
class Settings:
    """How a server serves; it goes to each worker.

    Attributes
    ----------
    host : str
        Address to listen on.
    workers : int
        Processes; each loads and verifies the bundle.
    grace_seconds : int
        How long requests under way are waited for at the end.
    head_seconds : float
        Longest time for the head of a request to arrive.
    follow : Path or None
        File that says what to serve.
    events : Path or None
        Folder of prediction events.
    access_log : bool
        Whether each prediction is a line of the log.
    hung_seconds : float
        A worker that is silent to its parent for so long is ended, once it has begun.
    """

    host: str = "127.0.0.1"
    http_port: int = 8080
    workers: int = 1
    grace_seconds: int = 30
    head_seconds: float = HEAD_SECONDS
    capacity: Capacity = field(default_factory=Capacity)
    follow: Path | None = None
    events: Path | None = None
    access_log: bool = False
    hung_seconds: float = 30.0


class _Worker:
    """What one process that answers needs beside its routes."""

    def __init__(self, settings: Settings, model: BundlePredictor) -> None:
        self._follower: Follower | None = None
        if settings.follow is not None:
            self._follower = Follower(ServedFile(settings.follow), model)
            # Before anything is made of the version: a worker that starts again takes the newest one.
            self._follower.look()
        self.recorder = Recorder(model, settings.events, settings.access_log)
        if self._follower is not None:
            self._follower.start(self.recorder.serves)

    def close(self) -> None:
        """Write what waits, and take the report away."""
        if self._follower is not None:
            self._follower.stop()
        self.recorder.close()


class _Rest(RESTServer):  # type: ignore[misc]
    """KServe's HTTP server with the routes of bundles before its own, in each process that answers."""

    settings: Settings
    parent: int
    worker: _Worker | None = None

    def _register_endpoints(self, app: Any) -> None:
        models = {
            name: model
            for name, model in self.dataplane.model_registry.get_models().items()
            if isinstance(model, BundlePredictor)
        }
        self.worker = _Worker(self.settings, next(iter(models.values())))
        ours = build_routes(models, [self.worker.recorder], self.settings.capacity)
        ours += explain_routes(models)
        app.router.routes[0:0] = [*ours, Edge(ours)]
        super()._register_endpoints(app)

    def _add_middlewares(self, app: Any) -> None:
        # KServe's own times each request for a log line that nobody asked for; /metrics has the times.
        app.add_middleware(RequestIds)

    def _add_exception_handlers(self, app: Any) -> None:
        super()._add_exception_handlers(app)
        add_error_handlers(app, sorted(self.dataplane.model_registry.get_models()))

    async def start(self) -> None:
        """Answer in this process, until it is told to stop."""
        try:
            await super().start()
        finally:
            self._close()

    def run(self, sockets: Any = None) -> None:
        """Answer as one of several workers, until it is told to stop."""
        log_as_json()  # a worker that is started again comes with KServe's own lines
        # uvicorn raises the signal again once it has stopped, when what waits is still to be written; and one
        # that comes before uvicorn listens to signals must not be lost.
        signal.signal(signal.SIGTERM, lambda *_: self._end())
        threading.Thread(target=self._end_with_parent, daemon=True).start()
        try:
            super().run(sockets)
        finally:
            self._close()

    def _end_with_parent(self) -> None:
        """Stop once nobody looks after this worker: it would hold the port of the next server."""
        while os.getppid() == self.parent:
            time.sleep(_LOOK_SECONDS)
        _LOG.error("the server's first process has ended; this worker ends too")
        forget_counts()
        self._end()

    def _end(self) -> None:
        self._server.should_exit = True

    def _close(self) -> None:
        if self.worker is not None:
            self.worker.close()


class _Several(RESTServerMultiProcess):  # type: ignore[misc]
    """KServe's parent of workers, with more patience and without waiting in its loop."""

    asked: dict[int, float]
    begun: set[int]

    async def keep_subprocess_alive(self, sockets: Any) -> None:
        """Start again what has ended, and end what hangs."""
        for place, process in enumerate(self._processes):
            if self.should_exit.is_set():
                return
            if process._process.is_alive() and not self._hangs(process):
                continue
            process.kill()
            await process.wait_for_termination()
            self.asked.pop(process.pid, None)
            self.begun.discard(process.pid)
            _LOG.error("worker %s ended with %s", process.pid, process._process.exitcode)
            self._processes[place] = RESTServerProcess(sockets, self._rest_server.run)
            self._processes[place].start()

    def _hangs(self, process: RESTServerProcess) -> bool:
        connection, now = process._parent_conn, time.monotonic()
        if process.pid not in self.asked:
            connection.send(b"ping")
            self.asked[process.pid] = now
        elif connection.poll(0):
            connection.recv()
            del self.asked[process.pid]
            self.begun.add(process.pid)
        begun = process.pid in self.begun
        patience: float = self._rest_server.settings.hung_seconds if begun else _BEGIN_SECONDS
        return now - self.asked.get(process.pid, now) > patience


class Server(ModelServer):  # type: ignore[misc]
    """KServe's ModelServer for one bundle.

    Parameters
    ----------
    settings : Settings
        How it serves.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            http_port=settings.http_port,
            workers=settings.workers,
            enable_grpc=False,
            enable_latency_logging=False,
            grace_period=settings.grace_seconds,
        )
        self._settings = settings

    async def _serve(self) -> None:
        # KServe makes its HTTP server in start() and takes no other: it is fitted before it begins here.
        several = self._rest_multiprocess_server
        rest = several._rest_server if several else self._rest_server
        rest.__class__ = _Rest
        rest.settings = self._settings
        rest.parent = os.getpid()
        rest.config.host = self._settings.host
        rest.config.access_log = False
        rest.config.http = partial(Connection, head_seconds=self._settings.head_seconds)
        if several:
            several.__class__ = _Several
            several.asked, several.begun = {}, set()
            for model in self.registered_models.get_models().values():
                model.release()  # the workers have their own
        await asyncio.gather(*self.servers)
