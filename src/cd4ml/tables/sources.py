"""Find the sources of a problem: files in a folder, objects beneath a URL, rows of a database."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from cd4ml.errors import SourceError, nearest
from cd4ml.tables import database, remote

if TYPE_CHECKING:
    from cd4ml.problem import Problem, Table

__all__ = ["Source", "assert_unchanged", "fingerprint", "locate"]

_BLOCK_BYTES = 1 << 26
_LISTED = 12
_LOOKED_AT = 5000
"""Entries of a wrong data folder that are looked at for names: it may be the root of a disk."""


@dataclass(frozen=True)
class Source:
    """One file that can be read here, or one query.

    Parameters
    ----------
    name : str
        What people call it: a path below the data folder, a URL or "query".
    path : Path or None
        Where its bytes are; None for a query.
    state : tuple
        Size and time of change when it was found, so that a change while it is read is seen.
    """

    name: str
    path: Path | None = None
    state: tuple[int, int] = (0, 0)


def candidates(name: str) -> list[str]:
    """Return the names under which a table file may be found, the declared one first."""
    stem = name.removesuffix(".csv")
    return [name, f"{name}.gz", f"{stem}.parquet"] if stem != name else [name]


def locate(problem: Problem, data: str, scratch: Path) -> dict[str, list[Source]]:
    """Find every source of a problem; files from elsewhere are copied to `scratch`.

    Parameters
    ----------
    problem : Problem
    data : str
        A folder, `s3://bucket/prefix` or `https://host/path`.
    scratch : Path
        A folder for copies of remote files; the caller removes it.

    Returns
    -------
    dict of table name to list of Source
        Optional tables that are absent have an empty list.

    Raises
    ------
    SourceError
        If a table that is not optional has no file; says what is there.
    ServiceError
        If a remote place does not answer.
    """
    return {name: _locate_table(name, table, data, scratch) for name, table in problem.tables.items()}


def _locate_table(name: str, table: Table, data: str, scratch: Path) -> list[Source]:
    if table.query:
        return [Source("query")]
    found: list[Source] = []
    for file in table.file:
        source = _find(file, data, scratch)
        if source is not None:
            found.append(source)
        elif not table.optional:
            raise _absent(name, file, data)
    return found


def _addresses(file: str, data: str) -> list[str]:
    """Return the URLs under which a table file may be found, the declared one first; [] for a local file."""
    if remote.is_url(file):
        base, _, name = file.partition("?")[0].rpartition("/")
        signature = file[len(base) + 1 + len(name) :]
        # a signature is for one name alone
        return [file] if signature else [f"{base}/{candidate}" for candidate in candidates(name)]
    if not remote.is_url(data):
        return []
    if data.startswith("s3://"):
        return [f"{data.rstrip('/')}/{candidate}" for candidate in candidates(file)]
    base, mark, query = data.partition("?")
    return [f"{base.rstrip('/')}/{candidate}{mark}{query}" for candidate in candidates(quote(file))]


def _find(file: str, data: str, scratch: Path) -> Source | None:
    if remote.is_url(file) or remote.is_url(data):
        for address in _addresses(file, data):
            copy = remote.fetch(address, scratch)
            if copy is not None:
                return Source(remote.shown(address), copy, _state(copy))
        return None
    for candidate in candidates(file):
        path = Path(data) / candidate
        if path.is_dir():
            raise SourceError(
                f"expected the file '{candidate}' in {data}; found a folder. Give a file's name"
            )
        if path.is_file():
            return Source(candidate, path, _state(path))
    return None


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _absent(table: str, file: str, data: str) -> SourceError:
    tried = ", ".join(candidates(file))
    if addresses := _addresses(file, data):
        tried = ", ".join(remote.shown(address) for address in addresses)
        return SourceError(f"table '{table}': expected {tried}; found nothing there. Check the address")
    folder = Path(data)
    if not folder.exists():
        return SourceError(f"expected a data folder at {data}; found nothing. Check --data")
    if not folder.is_dir():
        return SourceError(f"expected a data folder at {data}; found a file. Give the folder that holds it")
    seen = islice(folder.rglob("*"), _LOOKED_AT)
    there = sorted(str(path.relative_to(folder)) for path in seen if path.is_file())
    shown = ", ".join(there[:_LISTED]) + (f" and {len(there) - _LISTED} more" if len(there) > _LISTED else "")
    return SourceError(
        f"table '{table}': expected {tried} in {data}; found {shown or 'an empty folder'}"
        + nearest(file, there)
    )


def assert_unchanged(sources: Iterable[Source]) -> None:
    """Raise SourceError when a file is not what it was when it was found."""
    for source in sources:
        if source.path is not None and (not source.path.is_file() or _state(source.path) != source.state):
            raise SourceError(
                f"{source.name}: expected a file that rests; found that it changed while it was read."
                " Try again"
            )


def fingerprint(problem: Problem, data: str) -> str:
    """Return a hash over the content of all sources, 64 hexadecimal digits.

    A single changed byte, a file more or less, or one changed row of a query gives another value. Remote
    objects count by their ETag and size, or, where the server gives none, by their bytes.

    Raises
    ------
    SourceError, ServiceError
        As `locate`.
    """
    with tempfile.TemporaryDirectory(prefix="cd4ml-") as folder:
        digests: dict[str, list[str]] = {}
        for name, table in problem.tables.items():
            if table.query:
                digests[name] = [database.query_digest(table, data)]
            else:
                digests[name] = _table_digests(name, table, data, Path(folder))
        return _combine(digests)


def _table_digests(name: str, table: Table, data: str, scratch: Path) -> list[str]:
    found = []
    for file in table.file:
        digest = _remote_digest(file, data)
        if digest is None:
            source = _find(file, data, scratch)
            digest = _file_digest(source.path) if source is not None and source.path else None
        if digest is None and not table.optional:
            raise _absent(name, file, data)
        found += [digest] if digest else []
    return found


def _remote_digest(file: str, data: str) -> str | None:
    """Return a remote object's validator as a digest, or None when it must be read."""
    for address in _addresses(file, data):
        tag = remote.validator(address)
        if tag is not None:
            name = PurePosixPath(urlsplit(address).path).name
            return hashlib.sha256(f"{name} {tag}".encode()).hexdigest() if tag else None
    return None


def _combine(digests: Mapping[str, Sequence[str]]) -> str:
    lines = [f"{name} {' '.join(digests[name])}" for name in sorted(digests)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    """Hash a file by blocks in parallel: the hash of the blocks' hashes and the kind of file."""
    size = path.stat().st_size
    starts = range(0, max(size, 1), _BLOCK_BYTES)
    with ThreadPoolExecutor(4) as pool:
        blocks = list(pool.map(lambda start: _block_digest(path, start), starts))
    kind = "".join(PurePosixPath(path.name).suffixes[-2:])
    return hashlib.sha256(b"".join([kind.encode(), b"\0", *blocks])).hexdigest()


def _block_digest(path: Path, start: int) -> bytes:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            file.seek(start)
            left = _BLOCK_BYTES
            while left and (piece := file.read(min(left, 1 << 20))):
                digest.update(piece)
                left -= len(piece)
    except OSError as error:
        raise SourceError(
            f"{path.name}: expected a readable file; found: {error.strerror}. Check its rights and the disk"
        ) from error
    return digest.digest()
