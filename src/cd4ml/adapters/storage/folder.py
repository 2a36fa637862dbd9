"""A store in a folder: several processes of one machine, or of one network file system, may share it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from cd4ml.adapters.storage import atomic
from cd4ml.adapters.storage.base import LOCKS, check_key, files_beneath, folder_prefix, is_own
from cd4ml.adapters.storage.hashing import sha256_bytes, sha256_file
from cd4ml.errors import ConflictError, NotFoundError, ServiceError, UsageError

__all__ = ["FolderStorage"]

_LOCK_STRIPES = 64
_LEFTOVER_SECONDS = 24 * 3600.0
_COPY_BYTES = 1 << 20


class FolderStorage:
    """Named bytes as files beneath `root`.

    Writers of the same key exclude each other by a lock of the operating system, which ends with its process.
    The version token is the content's SHA-256. Readers take no lock and need no right to write.

    Parameters
    ----------
    root : Path or str
        Made at the first write.
    lock_timeout_seconds : float
        How long a writer waits for another one of the same key.
    """

    def __init__(self, root: Path | str, lock_timeout_seconds: float = 30.0) -> None:
        self.root = Path(root).expanduser().absolute()
        self._lock_timeout_seconds = lock_timeout_seconds
        if self.root.exists() and not self.root.is_dir():
            raise UsageError(
                f"the store must be a folder; '{self.root}' is a file. Set CD4ML_STORE to a folder"
            )

    def __repr__(self) -> str:
        return f"FolderStorage({str(self.root)!r})"

    def get(self, key: str) -> bytes:
        """Return the bytes of `key`; raise NotFoundError when there are none."""
        found = self.read_versioned(key)
        if found is None:
            raise NotFoundError(f"the store {self.root} has no '{key}'; list what it has, or set CD4ML_STORE")
        return found[0]

    def put(self, key: str, data: bytes) -> None:
        """Write `key`, whatever was there before."""
        with self._writing(key) as path:
            atomic.write_bytes(path, data)

    def exists(self, key: str) -> bool:
        """Tell whether `key` has bytes."""
        path = self._path(key)
        with self._using():
            return path.is_file()

    def list(self, prefix: str) -> list[str]:
        """Return the keys that start with `prefix`, sorted, and remove what killed writers left a day ago."""
        parent = prefix.rpartition("/")[0]
        start = self._path(parent) if parent else self.root
        keys = []
        for folder, folders, files in os.walk(start, onerror=self._unlisted):
            here = Path(folder)
            for name in [*folders, *files]:
                if name.startswith(atomic.TEMPORARY_PREFIX):
                    _remove_old(here / name)
            folders[:] = [name for name in folders if not is_own(name)]
            keys += [(here / name).relative_to(self.root).as_posix() for name in files if not is_own(name)]
        return sorted(key for key in keys if key.startswith(prefix))

    def read_versioned(self, key: str) -> tuple[bytes, str] | None:
        """Return the bytes of `key` and their SHA-256, or None when there is no such key."""
        path = self._path(key)
        with self._using():
            try:
                data = path.read_bytes()
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                return None
        return data, sha256_bytes(data)

    def compare_and_swap(self, key: str, data: bytes, expected: str | None) -> str:
        """Write `key` if its content still has the SHA-256 `expected` (None: if it is not there)."""
        with self._writing(key) as path:
            found = self.read_versioned(key)
            if (found[1] if found else None) != expected:
                raise ConflictError(f"'{key}' was changed by another writer; read it again and decide anew")
            atomic.write_bytes(path, data)
        return sha256_bytes(data)

    def upload(self, folder: Path, prefix: str, last: str = "") -> int:
        """Copy all files beneath `folder` to `prefix`/...; what is there with the same content stays."""
        start = folder_prefix(prefix)
        return sum(self._copy_in(path, start + name) for name, path in files_beneath(folder, last))

    def download(self, prefix: str, folder: Path) -> int:
        """Copy all keys beneath `prefix`/ to `folder`; what is there with the same content stays."""
        start = folder_prefix(prefix)
        keys = self.list(start)
        if not keys:
            raise NotFoundError(f"the store {self.root} has nothing beneath '{start}'; check the name")
        return sum(_copy(self._path(key), folder / key[len(start) :], nullcontext) for key in keys)

    def delete(self, key: str) -> None:
        """Remove `key`; a key that is not there is no error."""
        if self.exists(key):
            with self._writing(key) as path:
                path.unlink(missing_ok=True)

    def url(self, key: str) -> str:
        """Return the absolute path of `key`."""
        return str(self._path(key))

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _copy_in(self, source: Path, key: str) -> bool:
        """Copy a file in; the lock is held while it takes its name and not while a large one is copied."""
        path = self._path(key)
        with self._using(key):
            return _copy(source, path, lambda: self._locked(key))

    @contextmanager
    def _writing(self, key: str) -> Iterator[Path]:
        """Yield the path of `key` while no other writer of this key is at work."""
        path = self._path(key)
        with self._using(key), self._locked(key):
            yield path

    @contextmanager
    def _using(self, key: str = "") -> Iterator[None]:
        """Raise what the file system raises within the block as an error of ours."""
        try:
            yield
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise UsageError(
                f"'{key}' cannot be written to {self.root}: one of its names is already a file or a folder"
                " there; choose another key"
            ) from error
        except OSError as error:
            raise self._unusable(error) from error

    def _unlisted(self, error: OSError) -> None:
        """Go on when a folder was removed meanwhile; one that cannot be read must not look empty."""
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> ServiceError:
        reason = error.strerror or type(error).__name__
        where = f" at '{error.filename}'" if error.filename else ""
        return ServiceError(
            f"the store {self.root} cannot be used ({reason}{where}); mend its rights or space, or set"
            " CD4ML_STORE to another folder"
        )

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        stripe = int(sha256_bytes(key.encode())[:8], 16) % _LOCK_STRIPES
        path = self.root / LOCKS / f"{stripe:02d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _acquire(descriptor, path, self._lock_timeout_seconds)
            yield
        finally:
            os.close(descriptor)


def _acquire(descriptor: int, path: Path, timeout_seconds: float) -> None:
    end = time.monotonic() + timeout_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise ServiceError(
                    f"another process has held the lock {path} for {timeout_seconds:g} s; wait for it or"
                    " end it"
                ) from None
            time.sleep(0.005)
        else:
            return


def _copy(source: Path, target: Path, renaming: Callable[[], AbstractContextManager[None]]) -> bool:
    """Copy a file whole; return False when `target` has the same content already."""
    if (
        target.is_file()
        and target.stat().st_size == source.stat().st_size
        and sha256_file(target) == sha256_file(source)
    ):
        return False
    with source.open("rb") as reader, atomic.stream(target, renaming()) as writer:
        shutil.copyfileobj(reader, writer, _COPY_BYTES)
    return True


def _remove_old(leftover: Path) -> None:
    """Remove what a killed writer left, once it is surely no writer's at work any more."""
    with contextlib.suppress(OSError):
        if time.time() - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink()
