"""How many threads a fit may use, and how they wait.

Two things made fits ten to a hundred times slower: more threads than granted processors (scikit-learn
#30662), and OpenMP threads that spin while they wait for one whose processor another process has taken.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["cgroup_cores", "fitting_threads", "usable_cores", "wait_asleep"]

_CGROUP = Path("/sys/fs/cgroup")


def cgroup_cores(folder: Path = _CGROUP) -> float | None:
    """Return the processors that the control group grants, e.g. 1.5; None when it sets no limit."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (folder / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not (quota.isdecimal() and period.isdecimal() and int(quota) and int(period)):  # "max" or -1: no limit
        return None
    return int(quota) / int(period)


def usable_cores() -> int:
    """Return how many threads help, from 1: the least of affinity, control group and OMP_NUM_THREADS."""
    found = [float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)]
    granted = cgroup_cores()
    if granted is not None:
        found.append(granted)
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if asked.isdecimal() and int(asked) > 0:
        found.append(float(asked))
    return max(1, int(min(found)))


def wait_asleep() -> None:
    """Let OpenMP threads sleep while they wait, unless OMP_WAIT_POLICY says otherwise.

    OpenMP reads it once, when it is loaded: call this before the first import of scikit-learn.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def fitting_threads(limit: int | None = None) -> Iterator[int]:
    """Cap OpenMP and BLAS within the block to `usable_cores`, and to `limit`; the cap is yielded."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    count = usable_cores() if limit is None else min(limit, usable_cores())
    with threadpool_limits(limits=count):
        yield count
