"""Who manages which field: what a write takes and gives up, server-side apply and its conflicts.

The rules are those of sigs.k8s.io/structured-merge-diff: a write owns what it changed, an apply owns what it
says and removes what it said before and nobody else owns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.kubernetes.standin import fields
from tests.kubernetes.standin.answers import apply_conflict
from tests.kubernetes.standin.fields import Path

__all__ = ["Writer", "apply", "same_but_for_times", "update"]

_OF_THE_SERVER = (
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
)
_STRIPPED: set[Path] = {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
_STRIPPED |= {("f:metadata", f"f:{name}") for name in _OF_THE_SERVER}


@dataclass(frozen=True)
class Writer:
    """A manager in one role: the same name owns apart what it updates and what it applies."""

    manager: str
    operation: str
    api_version: str
    subresource: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """An applier is the same in every version of the API."""
        version = self.api_version if self.operation == "Update" else ""
        return self.manager, self.operation, version, self.subresource

    def __str__(self) -> str:
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


@dataclass
class _Owned:
    writer: Writer
    paths: set[Path]
    time: str | None


_Managers = dict[tuple[str, str, str, str], _Owned]


def _decode(entries: list[dict[str, Any]] | None) -> _Managers:
    found: _Managers = {}
    for entry in entries or []:
        if not entry.get("operation"):
            continue
        writer = Writer(
            entry.get("manager", ""),
            entry["operation"],
            entry.get("apiVersion", ""),
            entry.get("subresource", ""),
        )
        found[writer.key] = _Owned(writer, fields.decode(entry.get("fieldsV1") or {}), entry.get("time"))
    return found


def _encode(managers: _Managers) -> list[dict[str, Any]]:
    def rank(owned: _Owned) -> tuple[str, str, str, str, str]:
        writer = owned.writer
        return writer.operation, owned.time or "", writer.manager, writer.api_version, writer.subresource

    found = []
    for owned in sorted(managers.values(), key=rank):
        entry: dict[str, Any] = {
            "apiVersion": owned.writer.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": fields.encode(owned.paths),
            "manager": owned.writer.manager,
            "operation": owned.writer.operation,
        }
        if owned.writer.subresource:
            entry["subresource"] = owned.writer.subresource
        if owned.time:
            entry["time"] = owned.time
        found.append(entry)
    return found


def _bare(document: Mapping[str, Any]) -> dict[str, Any]:
    """The object without its managedFields: they do not manage themselves."""
    metadata = {key: item for key, item in document["metadata"].items() if key != "managedFields"}
    return {**document, "metadata": metadata}


def _with(document: Mapping[str, Any], managers: _Managers) -> dict[str, Any]:
    entries = _encode(managers)
    bare = _bare(document)
    if entries:
        bare["metadata"]["managedFields"] = entries
    return bare


def update(
    old: Mapping[str, Any], new: Mapping[str, Any], schema: Mapping[str, Any], writer: Writer, now: str
) -> dict[str, Any]:
    """Return the new object with what this write took from others and took for itself."""
    given = new["metadata"].get("managedFields")
    managers = _decode(given if given else old["metadata"].get("managedFields"))
    found = fields.compare(_bare(old), _bare(new), schema)
    taken = (found.added | found.modified) - _STRIPPED
    for owned in managers.values():
        owned.paths -= taken | found.removed
    if taken:
        mine = managers.get(writer.key) or _Owned(writer, set(), now)
        mine.paths |= taken
        mine.time = now
        managers[writer.key] = mine
    return _with(new, {key: owned for key, owned in managers.items() if owned.paths})


def apply(  # the fields of one call
    live: Mapping[str, Any],
    applied: Mapping[str, Any],
    schema: Mapping[str, Any],
    writer: Writer,
    now: str,
    *,
    force: bool,
) -> dict[str, Any]:
    """Return the live object with the configuration applied; raises the 409 of the server for a conflict."""
    managers = _decode(live["metadata"].get("managedFields"))
    bare = _bare(live)
    last = managers.get(writer.key)
    claimed = fields.field_set(applied, schema) - _STRIPPED
    managers[writer.key] = _Owned(writer, claimed, last.time if last else None)
    merged = fields.merge(bare, applied, schema)
    if last:
        kept = fields.with_parents(path for owned in managers.values() for path in owned.paths)
        merged = fields.remove(merged, fields.with_parents(last.paths) - kept, schema)
    found = fields.compare(bare, merged, schema)
    taken = (found.added | found.modified) - _STRIPPED
    _yield_to(managers, writer, taken, force)
    for owned in managers.values():
        if owned.writer.key != writer.key:
            owned.paths -= found.removed
    if merged != bare:
        managers[writer.key].time = now
    kept_managers = {key: owned for key, owned in managers.items() if owned.paths}
    return _with(merged, kept_managers)


def _yield_to(managers: _Managers, writer: Writer, taken: set[Path], force: bool) -> None:
    others = [owned for key, owned in sorted(managers.items()) if key != writer.key]
    causes = [
        (str(owned.writer), fields.printed(path)) for owned in others for path in sorted(owned.paths & taken)
    ]
    if causes and not force:
        raise apply_conflict(causes)
    for owned in others:
        owned.paths -= taken


def same_but_for_times(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a write would change nothing but the times of managedFields: then it changes nothing at all."""

    def timeless(document: Mapping[str, Any]) -> dict[str, Any]:
        entries = document["metadata"].get("managedFields") or []
        without = [{key: item for key, item in entry.items() if key != "time"} for entry in entries]
        return {**document, "metadata": {**document["metadata"], "managedFields": without}}

    return timeless(old) == timeless(new)
