"""What the registry writes down: versions, and moves of aliases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cd4ml.adapters.storage.documents import decode
from cd4ml.errors import ConflictError, IntegrityError

__all__ = [
    "AliasChange",
    "ModelVersion",
    "alias_key",
    "fenced",
    "moved",
    "parse_aliases",
    "parse_history",
    "parse_version",
    "version_key",
]


@dataclass(frozen=True)
class ModelVersion:
    """One version of a model as the registry recorded it.

    Attributes
    ----------
    name, version : str, int
        The model and its number, counted from 1 without a gap.
    bundle : str
        The bundle's id: the SHA-256 of its manifest.
    created : str
        When it was registered: UTC, ISO 8601.
    verdict : str
        The judge's decision: "accept", "reject" or "needs_approval"; "" when it was not judged.
    metrics, git, lineage : dict
        As the run wrote them.
    limits : dict
        Metric -> {"value", "score"}: what later challengers must hold (`domain.ratchet_limits.Limit`); empty
        when it was never held against a champion.
    """

    name: str
    version: int
    bundle: str
    created: str
    verdict: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    git: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the version as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class AliasChange:
    """One move of an alias; None stands for "no version".

    Attributes
    ----------
    alias : str
        Such as "champion".
    from_version, to_version : int or None
        What it named before and names since.
    at : str
        UTC, ISO 8601.
    by, reason : str
        Who moved it and why.
    """

    alias: str
    from_version: int | None
    to_version: int | None
    at: str
    by: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the change as JSON values, under the names of aliases.json."""
        return {
            "alias": self.alias,
            "at": self.at,
            "by": self.by,
            "from": self.from_version,
            "reason": self.reason,
            "to": self.to_version,
        }


def version_key(name: str, number: int) -> str:
    """Return where in the store a version's record is."""
    return f"models/{name}/versions/{number}.json"


def alias_key(name: str) -> str:
    """Return where in the store the aliases of a model and their history are."""
    return f"models/{name}/aliases.json"


def parse_aliases(data: bytes, where: str) -> dict[str, Any]:
    """Return the aliases' document; raise IntegrityError that names `where` when it is none."""
    document = decode(data, where)
    if not isinstance(document.get("aliases"), dict) or not isinstance(document.get("history"), list):
        raise IntegrityError(f"'{where}' lacks 'aliases' or 'history'; restore it")
    return document


def parse_version(name: str, document: Mapping[str, Any]) -> ModelVersion:
    """Return the version in a document of the registry; raise IntegrityError when something is lacking."""
    try:
        return ModelVersion(
            name,
            int(document["version"]),
            str(document["bundle"]),
            str(document.get("created", "")),
            str(document.get("verdict", "")),
            *(dict(document.get(part) or {}) for part in ("metrics", "git", "lineage", "limits")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"version {document.get('version', '?')} of '{name}' in the registry lacks a sound 'version',"
            f" 'bundle' or record ({error}); restore it"
        ) from error


def parse_history(document: Mapping[str, Any]) -> list[AliasChange]:
    """Return the moves in the aliases' document, the oldest first; IntegrityError when one is unsound."""
    names = ("alias", "from", "to", "at", "by", "reason")
    try:
        return [AliasChange(*(change[name] for name in names)) for change in document["history"]]
    except (KeyError, TypeError) as error:
        raise IntegrityError(
            f"a move in the history of the aliases lacks one of {', '.join(names)} ({error}); restore it"
        ) from error


def fenced(document: Mapping[str, Any], alias: str, holder: str, fence: int) -> dict[str, Any]:
    """Return the aliases' document with a fence noted; raise ConflictError when it has a higher one."""
    fences = dict(document.get("fences") or {})
    key = f"{alias}/{holder}"
    known = int(fences.get(key, 0))
    if fence < known:
        raise ConflictError(
            f"somebody with the fence {known} took the rollouts of '{holder}' over; what has {fence} may not"
            f" move the alias '{alias}' any more"
        )
    return {**document, "fences": {**fences, key: fence}}


def moved(document: Mapping[str, Any], change: AliasChange) -> dict[str, Any]:
    """Return the aliases' document after `change`."""
    aliases = {**document["aliases"], change.alias: change.to_version}
    return {
        **document,
        "aliases": {alias: version for alias, version in aliases.items() if version is not None},
        "history": [*document["history"], change.to_dict()],
    }
