"""`python -m cd4ml.delivery.local.supervisor`: makes what shall be true, until it is told to stop."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cd4ml.adapters.envoy import Backend, GatewaySettings, Route
from cd4ml.adapters.processes import ProcessId, identify, stop
from cd4ml.delivery.local.gateway import Gateway
from cd4ml.delivery.local.model_server import ModelServer, ServerSettings
from cd4ml.delivery.local.reconcile import Plan, converged, plan_service
from cd4ml.delivery.local.state import PlaneRecord, PlaneState
from cd4ml.delivery.plane import VARIANTS, DesiredService, ObservedService, ObservedVariant
from cd4ml.errors import Cd4mlError, ConflictError

__all__ = ["PlaneSettings", "Supervisor", "main"]

_TICK_SECONDS = 0.1
_ROTATE_SECONDS = 10.0
_LEFT_BEHIND_SECONDS = 5.0


@dataclass(frozen=True)
class PlaneSettings:
    """How a plane is run."""

    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    servers: ServerSettings = field(default_factory=ServerSettings)

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> PlaneSettings:
        """Return what `to_json` wrote."""
        values = json.loads(text)
        servers = {**values["servers"], "options": tuple(values["servers"]["options"])}
        return cls(GatewaySettings(**values["gateway"]), ServerSettings(**servers))


class Supervisor:
    """Runs a plane in this process.

    Parameters
    ----------
    report : callable, optional
        Called with the record and the services whenever one of them changed.
    """

    def __init__(
        self,
        root: Path,
        settings: PlaneSettings,
        report: Callable[[PlaneRecord, list[ObservedService]], None] | None = None,
    ) -> None:
        self.state = PlaneState(root)
        self._settings, self._report = settings, report
        self._servers: dict[tuple[str, str], ModelServer] = {}
        self._ending: list[tuple[ModelServer, float]] = []
        self._observed: dict[str, ObservedService] = {}
        self._stop = self._hurry = False
        self._told = False
        self._trouble = ""
        self._wanted: dict[str, tuple[DesiredService, int]] = {}
        me = identify(os.getpid()) or ProcessId(os.getpid())
        self._record = PlaneRecord(me, settings=json.loads(settings.to_json()))

    def stop(self, *_: object) -> None:
        """End soon, gracefully; a second time: end at once."""
        if self._stop:
            self._hurry = True
            raise KeyboardInterrupt
        self._stop = True

    def run(self) -> None:
        """Make desired states true until `stop`; must be called in the main thread.

        Raises
        ------
        ConflictError
            If another supervisor runs this plane.
        ServiceError
            If the gateway cannot be started.
        """
        with self._alone():
            self._clean()
            before = {number: signal.signal(number, self.stop) for number in (signal.SIGINT, signal.SIGTERM)}
            self._gateway = Gateway(self.state, self._settings.gateway)
            error = ""
            try:
                self._tell_record()
                self._loop()
                self._tell_record(phase="stopping")
                self._gateway.drain(self._settings.servers.grace_seconds)
            except Cd4mlError as failure:
                error = str(failure)
                raise
            finally:
                self._end()
                self._tell_record(phase="stopped", error=error, url="", admin="", processes=())
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _loop(self) -> None:
        rotate = 0.0
        while not self._stop:
            now = time.monotonic()
            self._gateway.tick(now)
            try:
                self._tick(now)
                if now >= rotate:
                    rotate = now + _ROTATE_SECONDS
                    self._gateway.rotate()
            except (Cd4mlError, OSError) as error:
                # A full disk, an unreadable file: what serves goes on, and the next look may be luckier.
                self._say(str(error))
            time.sleep(_TICK_SECONDS)

    def _tick(self, now: float) -> None:
        for server in self._servers.values():
            server.tick(now)
        self._reconcile(now)
        self._reap(now)
        self._tell_record()

    def _say(self, trouble: str) -> None:
        """Write what is wrong to the log, once."""
        if trouble != self._trouble:
            self._trouble = trouble
            sys.stderr.write(f"error: {trouble}\n")
            sys.stderr.flush()

    def _reconcile(self, now: float) -> None:
        """Compare what shall be with what is, and do what comes next."""
        wanted = self._wanted = self._read()
        routes: list[Route] = []
        for service in sorted({*wanted, *(service for service, _ in self._servers)}):
            desired = wanted[service][0] if service in wanted else None
            self._note_drains(service, now)
            plan = plan_service(service, desired, self._states(service, now), *self._taken(service))
            self._act(service, plan, now)
            if plan.route is not None:
                routes.append(plan.route)
        backends = [
            Backend(server.service, server.name, server.port) for server in self._ordered() if server.joined
        ]
        self._gateway.tell(backends, routes)
        for service, (desired, generation) in wanted.items():
            self._observe(service, desired, generation, now)
        for service in self.state.observed_services():
            if service not in wanted and not any(key[0] == service for key in self._servers):
                self.state.forget(service)
                self._observed.pop(service, None)

    def _read(self) -> dict[str, tuple[DesiredService, int]]:
        """Return what each service shall be; one whose file is damaged stays what it was."""
        found: dict[str, tuple[DesiredService, int]] = {}
        for service in self.state.services():
            try:
                desired = self.state.desired(service)
            except Cd4mlError as error:
                self._say(str(error))
                desired = self._wanted.get(service)
            if desired is not None:
                found[service] = desired
        return found

    def _taken(self, service: str) -> tuple[Route | None, float]:
        return self._gateway.taken.get(service), float(self._settings.servers.grace_seconds)

    def _states(self, service: str, now: float) -> list[Any]:
        return [server.state(now) for server in self._ordered() if server.service == service]

    def _ordered(self) -> list[ModelServer]:
        return [
            self._servers[key] for key in sorted(self._servers, key=lambda k: (k[0], VARIANTS.index(k[1])))
        ]

    def _note_drains(self, service: str, now: float) -> None:
        """Note which servers the gateway sends nothing to, and what they have under way."""
        route = self._gateway.taken.get(service)
        for (name, variant), server in self._servers.items():
            if name != service or not server.joined:
                continue
            settled = bool(self._gateway.admin) and self._gateway.settled
            if not settled or (route is not None and variant in route.members):
                server.unrouted_since = None
            else:
                server.unrouted_since = now if server.unrouted_since is None else server.unrouted_since
                server.in_flight = self._gateway.in_flight(service, variant)

    def _act(self, service: str, plan: Plan, now: float) -> None:
        for name, variant in plan.start.items():
            server = ModelServer(self.state, service, name, self._settings.servers)
            server.ask(variant)
            self._servers[service, name] = server
        for name, variant in plan.ask.items():
            self._servers[service, name].ask(variant)
        for name in plan.stop:
            server = self._servers.pop((service, name))
            if server.child:
                server.child.terminate()
            self._ending.append((server, now + self._settings.servers.grace_seconds + _LEFT_BEHIND_SECONDS))

    def _reap(self, now: float) -> None:
        """Let servers that were told to end do so, and end those that do not."""
        for server, until in list(self._ending):
            if server.child is not None and server.child.poll() is None:
                if now >= until:
                    server.child.kill()
                continue
            self._ending.remove((server, until))

    def _observe(self, service: str, desired: DesiredService, generation: int, now: float) -> None:
        states, taken = self._states(service, now), self._gateway.taken.get(service)
        problems = []
        if self._gateway.admin is None:
            problems.append(
                "the gateway is not running" if self._gateway.child is None else "the gateway starts"
            )
        if self._gateway.refused:
            problems.append(f"the gateway refused a configuration; see '{self.state.logs / 'gateway.log'}'")
        variants = tuple(_seen(server, desired) for server in self._ordered() if server.service == service)
        found = ObservedService(
            service,
            generation,
            not problems and self._gateway.settled and converged(desired, states, taken),
            self._gateway.url,
            taken.canary_percent if taken else 0.0,
            taken.mirror_percent if taken else 0.0,
            variants,
            tuple(problems),
        )
        if self._observed.get(service) != found:
            self.state.observe(found)
            self._observed[service] = found
            self._told = False

    def _tell_record(self, **more: Any) -> None:
        gateway = self._gateway
        children = [server.child for server in [*self._servers.values(), *(one for one, _ in self._ending)]]
        processes = tuple(child.id for child in [gateway.child, *children] if child is not None)
        values: dict[str, Any] = {
            "phase": "running" if gateway.admin else "starting",
            "url": gateway.url,
            "admin": gateway.admin.address if gateway.admin else "",
            "gateway_restarts": gateway.crashes.count,
            "gateway_last_exit": gateway.crashes.last_exit,
            "gateway_last_exit_at": gateway.crashes.last_exit_at,
            "processes": processes,
        }
        record = replace(self._record, **{**values, **more})
        if record != self._record or not self._told:
            self.state.write_record(record)
            self._record, self._told = record, True
            if self._report:
                self._report(record, list(self._observed.values()))

    def _end(self) -> None:
        """Stop all that was started, servers at the same time."""
        servers = [*self._servers.values(), *(server for server, _ in self._ending)]
        children = [server.child for server in servers if server.child is not None]
        for child in children:
            child.terminate()
        grace_seconds = 0.0 if self._hurry else self._settings.servers.grace_seconds + _LEFT_BEHIND_SECONDS
        for child in children:
            child.stop(grace_seconds)
        self._gateway.stop()

    def _clean(self) -> None:
        """End what a killed supervisor left, and forget what it saw."""
        old = self.state.record()
        for process in old.processes if old else ():
            stop(process, _LEFT_BEHIND_SECONDS)
        for service in self.state.observed_services():
            self.state.forget(service)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        self.state.root.mkdir(parents=True, exist_ok=True)
        with (self.state.root / ".supervisor").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConflictError(
                    f"the plane in '{self.state.root}' runs already; `cd4ml serve set` changes it, `cd4ml"
                    " serve stop` ends it, and --state names another folder"
                ) from None
            yield


def _seen(server: ModelServer, desired: DesiredService) -> ObservedVariant:
    """Return a server as others see it: with the name of what is wanted, and no error of what is not."""
    found, wanted = server.observed(), desired.variants.get(server.name)
    if wanted is None:
        return found
    asked = server.asked.identity == wanted.identity
    return replace(found, reference=wanted.reference, error=found.error if asked else "")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a plane without a terminal; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cd4ml.delivery.local.supervisor")
    parser.add_argument("--state", required=True, type=Path)
    parser.add_argument("--settings", required=True, help="JSON")
    options = parser.parse_args(argv)
    try:
        Supervisor(options.state, PlaneSettings.from_json(options.settings)).run()
    except KeyboardInterrupt:
        return 130
    except Cd4mlError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
