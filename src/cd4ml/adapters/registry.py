"""The registry: numbered versions of named models, and the aliases that say which one serves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import EllipsisType
from typing import Any

from cd4ml.adapters.manifest import MANIFEST, SIGNATURE, bundle_id, verify_manifest
from cd4ml.adapters.registry_records import (
    AliasChange,
    ModelVersion,
    alias_key,
    fenced,
    moved,
    parse_aliases,
    parse_history,
    parse_version,
    version_key,
)
from cd4ml.adapters.signing import require_signature, verify_signature
from cd4ml.adapters.storage import Storage, atomic
from cd4ml.adapters.storage.documents import decode, encode, read_document, read_documents
from cd4ml.errors import ConflictError, IntegrityError, NotFoundError, UsageError, nearest

__all__ = ["AliasChange", "ModelVersion", "Registry", "read_record", "verify_bundle"]

LATEST = "latest"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_RECORDED = ("git", "limits", "lineage", "metrics", "verdict")


def _now() -> datetime:
    return datetime.now(UTC)


class Registry:
    """Models in a store: bundles by content, versions by number, aliases by compare-and-swap.

    Parameters
    ----------
    storage : Storage
        Where it is kept; several processes may write at once.
    clock : callable
        Returns the time in UTC.
    """

    def __init__(self, storage: Storage, clock: Callable[[], datetime] = _now) -> None:
        self.storage = storage
        self._clock = clock

    def register(self, name: str, bundle_dir: Path, record: Mapping[str, Any] | None = None) -> ModelVersion:
        """Upload a bundle and give it the next version number of `name`.

        A bundle that `name` has already keeps its number and its record, also when two processes register it
        at the same time. A process that is killed leaves a version or none: files of a bundle that no version
        names are taken up by the next attempt.

        Parameters
        ----------
        name : str
            Letters, digits, ".", "_" and "-", at most 63.
        bundle_dir : Path
            A bundle whose manifest holds.
        record : mapping, optional
            "verdict" (str), "metrics", "git", "lineage" and "limits" (dict); what is missing stays empty.

        Raises
        ------
        IntegrityError
            If the bundle is not what its manifest says, or the manifest not what its signature says.
        UsageError
            If the name or the record is none.
        """
        _check_name(name)
        record = dict(record or {})
        if unknown := sorted(record.keys() - set(_RECORDED)):
            raise UsageError(f"a version records {', '.join(_RECORDED)}; got '{unknown[0]}'. Leave it out")
        record.setdefault("git", _git(record.get("lineage") or {}))
        bundle = self.upload(bundle_dir)
        known = self.versions(name)
        for version in known:
            if version.bundle == bundle:
                return version
        number = known[-1].version + 1 if known else 1
        created = self._clock().isoformat(timespec="seconds")
        while True:
            new = ModelVersion(name, number, bundle, created, **record)
            try:
                self.storage.compare_and_swap(_version_key(name, number), encode(new.to_dict()), None)
            except ConflictError:
                other = self._version(name, number)
                if other.bundle == bundle:
                    return other
                number += 1
            else:
                return new

    def push(self, bundle_dir: Path, name: str, verdict: str = "") -> ModelVersion:
        """Register a bundle with what its lineage.json and metrics.json say, and the judge's decision."""
        return self.register(name, bundle_dir, {**read_record(bundle_dir), "verdict": verdict})

    def models(self) -> list[str]:
        """Return the names of all models, sorted."""
        return sorted({key.split("/")[1] for key in self.storage.list("models/") if "/versions/" in key})

    def versions(self, name: str) -> list[ModelVersion]:
        """Return all versions of `name` in the order of their numbers; none when there is no such model."""
        keys = self.storage.list(f"models/{_check_name(name)}/versions/")
        found = [parse_version(name, document) for document in read_documents(self.storage, keys)]
        return sorted(found, key=lambda version: version.version)

    def get(self, name: str, ref: str | int = LATEST) -> ModelVersion:
        """Return one version of `name`: by number, by alias, or the "latest" one.

        Raises
        ------
        NotFoundError
            If there is no such model, alias or version; the nearest name is suggested.
        """
        number = int(ref) if str(ref).isdecimal() else self._number(name, str(ref))
        if not self.storage.exists(_version_key(name, number)):
            raise self._missing(name, number)
        return self._version(name, number)

    def aliases(self, name: str) -> dict[str, int]:
        """Return the version number of each alias of `name`."""
        return dict(sorted(self._aliases(name)[0]["aliases"].items()))

    def history(self, name: str) -> list[AliasChange]:
        """Return every move of every alias of `name`, the oldest first."""
        return parse_history(self._aliases(name)[0])

    def set_alias(
        self,
        name: str,
        alias: str,
        version: int | None,
        expected: int | EllipsisType | None = ...,
        reason: str = "",
        by: str = "",
        fence: tuple[str, int] | None = None,
    ) -> AliasChange:
        """Move an alias, unless somebody else moved it first.

        Parameters
        ----------
        name, alias : str
            Such as "bike-demand" and "champion".
        version : int or None
            What it names from now on; None takes it away.
        expected : int, None or ...
            What it must name now (None: nothing yet). Left out, it is what it names when the call begins.
        reason, by : str
            Why, and who; kept in the history.
        fence : (str, int), optional
            The service whose rollout moves it, and the number of its lease, which is noted, also without a
            move: a controller that was replaced, and wakes up late, cannot move it any more.

        Raises
        ------
        ConflictError
            If the alias names something else by now, or a higher fence is noted. Of several movers with the
            same `expected` exactly one wins.
        NotFoundError
            If the model or `version` does not exist.
        """
        _check_alias(alias)
        self.get(name, LATEST if version is None else version)
        while True:
            known, token = self._aliases(name)
            document = known if fence is None else fenced(known, alias, *fence)
            now = document["aliases"].get(alias)
            expected = now if expected is ... else expected
            if now != expected:
                raise ConflictError(
                    f"the alias '{alias}' of '{name}' should name {_said(expected)} and names {_said(now)}:"
                    " it was moved by somebody else. Look at its history and decide anew"
                )
            change = AliasChange(alias, now, version, self._clock().isoformat(timespec="seconds"), by, reason)
            new = moved(document, change) if now != version else document
            if new == known:  # no move, so nothing for the history
                return change
            try:
                self.storage.compare_and_swap(alias_key(name), encode(new), token)
            except ConflictError:
                continue
            return change

    def pull(self, name: str, ref: str | int, folder: Path) -> Path:
        """Download a version's bundle to `folder`, which appears when its manifest and signature have held.

        A `folder` that has this bundle already is verified and kept; one that has another bundle, or this one
        damaged, is replaced.

        Raises
        ------
        IntegrityError
            If the store does not give what the registry promised; `folder` is left as it was.
        UsageError
            If `folder` has other files in it, or cannot be written.
        """
        bundle = self.get(name, ref).bundle
        folder = folder.absolute()
        if _is_something_else(folder):
            raise UsageError(f"'{folder}' has other files in it; give a new or empty folder for the bundle")
        if _has(folder, bundle):
            return folder
        if not self.storage.exists(f"bundles/{bundle}/{MANIFEST}"):
            raise NotFoundError(
                f"the store has no whole bundle {bundle[:12]} for '{name}@{ref}': push it again from where"
                " it was made"
            )
        try:
            with atomic.directory(folder) as temporary:
                self.storage.download(f"bundles/{bundle}", temporary)
                verify_bundle(temporary, bundle)
        except OSError as error:
            raise UsageError(
                f"'{folder}' cannot be written ({error.strerror}); give another folder, or mend its rights or"
                " space"
            ) from error
        return folder

    def storage_uri(self, version: ModelVersion) -> str:
        """Return where a version's bundle is: s3://bucket/prefix/bundles/<id>, or a folder's path."""
        return self.storage.url(f"bundles/{version.bundle}")

    def upload(self, bundle_dir: Path) -> str:
        """Upload a bundle, its manifest last: what has a manifest in the store is whole. Return its id.

        No version names it yet; `register` uploads as well.

        Raises
        ------
        IntegrityError
            If the bundle is not what its manifest says, or the manifest not what its signature says.
        """
        verify_manifest(bundle_dir)
        if (signature := verify_signature(bundle_dir)).state == "invalid":
            raise IntegrityError(f"bundle '{bundle_dir}' was refused. {signature.warning}; sign it again")
        bundle = bundle_id(bundle_dir)
        key = f"bundles/{bundle}"
        if (bundle_dir / SIGNATURE).is_file():
            self.storage.put(f"{key}/{SIGNATURE}", (bundle_dir / SIGNATURE).read_bytes())
        if not self.storage.exists(f"{key}/{MANIFEST}"):
            self.storage.upload(bundle_dir, key, last=MANIFEST)
        return bundle

    def _version(self, name: str, number: int) -> ModelVersion:
        return parse_version(name, read_document(self.storage, _version_key(name, number)))

    def _number(self, name: str, ref: str) -> int:
        """Return the number that an alias, or "latest", stands for."""
        aliases = self.aliases(name)
        if ref in aliases:
            return aliases[ref]
        versions = self.versions(name)
        if not versions or ref != LATEST:
            raise self._missing(name, ref)
        return versions[-1].version

    def _missing(self, name: str, ref: str | int) -> NotFoundError:
        models = self.models()
        if name not in models:
            known = f"it has {', '.join(models)}" if models else "it has none yet: push one"
            return NotFoundError(f"the registry has no model '{name}'; {known}{nearest(name, models)}")
        have = [*self.aliases(name), LATEST]
        return NotFoundError(
            f"the model '{name}' has no version '{ref}'; it has 1 to {self.versions(name)[-1].version} and"
            f" the names {', '.join(have)}{nearest(str(ref), have)}"
        )

    def _aliases(self, name: str) -> tuple[dict[str, Any], str | None]:
        found = self.storage.read_versioned(alias_key(_check_name(name)))
        if found is None:
            return {"aliases": {}, "history": []}, None
        return parse_aliases(found[0], self.storage.url(alias_key(name))), found[1]


