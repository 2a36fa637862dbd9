"""The snapshots in a store: which there are, in which order, and which may go."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cd4ml
from cd4ml.adapters import git
from cd4ml.adapters.storage import atomic
from cd4ml.errors import ConflictError, NotFoundError, UsageError, nearest

if TYPE_CHECKING:
    from cd4ml.adapters.storage import Storage

__all__ = ["SnapshotHistory", "code_version"]

_ATTEMPTS = 20
_MANIFEST = "manifest.json"
_PREFIX = "snapshots/"
_INDEX = "snapshots/by-problem/"


def code_version() -> dict[str, Any]:
    """Return the version of this package and, where it runs from a repository, its commit."""
    found = git.describe(Path(cd4ml.__file__).parent)
    return {"version": version("cd4ml"), "commit": found.commit, "dirty": found.dirty}


class SnapshotHistory:
    """Snapshots of a store by id, and the order in which each problem accepted them.

    A snapshot is there when its manifest is: the manifest is written last and removed first, so that what a killed
    process left is never taken for whole.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def problems(self) -> list[str]:
        """Return the names of the problems that have snapshots."""
        keys = self._storage.list(_INDEX)
        return [key.removeprefix(_INDEX).removesuffix(".json") for key in keys if key.endswith(".json")]

    def entries(self, problem: str) -> list[dict[str, Any]]:
        """Return {"id", "created", "parent", "rows", "fingerprint"} of a problem's snapshots, newest last."""
        found = self._storage.read_versioned(_index_key(problem))
        return _entries(found[0]) if found else []

    def latest(self, problem: str) -> str | None:
        """Return the id of the snapshot that was accepted last, or None."""
        entries = self.entries(problem)
        return str(entries[-1]["id"]) if entries else None

    def resolve(self, reference: str) -> str:
        """Return the whole id for the beginning of one, or for the name of a problem (its latest).

        Raises
        ------
        NotFoundError
            If there is none.
        UsageError
            If several ids begin so.
        """
        names = self.problems()
        if reference in names:
            latest = self.latest(reference)
            if latest:
                return latest
        ids = sorted({str(entry["id"]) for name in names for entry in self.entries(name)})
        found = [identity for identity in ids if identity.startswith(reference)]
        if len(found) == 1 and reference:
            return found[0]
        if len(found) > 1:
            raise UsageError(f"'{reference}' is the beginning of {len(found)} snapshots; give more of the id")
        raise NotFoundError(
            f"no snapshot '{reference}'; expected the beginning of an id or a problem with snapshots"
            f" ({', '.join(names) or 'there is none'}){nearest(reference, names)}"
        )

    def manifest(self, identity: str) -> dict[str, Any]:
        """Return a snapshot's manifest."""
        return self.document(identity, _MANIFEST)

    def document(self, identity: str, name: str) -> dict[str, Any]:
        """Return a JSON file of a snapshot."""
        found: dict[str, Any] = json.loads(self._storage.get(f"{_PREFIX}{identity}/{name}"))
        return found

    def fetch(self, identity: str, folder: Path) -> Path:
        """Copy a snapshot to `folder`; the caller verifies it by opening it."""
        if not self._storage.exists(f"{_PREFIX}{identity}/{_MANIFEST}"):
            raise NotFoundError(f"the store has no whole snapshot {identity[:12]}; see `cd4ml data list`")
        with atomic.directory(folder) as writing:
            self._storage.download(f"{_PREFIX}{identity}", writing)
        return folder

    def store(self, problem: str, identity: str, folder: Path) -> None:
        """Keep the files in `folder`, which holds a manifest, and make the snapshot the problem's latest.

        A snapshot that is whole already is not written again.
        """
        manifest = (folder / _MANIFEST).read_bytes()
        if not self._storage.exists(f"{_PREFIX}{identity}/{_MANIFEST}"):
            self._upload(identity, folder, manifest)
        self._append(problem, _entry(identity, json.loads(manifest)))

    def _upload(self, identity: str, folder: Path, manifest: bytes) -> None:
        """Send every file and, when all are there, the manifest."""
        path = folder / _MANIFEST
        aside = folder.with_name(f"{folder.name}.{_MANIFEST}")
        path.rename(aside)
        try:
            self._storage.upload(folder, f"{_PREFIX}{identity}")
        finally:
            aside.rename(path)
        self._storage.put(f"{_PREFIX}{identity}/{_MANIFEST}", manifest)

    def _append(self, problem: str, entry: dict[str, Any]) -> None:
        def change(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return entries if entries and entries[-1]["id"] == entry["id"] else [*entries, entry]

        self._change(problem, change)

    def _change(self, problem: str, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        """Change a problem's history by compare-and-swap: nobody's entry is lost."""
        key = _index_key(problem)
        for attempt in range(_ATTEMPTS):
            found = self._storage.read_versioned(key)
            entries = _entries(found[0]) if found else []
            wanted = change(entries)
            if wanted == entries and found:
                return
            document = atomic.dumps({"problem": problem, "snapshots": wanted}).encode()
            try:
                self._storage.compare_and_swap(key, document, found[1] if found else None)
            except ConflictError:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    def prune(self, problem: str, keep: int, needed: Collection[str]) -> list[str]:
        """Remove all but the newest `keep` snapshots of a problem, and return the ids that are gone.

        Parameters
        ----------
        problem : str
        keep : int
            At least 1.
        needed : collection of str
            Ids that must stay whatever their age: those that registered versions were trained on.
        """
        if keep < 1:
            raise UsageError(f"--keep must be at least 1; found {keep}")
        gone: set[str] = set()

        def change(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
            ids = list(dict.fromkeys(entry["id"] for entry in reversed(entries)))
            gone.clear()
            gone.update(identity for identity in ids[keep:] if identity not in needed)
            return [entry for entry in entries if entry["id"] not in gone]

        self._change(problem, change)
        for identity in sorted(gone):
            self._storage.delete(f"{_PREFIX}{identity}/{_MANIFEST}")
            for key in self._storage.list(f"{_PREFIX}{identity}/"):
                self._storage.delete(key)
        return sorted(gone)


def _index_key(problem: str) -> str:
    return f"{_INDEX}{problem}.json"


def _entries(data: bytes) -> list[dict[str, Any]]:
    return list(json.loads(data)["snapshots"])


def _entry(identity: str, manifest: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": identity,
        "created": manifest["created"],
        "parent": manifest["parent"],
        "rows": {name: table["rows"] for name, table in manifest["tables"].items()},
        "fingerprint": manifest["fingerprint"],
    }
