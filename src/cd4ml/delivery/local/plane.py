"""The plane of one machine: desired states are files, a supervisor makes them true."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cd4ml.adapters.processes import is_alive, stop
from cd4ml.delivery.local.state import PlaneState
from cd4ml.delivery.plane import DesiredService, ObservedService
from cd4ml.errors import ConflictError, NotFoundError, ServiceError, UsageError, nearest

__all__ = ["LocalPlane"]

_LOOK_AGAIN_SECONDS = 0.1


class LocalPlane:
    """Envoy and model servers on this machine, as a `Plane`.

    Parameters
    ----------
    root : Path
        The folder of the plane, as in `cd4ml serve --state`.
    """

    def __init__(self, root: Path) -> None:
        self.state = PlaneState(root)

    def observe(self, service: str) -> ObservedService:
        """Return what a service is now; raises NotFoundError for one that is not there."""
        desired = self.state.desired(service)
        found = self.state.observed(service)
        if desired is None and found is None:
            known = self.state.services()
            have = f"it has {', '.join(known)}" if known else "it has none"
            raise NotFoundError(f"the plane has no service '{service}'; {have}{nearest(service, known)}")
        found = found or ObservedService(service)
        record = self.state.record()
        if record is None or not record.running:
            said = "was stopped" if record is not None and record.phase == "stopped" else "does not run"
            return ObservedService(
                service, found.generation, problems=(f"the supervisor {said}; start it with `cd4ml serve`",)
            )
        current = desired is not None and desired[1] == found.generation
        return replace(found, converged=found.converged and current, url=record.url)

    def apply(self, service: str, desired: DesiredService) -> None:
        """Make `desired` what the service shall be; doing so twice is doing so once.

        Raises
        ------
        ConflictError
            If somebody with a higher fence asked already.
        """
        if desired.service != service:
            raise UsageError(f"the desired state is of '{desired.service}', not of '{service}'")
        self.state.change(service, lambda old: _fenced(old, desired))

    def remove(self, service: str) -> None:
        """Say that a service shall be no more; one that is not there is no error."""
        self.state.remove(service)

    def stop(self, timeout_seconds: float) -> bool:
        """End the plane, or what a killed supervisor left; tell whether there was anything to end.

        Raises
        ------
        ServiceError
            If it goes on beyond the time-out.
        """
        record = self.state.record()
        if record is None:
            return False
        if not record.alive:
            left = [process for process in record.processes if is_alive(process)]
            for process in left:
                stop(process, timeout_seconds)
            if record.phase != "stopped":
                self.state.write_record(replace(record, phase="stopped", url="", admin="", processes=()))
            return bool(left)
        if not stop(record.supervisor, timeout_seconds):
            raise ServiceError(
                f"the plane did not stop within {timeout_seconds:g} s and was ended; see '{self.state.logs}'"
            )
        return True

    def wait(
        self, service: str, timeout_seconds: float, report: Callable[[ObservedService], None] | None = None
    ) -> ObservedService:
        """Return the service when all of its desired state is true.

        Raises
        ------
        ServiceError
            If it is not in time, or a server refused what it shall serve; with what is wrong.
        """
        end = time.monotonic() + timeout_seconds
        while True:
            found = self.observe(service)
            if report:
                report(found)
            if found.converged:
                return found
            desired = self.state.desired(service)
            current = desired is not None and desired[1] == found.generation
            refused = [v for v in found.variants if v.error and v.phase != "starting"] if current else []
            record = self.state.record()
            dead = record is None or not record.running
            if refused or dead or time.monotonic() >= end:
                raise ServiceError(_why(found, timeout_seconds))
            time.sleep(_LOOK_AGAIN_SECONDS)


def _fenced(old: DesiredService | None, desired: DesiredService) -> DesiredService:
    if old is not None and desired.fence < old.fence:
        raise ConflictError(
            f"somebody with the fence {old.fence} took '{desired.service}' over; what has {desired.fence} may"
            " not change it any more"
        )
    return desired


def _why(found: ObservedService, timeout_seconds: float) -> str:
    wrong = [*found.problems, *(f"{v.name}: {v.error}" for v in found.variants if v.error)]
    slow = [f"{v.name} is {v.phase}" for v in found.variants if not v.ready and not v.error]
    said = "; ".join(wrong or slow) or f"it is not as it shall be after {timeout_seconds:g} s"
    return f"'{found.service}': {said}. What it did so far goes on; `cd4ml serve status` has more"
