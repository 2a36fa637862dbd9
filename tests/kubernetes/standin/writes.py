"""Writes: create, replace, patch, apply, delete; with validation, ownership and optimistic locking."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.kubernetes.standin import answers, builtins, managers
from tests.kubernetes.standin.decoding import check_typed, decode
from tests.kubernetes.standin.kinds import Kind
from tests.kubernetes.standin.managers import Writer
from tests.kubernetes.standin.patches import json_patch, merge_patch
from tests.kubernetes.standin.schemas import fill_defaults
from tests.kubernetes.standin.store import Store
from tests.kubernetes.standin.validation import validate, validate_name

__all__ = ["Answer", "Target", "Writes"]

_MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
_PATCHES = ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"]
_STRATEGIC = "application/strategic-merge-patch+json"


@dataclass(frozen=True)
class Answer:
    """What a call is answered."""

    code: int
    body: Any
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """What a call is about and how: the path and the parameters of the request, read."""

    kind: Kind
    namespace: str
    name: str
    subresource: str
    validation: str
    dry_run: bool
    manager: str
    explicit_manager: str
    force: bool

    @property
    def key(self) -> tuple[str, str]:
        return self.kind.store_key

    def writer(self, operation: str = "Update") -> Writer:
        return Writer(self.manager, operation, self.kind.api_version, self.subresource)

    def missing(self) -> answers.Refused:
        return answers.not_found(self.kind.group, self.kind.plural, self.name)

    def stale(self, why: str = _MODIFIED) -> answers.Refused:
        return answers.conflict(self.kind.group, self.kind.plural, self.name, why)


class Writes:
    """Every way to change what a store holds."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def create(self, target: Target, body: Any) -> Answer:
        decoded = decode(body, target.kind, target.validation)
        document = copy.deepcopy(decoded.document)
        self._name_it(target, document)
        builtins.fill_in(document, target.kind)
        if target.kind.custom:
            document = fill_defaults(document, target.kind.schema)
        if target.kind.status_subresource:
            document.pop("status", None)
        empty = {"metadata": {}} | {part: {} for part in target.kind.structs}
        metadata = document["metadata"]
        for key in (
            "managedFields",
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "generation",
            "selfLink",
        ):
            metadata.pop(key, None)
        if metadata.pop("resourceVersion", ""):
            raise answers.bad_request("resourceVersion should not be set on objects to be created")
        owned = managers.update(empty, document, target.kind.schema, target.writer(), self._now())
        owned = {"apiVersion": target.kind.api_version, "kind": target.kind.kind, **owned}
        return Answer(201, self._insert(target, owned), decoded.warnings)

    def replace(self, target: Target, body: Any) -> Answer:
        decoded = decode(body, target.kind, target.validation)
        document = copy.deepcopy(decoded.document)
        self._name_it(target, document)
        builtins.fill_in(document, target.kind)
        old = self._store.get(target.key, target.namespace, target.name)
        if old is None:
            if not target.kind.create_on_put or document["metadata"].get("resourceVersion"):
                raise target.missing()
            return self.create(target, body)
        if not document["metadata"].get("resourceVersion") and not target.kind.allow_unconditional:
            text = "Invalid value: 0x0: must be specified for an update"
            cause = answers.Cause("FieldValueInvalid", "metadata.resourceVersion", text)
            raise answers.invalid(target.kind.group, target.kind.plural, target.name, [cause])
        return Answer(200, self._update(target, old, document), decoded.warnings)

    def patch(self, target: Target, content_type: str, body: Any) -> Answer:
        if content_type == _PATCHES[2]:
            return self.apply(target, body)
        if target.force:
            text = "Forbidden: may not be specified for non-apply patch"
            raise _bad_option(answers.Cause("FieldValueForbidden", "force", text))
        if content_type not in _PATCHES and not (content_type == _STRATEGIC and not target.kind.custom):
            accepted = _PATCHES if target.kind.custom else sorted([*_PATCHES, _STRATEGIC])
            raise answers.unsupported_media(accepted)
        old = self._store.get(target.key, target.namespace, target.name)
        if old is None:
            raise target.missing()
        current = {**old, "apiVersion": target.kind.api_version}
        patched = json_patch(current, body) if content_type == _PATCHES[0] else merge_patch(current, body)
        decoded = decode(patched, target.kind, target.validation, patched=True)
        document = copy.deepcopy(decoded.document)
        self._name_it(target, document)
        return Answer(200, self._update(target, old, document), decoded.warnings)

    def apply(self, target: Target, body: Any) -> Answer:
        if not target.explicit_manager:
            text = "Required value: is required for apply patch"
            raise _bad_option(answers.Cause("FieldValueRequired", "fieldManager", text))
        if not isinstance(body, dict) or not body.get("kind") or not body.get("apiVersion"):
            raise answers.bad_request("error decoding YAML: Object 'Kind' is missing")
        if (body.get("metadata") or {}).get("managedFields"):
            raise answers.bad_request("metadata.managedFields must be nil")
        check_typed(body, target.kind, target.namespace, target.name)
        applied = copy.deepcopy(decode(body, target.kind, "Ignore").document)
        self._name_it(target, applied)
        old = self._store.get(target.key, target.namespace, target.name)
        self._keep_to_subresource(target, applied)
        live = old or _unborn(target, applied)
        version = applied["metadata"].pop("resourceVersion", "")
        if version and (old is None or version != old["metadata"]["resourceVersion"]):
            raise target.missing() if old is None else target.stale()
        document = managers.apply(
            live, applied, target.kind.schema, target.writer("Apply"), self._now(), force=target.force
        )
        if old is None:
            document["metadata"].setdefault("managedFields", [])
            for entry in document["metadata"]["managedFields"]:
                entry.setdefault("time", self._now())
            builtins.fill_in(document, target.kind)
            filled = fill_defaults(document, target.kind.schema) if target.kind.custom else document
            return Answer(201, self._insert(target, filled))
        filled = fill_defaults(document, target.kind.schema) if target.kind.custom else document
        return Answer(200, self._finish(target, old, filled))

    def delete(self, target: Target, options: Any) -> Answer:
        old = self._store.get(target.key, target.namespace, target.name)
        if old is None:
            raise target.missing()
        self._check_preconditions(target, old, (options or {}).get("preconditions") or {})
        metadata = old["metadata"]
        if target.key == ("", "namespaces"):
            return Answer(200, self._delete_namespace(target, old))
        if metadata.get("finalizers") and not target.dry_run:
            if "deletionTimestamp" not in metadata:
                metadata |= {"deletionTimestamp": self._now(), "deletionGracePeriodSeconds": 0}
                old = self._store.put(target.key, old)
            return Answer(200, old)
        if not target.dry_run:
            self._store.remove(target.key, target.namespace, target.name)
        details = {"name": target.name, "group": target.kind.group, "kind": target.kind.plural}
        details = {key: item for key, item in details.items() if item} | {"uid": metadata["uid"]}
        body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return Answer(200, body)

    def _now(self) -> str:
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")

    def _name_it(self, target: Target, document: dict[str, Any]) -> None:
        metadata = document["metadata"] = dict(document["metadata"])
        if target.kind.namespaced:
            if metadata.setdefault("namespace", target.namespace) != target.namespace:
                raise answers.bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
        else:
            metadata.pop("namespace", None)
        if not metadata.get("name") and metadata.get("generateName") and not target.name:
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        if target.name and metadata.setdefault("name", target.name) != target.name:
            raise answers.bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL"
                f" ({target.name})"
            )

    def _insert(self, target: Target, document: dict[str, Any]) -> dict[str, Any]:
        kind, metadata = target.kind, document["metadata"]
        name = metadata.get("name", "")
        self._check_namespace(target, name)
        if not name:
            text = "Required value: name or generateName is required"
            cause = answers.Cause("FieldValueRequired", "metadata.name", text)
            raise answers.invalid(kind.group, kind.kind, "", [cause])
        self._check_valid(target, document)
        if self._store.get(target.key, target.namespace, name) is not None:
            raise answers.already_exists(kind.group, kind.plural, name)
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": self._now()}
        if kind.generations:
            metadata["generation"] = 1
        builtins.prepare_new(document, kind, self._store.version)
        return document if target.dry_run else self._store.put(target.key, document)

    def _check_namespace(self, target: Target, name: str) -> None:
        if not target.kind.namespaced:
            return
        found = self._store.get(("", "namespaces"), "", target.namespace)
        if found is None:
            raise answers.not_found("", "namespaces", target.namespace)
        if "deletionTimestamp" in found["metadata"]:
            why = (
                f"unable to create new content in namespace {target.namespace} because it is being terminated"
            )
            raise answers.forbidden(target.kind.group, target.kind.plural, name, why)

    def _update(self, target: Target, old: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
        """A write that is no apply: the writer owns what it changes."""
        given = document["metadata"]
        version = given.get("resourceVersion")
        if given.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            text = f"UID in precondition: {given['uid']}, UID in object meta: {old['metadata']['uid']}"
            raise target.stale(f"Precondition failed: {text}")
        if version and version != old["metadata"]["resourceVersion"]:
            raise target.stale()
        if target.kind.custom:
            document = fill_defaults(document, target.kind.schema)
        document = _kept_apart(target, old, document)
        owned = managers.update(old, document, target.kind.schema, target.writer(), self._now())
        return self._finish(target, old, owned)

    def _keep_to_subresource(self, target: Target, applied: dict[str, Any]) -> None:
        if target.subresource == "status":
            for key in set(applied) - {"apiVersion", "kind", "metadata", "status"}:
                del applied[key]
        elif target.kind.status_subresource:
            applied.pop("status", None)

    def _finish(self, target: Target, old: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
        """Set what the server sets, validate, and write unless nothing changed."""
        metadata = document["metadata"]
        for key in (
            "uid",
            "creationTimestamp",
            "generation",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ):
            metadata.pop(key, None)
            if key in old["metadata"]:
                metadata[key] = old["metadata"][key]
        metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
        if target.kind.generations and _content(document, target.kind) != _content(old, target.kind):
            metadata["generation"] = old["metadata"].get("generation", 0) + 1
        self._check_valid(target, document, old)
        if target.dry_run or managers.same_but_for_times(old, document):
            return document if target.dry_run else old
        written = self._store.put(target.key, document)
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            self._store.remove(target.key, target.namespace, target.name)
        return written

    def _check_valid(self, target: Target, document: dict[str, Any], old: Any = None) -> None:
        kind, name = target.kind, document["metadata"].get("name", "")
        causes = validate_name(name) if old is None else []
        if kind.custom:
            causes += validate(document, kind.schema, old, rules=kind.has_rules)
        if causes:
            raise answers.invalid(kind.group, kind.kind, name, causes)

    def _check_preconditions(self, target: Target, old: dict[str, Any], wanted: dict[str, Any]) -> None:
        metadata, kind = old["metadata"], target.kind
        for key, word, hint in (
            ("uid", "UID", "The object might have been deleted and then recreated"),
            ("resourceVersion", "ResourceVersion", "The object might have been modified"),
        ):
            if wanted.get(key) is not None and wanted[key] != metadata[key]:
                why = (
                    f"the {word} in the precondition ({wanted[key]}) does not match the {word} in record"
                    f" ({metadata[key]}). {hint}"
                )
                raise answers.conflict(kind.group, kind.kind, target.name, why)

    def _delete_namespace(self, target: Target, old: dict[str, Any]) -> dict[str, Any]:
        """Answer as terminating; what the namespace held goes with it at once."""
        old["metadata"]["deletionTimestamp"] = self._now()
        old["status"] = {"phase": "Terminating"}
        if target.dry_run:
            return old
        terminating = self._store.put(target.key, old)
        for key in self._store.kinds():
            for document in self._store.all(key, target.name):
                self._store.remove(key, target.name, document["metadata"]["name"])
        self._store.remove(target.key, "", target.name)
        return terminating


def _unborn(target: Target, applied: dict[str, Any]) -> dict[str, Any]:
    """What an apply finds where nothing is."""
    names = {key: applied["metadata"][key] for key in ("name", "namespace") if key in applied["metadata"]}
    empty: dict[str, Any] = {
        "apiVersion": target.kind.api_version,
        "kind": target.kind.kind,
        "metadata": names,
    }
    return empty | {part: {} for part in target.kind.structs}


def _kept_apart(target: Target, old: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """A write to the object leaves its status alone, and a write to the status all else."""
    given = document["metadata"].get("managedFields")
    if target.subresource == "status":
        document, status = copy.deepcopy(old), document.get("status")
        document.pop("status", None)
        if status is not None:
            document["status"] = status
        if given is not None:
            document["metadata"]["managedFields"] = given
    elif target.kind.status_subresource:
        document = {key: item for key, item in document.items() if key != "status"}
        if "status" in old:
            document["status"] = copy.deepcopy(old["status"])
    return document


def _content(document: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """What a generation counts."""
    left_out = {"metadata", "apiVersion"} | ({"status"} if kind.status_subresource else set())
    return {key: item for key, item in document.items() if key not in left_out}


def _bad_option(cause: answers.Cause) -> answers.Refused:
    return answers.invalid("meta.k8s.io", "PatchOptions", "", [cause])
