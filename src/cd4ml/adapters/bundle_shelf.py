"""The bundles that a consumer keeps on disk: the one in use, some before it, and which is which."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cd4ml.adapters.manifest import bundle_id, verify_manifest
from cd4ml.adapters.registry import ModelVersion, Registry
from cd4ml.adapters.signing import require_signature
from cd4ml.adapters.storage import atomic
from cd4ml.adapters.storage.documents import decode
from cd4ml.errors import IntegrityError, ServiceError, UsageError

__all__ = ["BundleShelf", "Kept", "Record"]

_RECORD, _LOCK, _BUNDLES, _CURRENT = "followed.json", ".lock", "bundles", "current"
_LOCK_SECONDS = 120.0
_FETCHED_SECONDS = 600.0
"""How long a bundle that another process has fetched may wait to be recorded as in use."""
_ASIDE = re.compile(rf"{re.escape(atomic.TEMPORARY_PREFIX)}|(?<=[0-9a-f]{{64}})-[0-9a-f]{{12}}")


@dataclass(frozen=True)
class Kept:
    """A verified bundle on the shelf.

    Attributes
    ----------
    version : int
        Its number in the registry.
    bundle : str
        Its id: the SHA-256 of its manifest.
    """

    version: int
    bundle: str


@dataclass(frozen=True)
class Record:
    """What is on the shelf: `kept`, the one in use first, and why it is pinned ("" when it is not)."""

    kept: tuple[Kept, ...] = ()
    pinned: str = ""


class BundleShelf:
    """A folder of bundles, shared by the processes that follow the same alias.

    Parameters
    ----------
    folder : Path
        For this alias alone; made when it is missing.
    reference : str
        NAME@alias; a folder that was made for another one is refused.
    keep : int
        Bundles that stay, at least 2: the one in use and the one before.

    Raises
    ------
    UsageError
        If the folder cannot be written, has other files in it, or belongs to another alias.
    """

    def __init__(self, folder: Path, reference: str, keep: int = 3) -> None:
        if keep < 2:
            raise UsageError(f"a shelf keeps 2 bundles or more, one to go back to; found {keep}")
        self.folder, self._reference, self._keep = folder.expanduser().absolute(), reference, keep
        self._bundles = self.folder / _BUNDLES
        path = self.folder / _RECORD
        try:
            if self.folder.is_dir() and not path.is_file():
                own = {_LOCK, _BUNDLES, _CURRENT}
                names = {found.name for found in self.folder.iterdir()} - own
                if any(not name.startswith(atomic.TEMPORARY_PREFIX) for name in names):
                    raise UsageError(f"'{self.folder}' has other files in it; give a new or empty folder")
            self._bundles.mkdir(parents=True, exist_ok=True)
            owner = decode(path.read_bytes(), str(path)).get("follows") if path.is_file() else reference
        except OSError as error:
            raise UsageError(f"'{self.folder}' cannot be written ({error.strerror}); give another") from error
        except IntegrityError:
            owner = reference  # a damaged record costs what was kept, and no more
        if owner != reference:
            raise UsageError(f"'{self.folder}' follows '{owner}', not '{reference}'; give another folder")

    def path(self, bundle: str) -> Path:
        """Return where a bundle is, or would be."""
        return self._bundles / bundle

    def fetch(self, registry: Registry, version: ModelVersion) -> Path:
        """Return the folder of a version's bundle, fetched and verified unless it is here already.

        Raises
        ------
        IntegrityError
            If the store does not give what the registry promised.
        ServiceError
            If the store cannot be reached, or another process fetches for too long.
        """
        path = self.path(version.bundle)
        with self._locked():
            try:
                found = registry.pull(version.name, version.version, path)
            except UsageError:
                if not path.exists():
                    raise
                shutil.rmtree(path)  # so damaged that it no longer looks like a bundle
                found = registry.pull(version.name, version.version, path)
            except IntegrityError as error:  # the same in the same words, each time
                raise IntegrityError(_ASIDE.sub("", str(error))) from error
            os.utime(found)  # see `_prune`
            return found

    def verified(self, kept: Kept) -> Path:
        """Return the folder of a kept bundle whose files and signature still hold.

        Raises
        ------
        IntegrityError
            If the bundle was changed, or is another one.
        """
        path = self.path(kept.bundle)
        verify_manifest(path)
        require_signature(path)
        if (found := bundle_id(path)) != kept.bundle:
            raise IntegrityError(f"expected the bundle {kept.bundle[:12]} in '{path}'; found {found[:12]}")
        return path

    def read(self) -> Record:
        """Return what is on the shelf; nothing when the record is damaged."""
        path = self.folder / _RECORD
        try:
            found = decode(path.read_bytes(), str(path))
            kept = tuple(Kept(int(one["version"]), _checked(one["bundle"])) for one in found["kept"])
            return Record(kept, str(found.get("pinned") or ""))
        except (OSError, IntegrityError, KeyError, TypeError, ValueError):
            return Record()

    def write(self, used: Sequence[Kept], pinned: str = "") -> None:
        """Record the bundle in use and the one before, and remove those that are beyond `keep`.

        Raises
        ------
        ServiceError
            If the folder cannot be written.
        """
        with self._locked():
            older = [one for one in self.read().kept if one not in used]
            kept = [*used, *older][: self._keep]
            told: dict[str, Any] = {"follows": self._reference, "kept": [asdict(one) for one in kept]}
            atomic.write_json(self.folder / _RECORD, {**told, "pinned": pinned or None})
            for one in used:
                if self.path(one.bundle).is_dir():
                    os.utime(self.path(one.bundle), (0, 0))  # it waits no longer, see `_prune`
            self._prune({one.bundle for one in kept})

    def point(self, bundle: str) -> Path:
        """Let the link `current` name a bundle, in one step, and return the link.

        Raises
        ------
        ServiceError
            If the folder cannot be written.
        """
        link, aside = self.folder / _CURRENT, self.folder / f"{atomic.TEMPORARY_PREFIX}{_CURRENT}"
        with self._locked():
            aside.unlink(missing_ok=True)
            aside.symlink_to(Path(_BUNDLES) / bundle)
            aside.replace(link)
        return link

    def _prune(self, kept: set[str]) -> None:
        """Remove what is not kept, and what killed processes left; nobody fetches while we hold the lock.

        What another process has just fetched stays, for it is recorded only when it is loaded: the
        folder's time tells it.
        """
        fetched_since = time.time() - _FETCHED_SECONDS
        link = self.folder / _CURRENT
        linked = link.readlink().name if link.is_symlink() else ""
        for path in self._bundles.iterdir():
            waits = len(path.name) == 64 and path.stat().st_mtime > fetched_since
            if path.name not in kept and path.name != linked and not waits:
                shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Exclude the other processes and threads that use this folder."""
        try:
            descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            _acquire(descriptor, self.folder)
            yield
        except OSError as error:
            raise self._unusable(error) from error
        finally:
            os.close(descriptor)

    def _unusable(self, error: OSError) -> ServiceError:
        reason = error.strerror or type(error).__name__
        return ServiceError(f"'{self.folder}' cannot be used ({reason}); mend its rights or space")


def _acquire(descriptor: int, folder: Path) -> None:
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise ServiceError(
                    f"another process has worked on '{folder}' for {_LOCK_SECONDS:g} s; wait for it or end it"
                ) from None
            time.sleep(0.01)
        else:
            return


def _checked(bundle: Any) -> str:
    """Return a bundle's id; ValueError for what could lead out of the folder."""
    if not isinstance(bundle, str) or len(bundle) != 64 or set(bundle) - set("0123456789abcdef"):
        raise ValueError
    return bundle
