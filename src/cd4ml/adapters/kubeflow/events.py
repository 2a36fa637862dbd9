"""What the processes of a local run tell each other: one line of JSON an event, appended to one file."""

from __future__ import annotations

import json
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["EventReader", "append", "die_with_stdin"]


def append(file: Path, event: dict[str, object]) -> None:
    """Add one event in a single write, so that those of tasks side by side do not mix."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (json.dumps(event, sort_keys=True, default=str) + "\n").encode())
    finally:
        os.close(descriptor)


class EventReader:
    """Gives each event of a growing file once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._position = 0

    def new(self) -> Iterator[dict[str, object]]:
        """Yield the events that were finished since the last call."""
        if not self._file.exists():
            return
        with self._file.open("rb") as stream:
            stream.seek(self._position)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                self._position += len(line)
                yield json.loads(line)


def die_with_stdin(first: Callable[[], None] = lambda: None) -> None:
    """End this process and those that it starts when the other end of its standard input closes.

    `run_local` holds that other end, which every process of the run inherits. However it ends, even by
    kill -9, no task lives on to write beside the next run. The process becomes the leader of a group, which
    is killed as a whole: what a task starts dies with it.

    Parameters
    ----------
    first : callable
        Called before the end.
    """
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)

    def watch() -> None:
        waiting = select.poll()
        waiting.register(0, select.POLLIN | select.POLLHUP | select.POLLERR)
        waiting.poll()
        try:
            first()
        finally:
            os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="lifeline").start()