def read_record(bundle_dir: Path) -> dict[str, dict[str, Any]]:
    """Return "git", "lineage" and the holdout's "metrics" of a bundle; {} where it has no such file."""
    lineage, metrics = (_document(bundle_dir / f"{part}.json") for part in ("lineage", "metrics"))
    return {"git": _git(lineage), "lineage": lineage, "metrics": metrics.get("holdout", metrics)}


def _document(path: Path) -> dict[str, Any]:
    return decode(path.read_bytes(), str(path)) if path.is_file() else {}


def _git(lineage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the commit that a lineage names, as a mapping or in words of its own."""
    git = lineage.get("git")
    if isinstance(git, dict):
        return git
    known = {name: lineage.get(f"git_{name}") for name in ("commit", "branch")}
    return {name: value for name, value in known.items() if value}


def _version_key(name: str, number: int) -> str:
    return version_key(_check_name(name), number)


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            "a model's name must be 1 to 63 letters, digits, '.', '_' or '-', a letter or digit first;"
            f" got {name!r}"
        )
    return name


def _check_alias(alias: str) -> None:
    if not _NAME.fullmatch(alias) or alias.isdecimal() or alias == LATEST:
        raise UsageError(
            f"an alias must be letters, digits, '.', '_' or '-', no number and not '{LATEST}'; got {alias!r}."
            " Usual ones are 'champion' and 'challenger'"
        )


def _said(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"


def _is_something_else(folder: Path) -> bool:
    """Tell whether replacing `folder` would destroy a file that no bundle listed."""
    if not folder.is_dir():
        return folder.exists()
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    return bool(found - _listed(folder) - {MANIFEST, SIGNATURE}) or (bool(found) and MANIFEST not in found)


def _listed(folder: Path) -> set[str]:
    """Return the files that the manifest of a folder lists, also when the manifest was damaged."""
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())["files"]
        return set(listed)
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _has(folder: Path, bundle: str) -> bool:
    """Tell whether a folder has this bundle, whole."""
    try:
        verify_bundle(folder, bundle)
    except IntegrityError:
        return False
    return True


def verify_bundle(folder: Path, bundle: str, public_keys: Sequence[str] | None = None) -> None:
    """Refuse a folder that is not the bundle with this id, or not signed by a key of ours.

    Parameters
    ----------
    public_keys : sequence of str, optional
        As in `cd4ml.adapters.signing.require_signature`.

    Raises
    ------
    IntegrityError
        If a file, the manifest or the signature is not what was promised.
    """
    verify_manifest(folder)
    found = bundle_id(folder)
    if found != bundle:
        raise IntegrityError(
            f"the store gave the bundle {found[:12]} where the registry promised {bundle[:12]}:"
            f" '{MANIFEST}' is another one's; do not use it"
        )
    require_signature(folder, public_keys)
