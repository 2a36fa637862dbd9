"""The gateway of a plane: Envoy, started, watched, and told routes and clusters."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cd4ml.adapters.envoy import (
    Admin,
    Backend,
    GatewaySettings,
    Route,
    bootstrap,
    cluster_name,
    clusters,
    find_envoy,
    routes,
)
from cd4ml.adapters.envoy.gateway_config import LISTENER
from cd4ml.adapters.processes import Child, describe_exit
from cd4ml.adapters.storage import atomic
from cd4ml.delivery.local.model_server import Crashes, free_port
from cd4ml.delivery.local.state import PlaneState
from cd4ml.errors import ServiceError

__all__ = ["Gateway"]

_ACCESS_LOG_BYTES = 64 * 1024 * 1024
_THREADS = 2
_FLUSH_MILLISECONDS = 500
"""How late a line of the access log may be: rollouts are judged by it."""
_CLOSE_SECONDS = 5.0
_ATTEMPTS = 5
"""At a free port, should somebody take it in the moment before Envoy does."""


class Gateway:
    """Envoy before the servers of a plane."""

    def __init__(self, state: PlaneState, settings: GatewaySettings) -> None:
        self.settings = settings
        self.crashes = Crashes()
        self.child: Child | None = None
        self.admin: Admin | None = None
        self.refused = False
        self._met = False
        self._rejected = 0
        self.taken: dict[str, Route] = {}
        self._state, self._envoy = state, find_envoy()
        self._dynamic = state.envoy / "dynamic"
        self._access_log = state.logs / "access.jsonl"
        self._address_file = state.envoy / "admin-address"
        self._number = time.time_ns()
        self._clusters: tuple[Sequence[Backend], str] = ((), "")
        self._routes: tuple[Sequence[Route], str] = ((), "")
        self._had: frozenset[str] = frozenset()
        self._started = 0.0
        self._attempts = _ATTEMPTS if settings.port == 0 else 1
        self._write([], [])

    @property
    def url(self) -> str:
        """Where callers meet it; "" until it listens."""
        if not self.admin:
            return ""
        address = ipaddress.ip_address(self.settings.host)
        here = "127.0.0.1" if address.version == 4 else "::1"
        host = here if address.is_unspecified else str(address)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.settings.port}"

    @property
    def settled(self) -> bool:
        """Whether Envoy has taken all that was written."""
        return bool(self.admin) and tuple(self.taken.values()) == tuple(self._routes[0])

    def tick(self, now: float) -> None:
        """Look after it: start it, note a crash, see what it has taken.

        Raises
        ------
        ServiceError
            If it cannot be started at all, e.g. because the port is taken.
        """
        if self.child is None:
            if now >= self.crashes.next_start:
                self._start(now)
            return
        if (code := self.child.poll()) is not None:
            self._crashed(code, now)
            return
        try:
            self._look()
        except ServiceError:
            self.admin = None if self.admin and not self.admin.ready() else self.admin

    def tell(self, backends: Sequence[Backend], wanted: Sequence[Route]) -> None:
        """Tell it what to do; it takes clusters first, and routes when it has the clusters that they name."""
        if list(backends) != list(self._clusters[0]):
            self._write(backends, None)
        named = {cluster_name(route.service, name) for route in wanted for name in route.members}
        if named <= self._had and list(wanted) != list(self._routes[0]):
            self._write(None, wanted)

    def in_flight(self, service: str, variant: str) -> int:
        """Return how many requests it has under way with a variant; 1 when it does not say."""
        try:
            return self.admin.active(cluster_name(service, variant)) if self.admin else 1
        except ServiceError:
            return 1

    def drain(self, grace_seconds: float) -> None:
        """Take no new callers, and wait for what is under way."""
        end = time.monotonic() + grace_seconds
        try:
            if self.admin:
                self.admin.drain()
                while self.admin.callers_active(LISTENER) and time.monotonic() < end:
                    time.sleep(0.05)
        except ServiceError:
            return

    def stop(self) -> None:
        """End it."""
        if self.child:
            self.child.stop(_CLOSE_SECONDS)

    def rotate(self) -> None:
        """Begin a new access log when the old one is large; one old one is kept."""
        if self.admin and self._access_log.exists() and self._access_log.stat().st_size > _ACCESS_LOG_BYTES:
            self._access_log.replace(self._access_log.with_suffix(".jsonl.1"))
            self.admin.reopen_logs()

    def _start(self, now: float) -> None:
        self._state.logs.mkdir(parents=True, exist_ok=True)
        if not self.settings.port:
            # Kept for its next start, should it crash.
            self.settings = replace(self.settings, port=free_port())
        config = self._state.envoy / "bootstrap.json"
        atomic.write_json(config, bootstrap(self.settings, self._dynamic, self._access_log))
        self._address_file.unlink(missing_ok=True)
        self.admin, self.taken, self._had, self._rejected = None, {}, frozenset(), 0
        self._started = now
        command = [
            *(self._envoy, "-c", str(config)),
            *("--admin-address-path", str(self._address_file)),
            *("--concurrency", str(_THREADS)),
            *("--log-level", "warning"),
            *("--file-flush-interval-msec", str(_FLUSH_MILLISECONDS)),
            "--disable-hot-restart",
        ]
        self.child = Child(command, self._state.logs / "gateway.log")

    def _crashed(self, code: int, now: float) -> None:
        self.child = self.admin = None
        if self._met:
            self.crashes.add(code, now - self._started, now)
            return
        self._attempts -= 1
        if not self._attempts:
            said = self._said() or describe_exit(code)
            taken = f": port {self.settings.port} of {self.settings.host} is taken; give another one, or 0"
            raise ServiceError(f"the gateway does not start{taken if 'cannot bind' in said else ': ' + said}")
        self.settings = replace(self.settings, port=0)

    def _look(self) -> None:
        if self.admin is None:
            self._meet()
            return
        if self.settled and self._had == self._names():
            return
        had, taken = self.admin.versions()
        if had == self._clusters[1]:
            self._had = self._names()
        rejected = self.admin.rejected()
        if taken == self._routes[1]:
            self.taken = {route.service: route for route in self._routes[0]}
            self._rejected = rejected if had == self._clusters[1] else self._rejected
        self.refused = rejected > self._rejected

    def _meet(self) -> None:
        """Find out where it listens, once it does."""
        if not self._address_file.exists():
            return
        admin = Admin(self._address_file.read_text(encoding="ascii").strip())
        if not admin.ready():
            return
        self.admin, self._met = admin, True

    def _names(self) -> frozenset[str]:
        return frozenset(cluster_name(backend.service, backend.variant) for backend in self._clusters[0])

    def _write(self, backends: Sequence[Backend] | None, wanted: Sequence[Route] | None) -> None:
        self._number += 1
        version = str(self._number)
        if backends is not None:
            # What stays stays usable; what is new is so when Envoy says that it has it.
            self._clusters = (tuple(backends), version)
            self._had &= self._names()
            self._put("clusters.json", clusters(backends, version))
        if wanted is not None:
            self._routes = (tuple(wanted), version)
            self._put("routes.json", routes(wanted, version, self.settings.timeout_seconds))

    def _put(self, name: str, value: dict[str, Any]) -> None:
        atomic.write_json(self._dynamic / name, value)

    def _said(self) -> str:
        """Return the last line of Envoy's log that tells of an error."""
        try:
            text = (self._state.logs / "gateway.log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        told = [
            line for line in text.splitlines() if "[critical]" in line or "[error]" in line or "annot" in line
        ]
        return told[-1].rpartition("] ")[2][:300] if told else ""
