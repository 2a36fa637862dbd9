"""Files of events: one is open, named `*.open`, until it is full or old and becomes a whole `*.jsonl`.

A process writes into files of its own and holds a lock on the one that is open, so that several workers and
several starts can share a folder. What a killed process left open has no lock: `finish_orphans` makes it
whole, up to its last complete line. Nobody changes a whole file, and only its reader may take it away.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path

__all__ = ["EventFile", "FolderFull", "finish_orphans", "whole_files"]

_OPEN, _WHOLE = ".open", ".jsonl"
_TAIL_BYTES = 1 << 16


class FolderFull(OSError):
    """The folder holds as many bytes as it may."""


def whole_files(folder: Path) -> list[Path]:
    """Return the files that are complete, oldest first."""
    return sorted(folder.glob(f"*{_WHOLE}"))


class EventFile:
    """The open file of one process.

    Parameters
    ----------
    folder : Path
        Made when it is missing.
    most_folder_bytes : int
        No new file is begun once the folder holds that much.

    Raises
    ------
    FolderFull
        If it does.
    OSError
        If the file cannot be made.
    """

    def __init__(self, folder: Path, most_folder_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        held = _held_bytes(folder)
        if held >= most_folder_bytes:
            raise FolderFull(f"'{folder}' holds {held} bytes, {most_folder_bytes} are allowed")
        self.bytes = 0
        self.began_seconds = time.monotonic()
        self.path, self._descriptor = _begin(folder)

    def append(self, data: bytes) -> None:
        """Add whole lines: all of them, or, when that raises OSError, none."""
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            os.ftruncate(self._descriptor, self.bytes)
            raise
        self.bytes += len(data)

    def finish(self) -> None:
        """Make the file whole; an empty one goes away."""
        try:
            _finish(self.path, self._descriptor, self.bytes)
        finally:
            os.close(self._descriptor)


def _held_bytes(folder: Path) -> int:
    found = 0
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # its reader took it away meanwhile
            found += file.stat().st_size
    return found


def _begin(folder: Path) -> tuple[Path, int]:
    """Make an open file and lock it."""
    while True:
        # Nanoseconds of the same length sort as text; the rest tells apart what starts at once.
        name = f"events-{time.time_ns():020d}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        path = folder / (name + _OPEN)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink > 0:
            return path, descriptor
        os.close(descriptor)  # before it was locked somebody took it for an empty orphan


def _finish(path: Path, descriptor: int, size_bytes: int) -> None:
    if size_bytes == 0:
        path.unlink(missing_ok=True)
        return
    os.fsync(descriptor)
    path.rename(path.with_suffix(_WHOLE))
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def finish_orphans(folder: Path) -> int:
    """Make whole what ended processes left open; return how many files that were.

    A last line that was not written to its end is cut off.
    """
    found = 0
    for path in sorted(folder.glob(f"*{_OPEN}")):
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:  # its process finished it meanwhile
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists():
                size_bytes = _end_of_last_line(descriptor)
                os.ftruncate(descriptor, size_bytes)
                _finish(path, descriptor, size_bytes)
                found += 1
        except BlockingIOError:  # its process lives
            continue
        finally:
            os.close(descriptor)
    return found


def _end_of_last_line(descriptor: int) -> int:
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        place = os.pread(descriptor, end - start, start).rfind(b"\n")
        if place >= 0:
            return start + place + 1
        end = start
    return 0
