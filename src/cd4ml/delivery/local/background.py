"""A plane that goes on when its terminal closes."""

from __future__ import annotations

import subprocess
import sys
import time

from cd4ml.adapters.processes import describe_exit
from cd4ml.delivery.local.plane import LocalPlane
from cd4ml.delivery.local.supervisor import PlaneSettings
from cd4ml.errors import ServiceError

__all__ = ["start_in_background"]


def start_in_background(plane: LocalPlane, settings: PlaneSettings, timeout_seconds: float) -> None:
    """Start a supervisor of its own session, and return when its gateway listens.

    Raises
    ------
    ServiceError
        If it ends before, with what it said.
    """
    log = plane.state.logs / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    module = [sys.executable, "-m", "cd4ml.delivery.local.supervisor"]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [*module, "--state", str(plane.state.root), "--settings", settings.to_json()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    end = time.monotonic() + timeout_seconds
    while time.monotonic() < end:
        if (code := process.poll()) is not None:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            said = lines[-1].removeprefix("error: ") if lines else describe_exit(code)
            raise ServiceError(f"the plane ended at its start: {said}; see '{plane.state.logs}'")
        record = plane.state.record()
        if record is not None and record.supervisor.pid == process.pid and record.phase == "running":
            return
        time.sleep(0.05)
    process.terminate()
    raise ServiceError(f"the gateway does not listen after {timeout_seconds:g} s; see '{plane.state.logs}'")
