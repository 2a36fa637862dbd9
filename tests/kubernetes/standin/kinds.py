"""The kinds that the stand-in serves: some built in, the others from custom resource definitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes.standin.models import model_schema

__all__ = ["Kind", "built_in_kinds", "custom_kinds", "definitions_of"]


@dataclass(frozen=True)
class Kind:
    """One kind in one version.

    `custom` ones are pruned, defaulted and validated by `schema`; the others are typed in the server. A kind
    with `allow_unconditional` may be replaced without a resourceVersion.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    schema: dict[str, Any] = field(hash=False, compare=False)
    custom: bool = True
    status_subresource: bool = False
    generations: bool = True
    allow_unconditional: bool = False
    create_on_put: bool = False
    has_rules: bool = False
    singular: str = ""
    short_names: tuple[str, ...] = ()
    storage_version: str = ""
    structs: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def store_key(self) -> tuple[str, str]:
        """All versions of a kind share their objects."""
        return self.group, self.plural

    @property
    def qualified(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


# (group, version, plural, kind, model, namespaced, status subresource, generations, unconditional,
#  create on PUT, what is a struct and no pointer in Go: it is there, though empty, before anybody writes it)
_BUILT_IN: tuple[tuple[Any, ...], ...] = (
    ("", "v1", "namespaces", "Namespace", "V1Namespace", False, True, False, True, False, "spec status"),
    ("", "v1", "services", "Service", "V1Service", True, True, False, True, True, "spec status"),
    ("", "v1", "configmaps", "ConfigMap", "V1ConfigMap", True, False, False, True, False, ""),
    ("", "v1", "secrets", "Secret", "V1Secret", True, False, False, True, False, ""),
    ("", "v1", "serviceaccounts", "ServiceAccount", "V1ServiceAccount", True, False, False, True, False, ""),
    ("", "v1", "pods", "Pod", "V1Pod", True, True, False, True, False, "spec status"),
    ("", "v1", "events", "Event", "CoreV1Event", True, False, False, True, True, "involvedObject source"),
    ("apps", "v1", "deployments", "Deployment", "V1Deployment", True, True, True, True, False, "spec status"),
    ("coordination.k8s.io", "v1", "leases", "Lease", "V1Lease", True, False, False, False, True, "spec"),
    ("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview",
     "V1SelfSubjectAccessReview", False, False, False, True, False, "spec status"),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition",
     "V1CustomResourceDefinition", False, True, True, True, False, "spec status"),
)  # fmt: skip


@cache
def built_in_kinds() -> tuple[Kind, ...]:
    """The kinds that every server has."""
    found = []
    for group, version, plural, kind, model, namespaced, status, generations, free, put, structs in _BUILT_IN:
        found.append(
            Kind(
                group=group,
                version=version,
                plural=plural,
                kind=kind,
                namespaced=namespaced,
                schema=model_schema(model),
                custom=False,
                status_subresource=status,
                generations=generations,
                allow_unconditional=free,
                create_on_put=put,
                singular=kind.lower(),
                structs=tuple(structs.split()),
            )
        )
    return tuple(found)


def definitions_of(crds: Path | str | Iterable[Path | str | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Read definitions from a folder (with all below it), from files, or take them as they are."""
    if isinstance(crds, Path | str):
        crds = [crds]
    found: list[dict[str, Any]] = []
    for place in crds:
        if isinstance(place, Mapping):
            found.append(dict(place))
            continue
        path = Path(place)
        files = sorted(path.rglob("*.yaml")) if path.is_dir() else [path]
        for file in files:
            found += _read(file)
    return found


@cache
def _read(file: Path) -> list[dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = yaml.load_all(file.read_text(), loader)
    return [item for item in documents if item and item.get("kind") == "CustomResourceDefinition"]


def custom_kinds(definition: Mapping[str, Any]) -> list[Kind]:
    """The served versions of a custom resource definition."""
    spec = definition["spec"]
    names = spec["names"]
    stored = next(item["name"] for item in spec["versions"] if item.get("storage"))
    return [
        Kind(
            group=spec["group"],
            version=item["name"],
            plural=names["plural"],
            kind=names["kind"],
            namespaced=spec["scope"] == "Namespaced",
            schema=_with_metadata(item["schema"]["openAPIV3Schema"]),
            status_subresource="status" in (item.get("subresources") or {}),
            has_rules=_has_rules(item["schema"]["openAPIV3Schema"]),
            singular=names.get("singular", names["kind"].lower()),
            short_names=tuple(names.get("shortNames") or ()),
            storage_version=stored,
        )
        for item in spec["versions"]
        if item.get("served")
    ]


def _with_metadata(schema: Mapping[str, Any]) -> dict[str, Any]:
    properties = dict(schema.get("properties") or {})
    properties |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
    properties["metadata"] = model_schema("V1ObjectMeta")
    return dict(schema) | {"properties": properties}


def _has_rules(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return "x-kubernetes-validations" in schema or any(_has_rules(item) for item in schema.values())
    return isinstance(schema, list) and any(_has_rules(item) for item in schema)
