"""Reading logs of JSON Lines as they grow: each complete line once, through renames, without a lock."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["FolderTail", "LineTail", "RotatedTail", "parsed", "seconds_of"]

_T = TypeVar("_T")


class LineTail:
    """The complete lines of one file that were not read yet; it is known by its inode and may be renamed."""

    def __init__(self) -> None:
        self.offset = 0
        self.truncated = False

    def read(self, path: Path) -> list[bytes]:
        """Return new lines without their ends; a line that is half-written waits. A missing file has none."""
        try:
            with path.open("rb") as file:
                return self.read_open(file.fileno())
        except FileNotFoundError:
            return []

    def read_open(self, descriptor: int) -> list[bytes]:
        """Return new lines of a file that is open."""
        size = os.fstat(descriptor).st_size
        if size < self.offset:
            self.truncated, self.offset = True, 0
        with os.fdopen(os.dup(descriptor), "rb") as file:
            file.seek(self.offset)
            data = file.read(size - self.offset)
        end = data.rfind(b"\n") + 1
        self.offset += end
        return data[:end].split(b"\n")[:-1]


class RotatedTail:
    """A log that is renamed to `NAME.1` when it is large, and begun anew.

    A file is known by its inode. It is held open, so that no other one gets the same before the next look.

    Attributes
    ----------
    gaps : int
        How often lines were lost: it was renamed twice between two looks, or cut short.
    """

    def __init__(self, path: Path) -> None:
        self._paths = (path, path.with_name(path.name + ".1"))
        self._tails: dict[tuple[int, int], LineTail] = {}
        self._held: dict[tuple[int, int], int] = {}
        self._newest: tuple[int, int] | None = None
        self.gaps = 0

    def __del__(self) -> None:
        """Let go of the files."""
        for descriptor in getattr(self, "_held", {}).values():
            os.close(descriptor)

    def read(self) -> list[bytes]:
        """Return new lines, the oldest first."""
        lines = []
        # The newer one first: should it be renamed now, it is met again and not missed.
        newer, older = (self._hold(path) for path in self._paths)
        present = [one for one in dict.fromkeys((older, newer)) if one is not None]
        for identity in present:
            tail = self._tails.setdefault(identity, LineTail())
            lines += tail.read_open(self._held[identity])
            self.gaps += tail.truncated
            tail.truncated = False
        if self._newest is not None and self._newest not in present:
            self.gaps += 1
        self._tails = {identity: self._tails[identity] for identity in present}
        for identity in set(self._held).difference(present):
            os.close(self._held.pop(identity))
        self._newest = present[-1] if present else None
        return lines

    def _hold(self, path: Path) -> tuple[int, int] | None:
        """Return the inode of a file, which is open from now on; None for one that is not there."""
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        found = os.fstat(descriptor)
        identity = (found.st_dev, found.st_ino)
        if identity in self._held:
            os.close(descriptor)
        else:
            self._held[identity] = descriptor
        return identity


class FolderTail:
    """A folder of files, each written by one process, named `STEM.open` and then `STEM.jsonl`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tails: dict[str, LineTail] = {}

    def read(self) -> list[bytes]:
        """Return new lines of all files, those of the oldest file first."""
        # Once it is seen as .open it may be .jsonl when it is read: then the next look has its lines.
        found = {path.stem: path for path in self._folder.glob("events-*.open")}
        found |= {path.stem: path for path in self._folder.glob("*.jsonl")}
        self._tails = {stem: tail for stem, tail in self._tails.items() if stem in found}
        return [
            line
            for stem, path in sorted(found.items())
            for line in self._tails.setdefault(stem, LineTail()).read(path)
        ]


def parsed(lines: Iterable[bytes], make: Callable[[dict[str, Any]], _T], bad: list[str]) -> Iterator[_T]:
    """Yield what `make` makes of each line; append why to `bad` for those that are damaged."""
    for line in lines:
        try:
            value = json.loads(line)
            if not isinstance(value, dict):
                raise TypeError("no object")
            yield make(value)
        except (ValueError, TypeError, KeyError) as error:
            bad.append(f"{type(error).__name__}: {error}")


def seconds_of(time: str) -> float:
    """Return a time such as 2026-01-31T09:00:00.000000Z as seconds since 1970."""
    return datetime.fromisoformat(time).timestamp()
