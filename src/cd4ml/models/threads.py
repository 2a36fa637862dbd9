"""How many threads a fit may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["cgroup_cores", "fitting_threads", "usable_cores"]

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
    if quota == "max" or int(quota) <= 0:
        return None
    return int(quota) / int(period)


def usable_cores() -> int:
    """Return how many threads help: affinity, control group and OMP_NUM_THREADS, whichever is least; from 1.

    More threads than granted processors wait for each other: fits were 15 times slower (scikit-learn #30662).
    """
    found = [float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)]
    granted = cgroup_cores()
    if granted is not None:
        found.append(granted)
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if asked.isdecimal() and int(asked) > 0:
        found.append(float(asked))
    return max(1, int(min(found)))


@contextmanager
def fitting_threads() -> Iterator[int]:
    """Cap OpenMP within the block to `usable_cores`, which is yielded."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    count = usable_cores()
    with threadpool_limits(limits=count):
        yield count
