"""The snapshots in a store: which there are, in which order, and which may go."""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cd4ml
from cd4ml.adapters import git
from cd4ml.adapters.manifest import MANIFEST, verify_manifest
from cd4ml.adapters.storage import atomic
from cd4ml.adapters.storage.documents import decode
from cd4ml.adapters.storage.hashing import sha256_bytes
from cd4ml.errors import ConflictError, IntegrityError, NotFoundError, UsageError, nearest
from cd4ml.tables.comparison import Accepted

if TYPE_CHECKING:
    from cd4ml.adapters.storage import Storage

__all__ = ["SnapshotHistory", "code_version"]

_ATTEMPTS = 20
_SET_CHARACTERS = 16
_PREFIX = "snapshots/"
_INDEX = "snapshots/by-problem/"


def code_version() -> dict[str, Any]:
    """Return the version of this package and, where it runs from a repository, its commit."""
    found = git.describe(Path(cd4ml.__file__).parent)
    return {"version": version("cd4ml"), "commit": found.commit, "dirty": found.dirty}


class SnapshotHistory:
    """Snapshots of a store by id, and the order in which each problem accepted them.

    `snapshots/<id>/manifest.json` is written once, by compare-and-swap, when all of its files are there; they
    lie in a folder beside it that is named by the manifest's own hash. So a killed writer leaves no snapshot
    that looks whole, and of two writers of the same content one wins: their files never mix.
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
        return decode(self._manifest_bytes(identity), self._storage.url(_manifest_key(identity)))

    def document(self, identity: str, name: str) -> dict[str, Any]:
        """Return `validation.json` or `profile.json` of a snapshot, after a look at its hash."""
        found = self._manifest_bytes(identity)
        key = f"{_file_set(identity, found)}/{name}"
        data = self._storage.get(key)
        promised = decode(found, _manifest_key(identity))["files"][name]["sha256"]
        if sha256_bytes(data) != promised:
            raise IntegrityError(
                f"{self._storage.url(key)}: expected the SHA-256 {promised[:12]}; found"
                f" {sha256_bytes(data)[:12]}. Restore it, or remove the snapshot and take it again"
            )
        return decode(data, name)

    def documents(self, identity: str) -> Accepted:
        """Return a snapshot's manifest and profile, which say enough to compare with it."""
        return Accepted(self.manifest(identity), self.document(identity, "profile.json"))

    def accepted(self, problem: str) -> Accepted | None:
        """Return manifest and profile of the snapshot that was accepted last, or None."""
        latest = self.latest(problem)
        return self.documents(latest) if latest else None

    def fetch(self, identity: str, folder: Path) -> Path:
        """Copy a snapshot to `folder`, which appears when every file is what the manifest promises."""
        files = _file_set(identity, self._manifest_bytes(identity))
        with atomic.directory(folder) as writing:
            self._storage.download(files, writing)
            verify_manifest(writing)
        return folder

    def _manifest_bytes(self, identity: str) -> bytes:
        found = self._storage.read_versioned(_manifest_key(identity))
        if found is None:
            raise NotFoundError(f"the store has no whole snapshot {identity[:12]}; see `cd4ml data list`")
        return found[0]

    def store(self, problem: str, identity: str, folder: Path) -> None:
        """Keep the files in `folder`, which holds a manifest, and make the snapshot the problem's latest.

        A snapshot that is whole already is not written again.
        """
        manifest = (folder / MANIFEST).read_bytes()
        if not self._storage.exists(_manifest_key(identity)):
            files = _file_set(identity, manifest)
            self._storage.upload(folder, files)
            try:
                self._storage.compare_and_swap(_manifest_key(identity), manifest, None)
            except ConflictError:  # another writer was first; the same manifest shares its files
                if self._manifest_bytes(identity) != manifest:
                    self._remove_beneath(files)
        self._append(problem, _entry(identity, decode(manifest, MANIFEST)))

    def _remove_beneath(self, folder: str) -> None:
        for key in self._storage.list(f"{folder}/"):
            self._storage.delete(key)

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
        back = {entry["id"] for entry in self.entries(problem)}  # taken again meanwhile
        for identity in sorted(gone - back):
            self._storage.delete(_manifest_key(identity))
            self._remove_beneath(f"{_PREFIX}{identity}")
            self._storage.delete(f"profiles/{identity}.html")
        return sorted(gone - back)


def _index_key(problem: str) -> str:
    return f"{_INDEX}{problem}.json"


def _manifest_key(identity: str) -> str:
    return f"{_PREFIX}{identity}/{MANIFEST}"


def _file_set(identity: str, manifest: bytes) -> str:
    """Return where the files of one manifest lie."""
    return f"{_PREFIX}{identity}/{sha256_bytes(manifest)[:_SET_CHARACTERS]}"


def _entries(data: bytes) -> list[dict[str, Any]]:
    return list(decode(data, "the index of snapshots")["snapshots"])


def _entry(identity: str, manifest: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": identity,
        "created": manifest["created"],
        "parent": manifest["parent"],
        "rows": {name: table["rows"] for name, table in manifest["tables"].items()},
        "fingerprint": manifest["fingerprint"],
    }
