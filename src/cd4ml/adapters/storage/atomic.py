"""Files that are whole or absent: a temporary name, fsync, rename."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

__all__ = ["TEMPORARY_PREFIX", "directory", "dumps", "stream", "write_bytes", "write_json", "write_text"]

TEMPORARY_PREFIX = ".incomplete-"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _aside(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.parent / f"{TEMPORARY_PREFIX}{path.name}-{uuid.uuid4().hex[:12]}"


@contextmanager
def stream(path: Path, renaming: AbstractContextManager[object] | None = None) -> Iterator[BinaryIO]:
    """Yield a file to write to that becomes `path` when the block ends without an error.

    Parameters
    ----------
    path : Path
        Its folder is made when it is missing.
    renaming : context manager, optional
        Entered for the moment in which the file takes its name, e.g. a lock.
    """
    temporary = _aside(path)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with renaming or nullcontext():
            temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Put `data` at `path`: a reader sees the old file or the new one, never a part of it."""
    with stream(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Put `text` at `path` as UTF-8."""
    write_bytes(path, text.encode())


def dumps(value: object) -> str:
    """Return JSON with sorted keys and a final newline: the same value gives the same bytes."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def write_json(path: Path, value: object) -> None:
    """Put `value` at `path` as JSON with sorted keys."""
    write_text(path, dumps(value))


@contextmanager
def directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory that becomes `path` when the block ends without an error.

    What was at `path` before is replaced. When the block raises, or the process is killed in it, `path` is as
    before. Two renames replace a directory: a process that is killed between them leaves no `path`, and what
    was there beside it, under a name that starts with `TEMPORARY_PREFIX`.
    """
    temporary = _aside(path)
    temporary.mkdir()
    try:
        yield temporary
        for file in sorted(temporary.rglob("*")):
            _sync(file)
        _sync(temporary)
        _take_place(temporary, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _take_place(new: Path, path: Path) -> None:
    """Rename a directory to `path`; when that fails, what was there is there again."""
    if not path.exists():
        new.rename(path)
        return
    old = _aside(path)
    path.rename(old)
    try:
        new.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)
