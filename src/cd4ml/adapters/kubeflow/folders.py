"""The folders of local runs: one a run, held while it is at work, removed when old."""

from __future__ import annotations

import fcntl
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cd4ml.errors import UsageError

__all__ = ["DONE", "EVENTS", "LOG", "SCRATCH", "TASKS", "held_run", "run_folders"]

TASKS = "tasks"
"""Outputs and logs of the tasks."""
EVENTS = f"{TASKS}/events.jsonl"
"""Beneath the tasks, which is what a container sees."""
DONE = "done"
"""What was done, by the content of what went in: see `cache`."""
LOG = "log.txt"
"""What the local runner said."""
SCRATCH = "scratch"
"""Temporary files of the run."""

_LOCK = "lock"
_KEPT_RUNS = 8
_KEPT_SECONDS = 3600.0


def run_folders(runs: Path) -> list[Path]:
    """Return the folders of all runs, that which was made or read from last at the front."""
    times = []
    for folder in runs.iterdir():
        with suppress(FileNotFoundError):  # removed by another process
            times.append((-folder.stat().st_mtime, folder.name, folder))
    return [folder for _, _, folder in sorted(times)]


@contextmanager
def held_run(root: Path) -> Iterator[Path]:
    """Make the folder of a run beneath `root`/runs and keep others from removing it within the block.

    Afterwards scratch files and the folders of old runs are removed: those that were neither made nor read
    from for an hour, but for the newest few.

    Raises
    ------
    UsageError
        When `root` cannot be written to.
    """
    runs = root.resolve() / "runs"
    folder = runs / f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    try:
        for name in (TASKS, DONE, SCRATCH):
            (folder / name).mkdir(parents=True)
        lock = (folder / _LOCK).open("w")
    except OSError as error:
        raise UsageError(
            f"expected a folder that can be written to at {root}, found: {error.strerror}"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder / SCRATCH, ignore_errors=True)
            _forget_old(runs)


def _forget_old(runs: Path) -> None:
    for folder in run_folders(runs)[_KEPT_RUNS:]:
        with suppress(FileNotFoundError):  # removed by another process
            if time.time() - folder.stat().st_mtime > _KEPT_SECONDS and not _at_work(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _at_work(folder: Path) -> bool:
    """Return whether a process holds the folder: a lock goes with the process, by whatever means it ends."""
    try:
        with (folder / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
