"""Calls to the API: which kind and object a path means, reads, access reviews, and the way to the writes."""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.kubernetes.standin import answers, managers
from tests.kubernetes.standin.decoding import decode
from tests.kubernetes.standin.discovery import discovered
from tests.kubernetes.standin.faults import Call
from tests.kubernetes.standin.kinds import Kind, built_in_kinds, custom_kinds
from tests.kubernetes.standin.selectors import Selector, selector
from tests.kubernetes.standin.store import Store
from tests.kubernetes.standin.writes import Answer, Target, Writes

__all__ = ["Api", "Watch"]

_TRUE = re.compile(r"(?!0$|false$).*", re.IGNORECASE)
_DEFINITIONS = ("apiextensions.k8s.io", "customresourcedefinitions")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Watch:
    """A stream of events that a call asked for; `start` is None for "from now, with what there is"."""

    kind: Kind
    namespace: str
    chosen: Selector
    start: int | None
    timeout_seconds: float
    bookmarks: bool


class Api:
    """What the server does with a call, apart from carrying it."""

    def __init__(
        self, definitions: Iterable[dict[str, Any]], clock: Callable[[], datetime], first_version: int
    ) -> None:
        self.store = Store(first_version)
        self.clock = clock
        self.kinds = list(built_in_kinds())
        for definition in definitions:
            self.kinds += custom_kinds(definition)
            self._keep(definition)
        self._writes = Writes(self.store, clock)
        self._denied: list[dict[str, str]] = []

    def _keep(self, definition: dict[str, Any]) -> None:
        """Hold a definition as an object."""
        now = self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata = {"uid": str(uuid.uuid4()), "creationTimestamp": now, "generation": 1}
        self._establish(definition | {"metadata": definition["metadata"] | metadata})

    def _establish(self, definition: dict[str, Any]) -> None:
        conditions = [{"type": kind, "status": "True"} for kind in ("NamesAccepted", "Established")]
        stored = [item["name"] for item in definition["spec"]["versions"] if item.get("storage")]
        names = definition["spec"]["names"]
        status = {"conditions": conditions, "acceptedNames": names, "storedVersions": stored}
        self.store.put(_DEFINITIONS, definition | {"status": status})

    def deny(self, verb: str = "", group: str = "", resource: str = "", namespace: str = "") -> None:
        """Forbid calls, and say so in access reviews; "" means any."""
        wanted = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
        self._denied.append({key: item for key, item in wanted.items() if item})

    def handle(self, call: Call) -> Answer | Watch:
        """Answer a call; raises Refused."""
        document = discovered(call.path, self.kinds) if call.method == "GET" else None
        if document is not None:
            return Answer(200, document)
        target = self._target(call)
        self.store.touch(target.key)
        if target.kind.plural == "selfsubjectaccessreviews":
            return self._review(target, call)
        self._check_allowed(target, call)
        if call.method == "GET":
            return self._read(target, call)
        with self.store.lock:
            return self._write(target, call)

    def _write(self, target: Target, call: Call) -> Answer:
        if call.method == "POST" and not target.name:
            answer = self._writes.create(target, call.body)
            self._learn(target, answer)
            return answer
        if call.method == "DELETE" and not target.name:
            return self._delete_all(target, call)
        if not target.name or call.method not in _VERBS or call.method == "POST":
            message = "the server does not allow this method on the requested resource"
            raise answers.Refused(answers.status(405, message, details={}))
        if call.method == "PUT":
            return self._writes.replace(target, call.body)
        if call.method == "PATCH":
            return self._writes.patch(target, call.content_type, call.body)
        return self._writes.delete(target, call.body)

    def _learn(self, target: Target, answer: Answer) -> None:
        """A definition that is created is served at once."""
        if target.key == _DEFINITIONS and not target.dry_run:
            self.kinds += custom_kinds(answer.body)
            self._establish(answer.body)

    def _delete_all(self, target: Target, call: Call) -> Answer:
        gone = self._list(target, call)
        for item in gone["items"]:
            metadata = item["metadata"]
            self.store.remove(target.key, metadata.get("namespace", ""), metadata["name"])
        return Answer(200, gone)

    def _target(self, call: Call) -> Target:
        parts = [part for part in call.path.split("/") if part]
        group, version, rest = "", "", list[str]()
        if parts[:1] == ["api"] and len(parts) > 2:
            version, rest = parts[1], parts[2:]
        elif parts[:1] == ["apis"] and len(parts) > 3:
            group, version, rest = parts[1], parts[2], parts[3:]
        known = {kind.plural: kind for kind in self.kinds if (kind.group, kind.version) == (group, version)}
        namespace = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2 and rest[2] in known:
            namespace, rest = rest[1], rest[2:]
        kind = known.get(rest[0]) if rest else None
        subresource = rest[2] if len(rest) > 2 else ""
        if (
            kind is None
            or len(rest) > 3
            or (subresource and not (subresource == "status" and kind.status_subresource))
        ):
            message = "the server could not find the requested resource"
            raise answers.Refused(answers.status(404, message, details={}))
        return _target(call, kind, namespace, rest[1] if len(rest) > 1 else "", subresource)

    def _read(self, target: Target, call: Call) -> Answer | Watch:
        if target.name and call.params.get("watch", "0") in ("0", "false"):
            found = self.store.get(target.key, target.namespace, target.name)
            if found is None:
                raise target.missing()
            return Answer(200, found | {"apiVersion": target.kind.api_version})
        if _TRUE.fullmatch(call.params.get("watch", "0")):
            start = call.params.get("resourceVersion", "")
            return Watch(
                kind=target.kind,
                namespace=target.namespace,
                chosen=self._selector(target, call),
                start=None if start in ("", "0") else int(start),
                timeout_seconds=float(call.params.get("timeoutSeconds") or 1800),
                bookmarks=call.params.get("allowWatchBookmarks", "").lower() in ("1", "true"),
            )
        return Answer(200, self._list(target, call))

    def _selector(self, target: Target, call: Call) -> Selector:
        labels, fields = call.params.get("labelSelector", ""), call.params.get("fieldSelector", "")
        if target.name:
            fields = f"metadata.name={target.name}"
        return selector(labels, fields, custom=target.kind.custom)

    def _list(self, target: Target, call: Call) -> dict[str, Any]:
        chosen = self._selector(target, call)
        with self.store.lock:
            items = [item for item in self.store.all(target.key, target.namespace) if chosen(item)]
            version = str(self.store.version)
        metadata: dict[str, Any] = {"resourceVersion": version}
        items, further = _page(items, call)
        metadata |= further
        if target.kind.custom:
            metadata.setdefault("continue", "")
            items = [item | {"apiVersion": target.kind.api_version} for item in items]
        else:  # typed lists tell the kind of their items once
            items = [{key: item[key] for key in item if key not in ("apiVersion", "kind")} for item in items]
        return {
            "apiVersion": target.kind.api_version,
            "kind": f"{target.kind.kind}List",
            "metadata": metadata,
            "items": items,
        }

    def _is_denied(self, attributes: dict[str, str]) -> bool:
        return any(rule.items() <= attributes.items() for rule in self._denied)

    def _check_allowed(self, target: Target, call: Call) -> None:
        verb = _VERBS.get(call.method, "")
        if call.method == "GET":
            watching = call.params.get("watch", "0") not in ("0", "false")
            verb = "watch" if watching else "get" if target.name else "list"
        kind, namespace = target.kind, target.namespace
        resource = kind.plural + (f"/{target.subresource}" if target.subresource else "")
        attributes = {"verb": verb, "group": kind.group, "resource": resource, "namespace": namespace}
        if self._is_denied(attributes):
            place = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
            why = f'User "cd4ml" cannot {verb} resource "{resource}" in API group "{kind.group}" {place}'
            raise answers.forbidden(kind.group, kind.plural, target.name, why)

    def _review(self, target: Target, call: Call) -> Answer:
        document = decode(call.body, target.kind, target.validation).document
        empty = {"metadata": {}, "spec": {}, "status": {}}
        now = self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        owned = managers.update(empty, document, target.kind.schema, target.writer(), now)
        denied = self._is_denied(owned.get("spec", {}).get("resourceAttributes") or {})
        return Answer(201, owned | {"status": {"allowed": not denied}})


def _target(call: Call, kind: Kind, namespace: str, name: str, subresource: str) -> Target:
    manager = call.params.get("fieldManager", "")
    return Target(
        kind=kind,
        namespace=namespace,
        name=name,
        subresource=subresource,
        validation=call.params.get("fieldValidation") or "Warn",
        dry_run=bool(call.params.get("dryRun")),
        manager=manager or call.agent.split("/")[0][:128],
        explicit_manager=manager,
        force=bool(_TRUE.fullmatch(call.params.get("force", "false"))),
    )


def _page(items: list[dict[str, Any]], call: Call) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The part of a list that was asked for, and what its metadata says about the rest."""
    token, limit = call.params.get("continue", ""), int(call.params.get("limit") or 0)
    if token:
        try:
            after = tuple(json.loads(base64.urlsafe_b64decode(token)))
        except ValueError as error:
            raise answers.bad_request("continue key is not valid") from error
        items = [item for item in items if _place(item) > after]
    if not limit or len(items) <= limit:
        return items, {}
    last = base64.urlsafe_b64encode(json.dumps(_place(items[limit - 1])).encode()).decode()
    return items[:limit], {"continue": last, "remainingItemCount": len(items) - limit}


def _place(item: dict[str, Any]) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]
