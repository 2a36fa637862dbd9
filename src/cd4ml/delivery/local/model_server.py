"""One model server of a plane: started, watched, told what to serve, started again when it crashes."""

from __future__ import annotations

import http.client
import random
import socket
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cd4ml.adapters.processes import Child, describe_exit
from cd4ml.adapters.served_file import Desired, ServedFile
from cd4ml.delivery.local.reconcile import ServerState
from cd4ml.delivery.local.state import PlaneState
from cd4ml.delivery.plane import ObservedVariant, Variant
from cd4ml.errors import ServiceError

__all__ = ["Crashes", "ModelServer", "ServerSettings", "free_port"]

_PORTS = range(20_000, 32_000)
"""Below the ports that Linux gives to connections: nobody sits on one while its server starts again."""
_START_SECONDS = 120.0
_PROBE_SECONDS = 0.5
_LOOK_SECONDS = 5.0
_SILENT_SECONDS = 60.0
_STEADY_SECONDS = 30.0
_MOST_WAIT_SECONDS = 15.0
_LOG_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class ServerSettings:
    """How model servers are started.

    Attributes
    ----------
    options : tuple of str
        More options of `python -m cd4ml.serving.server`.
    """

    workers: int = 1
    grace_seconds: int = 30
    options: tuple[str, ...] = ()


@dataclass
class Crashes:
    """How often something crashed, and when it may be started again.

    The first time at once; then after 0.5 s, 1 s, 2 s ... 15 s, until it ran for 30 s.
    """

    count: int = 0
    last_exit: str = ""
    last_exit_at: str = ""
    next_start: float = 0.0
    _in_a_row: int = 0

    def add(self, code: int, ran_seconds: float, now: float) -> None:
        """Note one crash at `now` (monotonic seconds)."""
        self.count += 1
        self._in_a_row = 1 if ran_seconds >= _STEADY_SECONDS else self._in_a_row + 1
        wait = 0.0 if self._in_a_row == 1 else min(0.25 * 2.0 ** (self._in_a_row - 1), _MOST_WAIT_SECONDS)
        self.next_start = now + wait
        self.last_exit = describe_exit(code)
        self.last_exit_at = datetime.now(UTC).isoformat(timespec="seconds")


class ModelServer:
    """The server of one variant of one service."""

    def __init__(self, state: PlaneState, service: str, name: str, settings: ServerSettings) -> None:
        self.service, self.name, self.port = service, name, free_port()
        self.crashes = Crashes()
        self.child: Child | None = None
        self.joined = self.loaded = self.running = False
        self.error = self.version = self.bundle = ""
        self.unrouted_since: float | None = None
        self.in_flight = 0
        self._state, self._settings = state, settings
        self._file = ServedFile(state.served_file(service, name))
        self._generation = 0
        self._asked: Variant | None = None
        self._last_good: Variant | None = None
        self._started = self._answered = self._next_look = 0.0
        self._log_offset = 0

    @property
    def asked(self) -> Variant:
        """What it was told to serve."""
        assert self._asked is not None, "a server is asked before it is started"
        return self._asked

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self._state.logs / f"{self.service}.{self.name}.log"

    def ask(self, variant: Variant) -> None:
        """Tell it what to serve from now on."""
        if self._asked is None or self._asked.identity != variant.identity:
            self.loaded = False
            self.error = ""
        self._asked = variant
        self._generation += 1
        self._file.write(Desired(variant.location, variant.version, variant.history, self._generation))

    def tick(self, now: float) -> None:
        """Look after it: start it when its time has come, note a crash, see what it serves."""
        if self.child is None:
            if now >= self.crashes.next_start:
                self._start(now)
            return
        if (code := self.child.poll()) is not None:
            self._crashed(code, now)
            return
        self._probe(now)
        self._read_reports()

    def state(self, now: float) -> ServerState:
        """Return it as a value."""
        since = 0.0 if self.unrouted_since is None else now - self.unrouted_since
        return ServerState(
            self.name,
            self.asked,
            loaded=self.loaded,
            running=self.running,
            joined=self.joined,
            error=self.error,
            unrouted_seconds=since,
            in_flight=self.in_flight,
        )

    def observed(self) -> ObservedVariant:
        """Return it as others see it."""
        phase = "ready" if self.running else "waiting" if self.child is None else "starting"
        if self.unrouted_since is not None:
            phase = "draining"
        return ObservedVariant(
            self.name,
            self.asked.reference,
            self.version,
            self.bundle,
            phase,
            self.running and self.loaded,
            f"http://127.0.0.1:{self.port}",
            self.child.pid if self.child else 0,
            self.crashes.count,
            self.crashes.last_exit,
            self.crashes.last_exit_at,
            self.error,
        )

    def _start(self, now: float) -> None:
        if self.error and self._last_good is not None:
            # What it refused would keep it from starting at all.
            self.ask(self._last_good)
        for report in self._file.reports():
            self._file.forget(report.pid)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        self._log_offset = self.log.stat().st_size if self.log.exists() else 0
        self._started = self._answered = now
        self.child = Child(self._command(), self.log)

    def _command(self) -> list[str]:
        settings = self._settings
        return [
            *(sys.executable, "-m", "cd4ml.serving.server"),
            *("--follow", str(self._file.path)),
            *("--name", self.service),
            *("--variant", self.name),
            *("--http-port", str(self.port)),
            *("--workers", str(settings.workers)),
            *("--grace-seconds", str(settings.grace_seconds)),
            *("--events", str(self._state.events(self.service, self.name))),
            *settings.options,
        ]

    def _crashed(self, code: int, now: float) -> None:
        self.child, self.running = None, False
        self.crashes.add(code, now - self._started, now)
        said = _said_last(self.log, self._log_offset)
        if not self.joined or said:
            self.error = said or f"it ended with {self.crashes.last_exit}; see '{self.log}'"
        if not self.joined:
            self.port = free_port()  # the one it had may be somebody else's

    def _probe(self, now: float) -> None:
        if self.running and now < self._next_look:
            return
        answers = _answers(self.port, f"/v2/models/{self.service}/ready")
        # A slow probe costs its time-out each time: when it ran before, it is asked seldom.
        self._next_look = now + (_LOOK_SECONDS if self.running else 0.0)
        limit = _SILENT_SECONDS if self.joined else _START_SECONDS
        if answers:
            self._answered = now
            self.running = self.joined = True
        elif now - self._answered > limit and self.child is not None:
            self.child.kill()  # it lives and does not answer: what comes next is a crash as any other

    def _read_reports(self) -> None:
        if self.loaded and self.running and time.monotonic() < self._next_look - _LOOK_SECONDS / 2:
            return
        reports = self._file.reports()
        here = [report for report in reports if report.generation == self._generation]
        refused = next((report.error for report in here if report.error), "")
        if refused:
            self.error = refused
        elif here:
            self.version, self.bundle = here[0].version, here[0].bundle_id
            if len(here) == len(reports) >= self._settings.workers:
                self.loaded, self.error, self._last_good = True, "", self._asked


def free_port() -> int:
    """Return a port of this machine that nobody has now."""
    for port in random.sample(_PORTS, 200):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServiceError(f"no port between {_PORTS.start} and {_PORTS.stop} is free on 127.0.0.1; free some")


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _said_last(log: Path, offset: int) -> str:
    """Return the error that a server ended with, as it wrote it to its log; "" for none."""
    try:
        with log.open("rb") as file:
            file.seek(max(offset, log.stat().st_size - 65_536))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return errors[-1][:500] if errors else ""
