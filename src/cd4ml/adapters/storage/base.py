"""What every store can do, and what a key is."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from cd4ml.adapters.storage.atomic import TEMPORARY_PREFIX
from cd4ml.errors import UsageError

__all__ = ["LOCKS", "Storage", "check_key", "files_beneath", "folder_prefix", "is_own"]

LOCKS = ".locks"
"""Where a store in a folder keeps its locks; no store has such a key."""


class Storage(Protocol):
    """Named bytes that several processes read and write.

    A key is a relative path with `/`, such as "models/shop/aliases.json". What `put`, `compare_and_swap` and
    `upload` write is whole or absent. A version token stands for the content as it was read; the same content
    may have the same token.
    """

    def get(self, key: str) -> bytes:
        """Return the bytes of `key`; raise NotFoundError when there are none."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write `key`, whatever was there before."""
        ...

    def exists(self, key: str) -> bool:
        """Tell whether `key` has bytes (0 bytes count)."""
        ...

    def list(self, prefix: str) -> list[str]:
        """Return the keys that start with `prefix` (a string, not a folder), sorted; "" lists all."""
        ...

    def read_versioned(self, key: str) -> tuple[bytes, str] | None:
        """Return the bytes of `key` and their version token, or None when there is no such key."""
        ...

    def compare_and_swap(self, key: str, data: bytes, expected: str | None) -> str:
        """Write `key` if it still has the version `expected`, and return its new version token.

        Parameters
        ----------
        key : str
            What to write.
        data : bytes
            Its new content.
        expected : str or None
            The token of `read_versioned`; None says that the key must not exist.

        Raises
        ------
        ConflictError
            If another writer was first; nothing was written.
        ServiceError
            If the store cannot be reached, or its answer was lost: then read again before the next attempt.
        """
        ...

    def upload(self, folder: Path, prefix: str, last: str = "") -> int:
        """Copy all files beneath `folder` to `prefix`/..., the one named `last` after all others.

        Returns
        -------
        int
            How many had to be sent; what is there with the same content stays.
        """
        ...

    def download(self, prefix: str, folder: Path) -> int:
        """Copy all keys beneath `prefix`/ to `folder`, each file whole; return how many were fetched."""
        ...

    def delete(self, key: str) -> None:
        """Remove `key`; a key that is not there is no error."""
        ...

    def url(self, key: str) -> str:
        """Return where `key` is, in the form that KServe takes: a path, or s3://bucket/key."""
        ...


def is_own(part: str) -> bool:
    """Tell whether a part of a path is the store's own: its locks, or a file that is not whole yet."""
    return part == LOCKS or part.startswith(TEMPORARY_PREFIX)


_KEY_BYTES = 1000
_PART_BYTES = 220  # a file's name may have 255, of which an unfinished file takes 25


def check_key(key: str) -> str:
    """Return `key`, or raise UsageError when it could leave the store, hide in it or not fit into some."""
    wrong = any(part in {"", ".", ".."} or is_own(part) for part in key.split("/"))
    if wrong or "\\" in key or any(ord(letter) < 32 or ord(letter) == 127 for letter in key):
        raise UsageError(
            f"a key must be a relative path such as 'models/shop/aliases.json'; got {key!r}. Leave out empty"
            f" parts, '.', '..', backslashes, control characters, '{LOCKS}' and names that start with"
            f" '{TEMPORARY_PREFIX}'"
        )
    try:
        lengths = [len(part.encode()) for part in key.split("/")]
    except UnicodeEncodeError:
        raise UsageError(f"a key must be text that UTF-8 can hold; got {key!r}") from None
    if max(lengths) > _PART_BYTES or sum(lengths) + len(lengths) - 1 > _KEY_BYTES:
        raise UsageError(
            f"a key must have at most {_KEY_BYTES} bytes, and {_PART_BYTES} between two '/', to fit into"
            f" every store; '{key[:40]}…' has {len(key.encode())}. Choose a shorter name"
        )
    return key


def folder_prefix(prefix: str) -> str:
    """Return `prefix` as a folder: checked, with one final slash; "" stays the whole store."""
    bare = prefix.rstrip("/")
    return check_key(bare) + "/" if bare else ""


def files_beneath(folder: Path, last: str = "") -> list[tuple[str, Path]]:
    """Return (name with `/`, path) of the whole files beneath `folder`: sorted, `last` at the end."""
    if not folder.is_dir():
        raise UsageError(f"expected a folder to upload; '{folder}' is none. Give the path of a folder")
    found = [(path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file()]
    whole = [
        (name, path)
        for name, path in found
        if not any(part.startswith(TEMPORARY_PREFIX) for part in name.split("/"))
    ]
    return sorted(whole, key=lambda file: (file[0] == last, file[0]))
