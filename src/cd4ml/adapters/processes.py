"""Processes of ours: started in a group of their own, recognised again, stopped, never outliving us."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Child", "ProcessId", "describe_exit", "identify", "is_alive", "stop"]

_LOOK_AGAIN_SECONDS = 0.05
# Asks Linux to end this process with the thread that started it, and becomes the command. As a program of its
# own, because nothing but exec is safe between fork and exec of a process with threads.
_TIED = """
import ctypes, os, signal, sys
ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class ProcessId:
    """A process, told from a later one with the same number.

    Attributes
    ----------
    started : str
        When it began, in the kernel's ticks since boot; "" where that is not known.
    """

    pid: int
    started: str = ""


def identify(pid: int) -> ProcessId | None:
    """Return the identity of a running process, or None: there is none, or it ended and nobody asked how."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None if Path("/proc/self").exists() or not _exists(pid) else ProcessId(pid)
    state, *rest = text.rpartition(")")[2].split()
    return None if state in "ZX" else ProcessId(pid, rest[18])


def is_alive(process: ProcessId) -> bool:
    """Tell whether this very process is running."""
    found = identify(process.pid)
    return found is not None and process.started in ("", found.started)


def stop(process: ProcessId, grace_seconds: float) -> bool:
    """Ask a process to end, then end it and its group; tell whether it ended by itself."""
    if not is_alive(process):
        return True
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    end = time.monotonic() + grace_seconds
    while time.monotonic() < end:
        if not is_alive(process):
            return True
        time.sleep(_LOOK_AGAIN_SECONDS)
    if is_alive(process):
        _signal_group(process.pid, signal.SIGKILL)
    return False


class Child:
    """A process that we started.

    On Linux it is asked to end (SIGTERM) when the thread that started it ends, however that ends.

    Parameters
    ----------
    log : Path
        Where its output goes, behind what is there.
    environment : mapping
        In addition to ours.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        tied = [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid())]
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our callers' own commands
                [*(tied if sys.platform == "linux" else ()), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self.id = identify(self._process.pid) or ProcessId(self._process.pid)

    @property
    def pid(self) -> int:
        """Its number, which is its group's too."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return how it ended (negative: by that signal), or None while it runs.

        When it has ended, what it left running in its group is ended too.
        """
        if self._process.returncode is None and _has_ended(self._process.pid):
            # Before its number is given back, so that the group is still surely ours.
            _signal_group(self._process.pid, signal.SIGKILL)
        return self._process.poll()

    def terminate(self) -> None:
        """Ask it to end."""
        if self.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """End it, and all that it started in its group."""
        if self.poll() is None:
            _signal_group(self._process.pid, signal.SIGKILL)

    def stop(self, grace_seconds: float) -> int:
        """Ask it to end, wait, end it if it did not; return how it ended."""
        self.terminate()
        end = time.monotonic() + grace_seconds
        while self.poll() is None and time.monotonic() < end:
            time.sleep(_LOOK_AGAIN_SECONDS)
        self.kill()
        found = self.poll()
        return self._process.wait() if found is None else found


def describe_exit(code: int) -> str:
    """Return how a process ended in words: "exit code 3", or "signal 9 (SIGKILL)"."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"


def _has_ended(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
