"""How much of a machine this process may use: limits of its control group count."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from cd4ml.errors import UsageError

__all__ = ["cores", "may_raise_limits", "memory_bytes", "require_free_port"]

_ROOT = Path("/")
_CAP_SYS_RESOURCE = 24


def cores(root: Path = _ROOT) -> float:
    """Return the cores that this process may use, e.g. 1.5 under a quota.

    Parameters
    ----------
    root : Path
        Where `sys` and `proc` are.
    """
    allowed = getattr(os, "sched_getaffinity", None)
    here = float(len(allowed(0)) if allowed else os.cpu_count() or 1)
    quota, _, period = _text(root / "sys/fs/cgroup/cpu.max").partition(" ")
    if not quota:  # the first version of control groups
        quota = _text(root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us")
        period = _text(root / "sys/fs/cgroup/cpu/cpu.cfs_period_us")
    if quota.isdecimal() and period.isdecimal() and int(period):
        return min(here, int(quota) / int(period))
    return here


def memory_bytes(root: Path = _ROOT) -> int | None:
    """Return the memory that is free for this process; None where the machine does not say."""
    found = []
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            found.append(int(value.split()[0]) * 1024)
    for limit, used in (
        ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        most, now = _text(root / limit), _text(root / used)
        if most.isdecimal() and now.isdecimal():
            found.append(max(0, int(most) - int(now)))
    return min(found) if found else None


def may_raise_limits(root: Path = _ROOT) -> bool:
    """Tell whether this process may raise its own limits (CAP_SYS_RESOURCE)."""
    for line in _text(root / "proc/self/status").splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return bool(int(value.strip(), 16) >> _CAP_SYS_RESOURCE & 1)
    return False


def require_free_port(port: int, host: str = "127.0.0.1") -> None:
    """See that a server could listen on a port; raises UsageError that says why it could not."""
    with socket.socket() as listener:
        # As servers do: connections that ended a moment ago do not keep a port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise UsageError(f"port {port} of {host} cannot be taken: {error.strerror}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
