"""Strict validation of Kubernetes objects: what the API server would prune or warn of is an error here.

`validate` closes the schema of a custom resource's definition: a field that it does not declare is refused,
wherever the definition does not keep unknown fields by `x-kubernetes-preserve-unknown-fields`. Rules in CEL
are not looked at; the stand-in server does, to which test_walk_through.py applies everything.
`validate_builtin` does the same for Kubernetes' own kinds by the package kubernetes-validate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

__all__ = ["KUBERNETES", "closed", "is_custom", "validate", "validate_builtin"]

KUBERNETES = "1.32"
"""The version whose schemas built-in kinds are held against."""

_LIMITS = ("Minimum", "Maximum")
_STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
_NAME = {"type": "string", "maxLength": 253, "pattern": r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"}
_METADATA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "annotations": _STRINGS,
        "creationTimestamp": {"type": ["string", "null"]},
        "deletionGracePeriodSeconds": {"type": "integer"},
        "deletionTimestamp": {"type": "string"},
        "finalizers": {"type": "array", "items": {"type": "string"}},
        "generateName": {"type": "string"},
        "generation": {"type": "integer"},
        "labels": _STRINGS,
        "managedFields": {"type": "array"},
        "name": _NAME,
        "namespace": _NAME,
        "ownerReferences": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["apiVersion", "kind", "name", "uid"],
                "properties": {
                    **{key: {"type": "string"} for key in ("apiVersion", "kind", "name", "uid")},
                    **{key: {"type": "boolean"} for key in ("blockOwnerDeletion", "controller")},
                },
            },
        },
        "resourceVersion": {"type": "string"},
        "selfLink": {"type": "string"},
        "uid": {"type": "string"},
    },
}


def validate(document: dict[str, Any], crds: Path) -> list[str]:
    """Return what is wrong with a custom resource, one line each; empty if nothing is.

    Parameters
    ----------
    document : dict
        The whole object.
    crds : Path
        Folder with CustomResourceDefinitions in YAML files, at any depth.
    """
    group, _, version = str(document.get("apiVersion", "")).rpartition("/")
    kind = str(document.get("kind", ""))
    definition = _definition(crds, group, kind)
    if definition is None:
        return [f"kind: there is no definition of {kind} in group '{group}'"]
    served = sorted(one["name"] for one in definition["spec"]["versions"] if one["served"])
    if version not in served:
        return [f"apiVersion: {kind} has the versions {served}; found '{version}'"]
    return _errors(_validator(crds, group, kind, version), document)


def is_custom(document: Mapping[str, Any]) -> bool:
    """Whether an object's kind comes from a definition, and not with Kubernetes."""
    group = str(document["apiVersion"]).rpartition("/")[0]
    return "." in group and (not group.endswith(".k8s.io") or group == "gateway.networking.k8s.io")


def validate_builtin(document: dict[str, Any]) -> list[str]:
    """Return what is wrong with an object of a built-in kind; needs the package kubernetes-validate."""
    import kubernetes_validate

    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        where = ".".join(str(part) for part in error.path)
        return [f"{where or 'document'}: {error.message[:300]}"]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [f"kind: {error.message}"]
    return []


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a structural schema as JSON Schema in which undeclared fields are errors.

    Only the structure is closed: what stands under `allOf`, `anyOf`, `oneOf` and `not` narrows values and
    declares no fields.
    """
    found = {key: value for key, value in schema.items() if not key.startswith("x-") and key != "format"}
    if "properties" in found:
        found["properties"] = {key: closed(value) for key, value in found["properties"].items()}
    if isinstance(found.get("items"), Mapping):
        found["items"] = closed(found["items"])
    if isinstance(found.get("additionalProperties"), Mapping):
        found["additionalProperties"] = closed(found["additionalProperties"])
    elif found.get("type") == "object" and "additionalProperties" not in found:
        found["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    if schema.get("x-kubernetes-int-or-string"):
        found["type"] = ["integer", "string"]
    for limit in _LIMITS:
        _mend_limit(found, limit)
    if schema.get("nullable") and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    return found


def _mend_limit(schema: dict[str, Any], limit: str) -> None:
    """Write an exclusive limit of OpenAPI 3.0 (a boolean beside the limit) as JSON Schema does."""
    if isinstance(exclusive := schema.pop(f"exclusive{limit}", None), bool):
        if exclusive:
            schema[f"exclusive{limit}"] = schema.pop(limit.lower())
    elif exclusive is not None:
        schema[f"exclusive{limit}"] = exclusive


def _errors(validator: Draft202012Validator, document: dict[str, Any]) -> list[str]:
    found = [
        f"{'.'.join(str(part) for part in error.path) or 'document'}: {error.message[:300]}"
        for error in validator.iter_errors(document)
    ]
    return sorted(found)


@cache
def _files(crds: Path) -> dict[str, tuple[Path, ...]]:
    """Return the files that speak of each group; found by text, for to read all of them takes seconds."""
    found: dict[str, tuple[Path, ...]] = {}
    for path in sorted(crds.rglob("*.yaml")):
        for group in set(re.findall(r"^  group: (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)):
            found[group] = (*found.get(group, ()), path)
    return found


@cache
def _read(path: Path) -> list[dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with path.open(encoding="utf-8") as file:
        return [document for document in yaml.load_all(file, Loader=loader) if document]


@cache
def _definition(crds: Path, group: str, kind: str) -> dict[str, Any] | None:
    # Files are named after their kind, but for Istio's one file: look into the likely ones first.
    likely = sorted(_files(crds).get(group, ()), key=lambda path: kind.lower() not in path.name)
    for path in likely:
        for document in _read(path):
            if document["spec"]["group"] == group and document["spec"]["names"]["kind"] == kind:
                return document
    return None


@cache
def _validator(crds: Path, group: str, kind: str, version: str) -> Draft202012Validator:
    definition = _definition(crds, group, kind)
    assert definition is not None
    one = next(one for one in definition["spec"]["versions"] if one["name"] == version)
    schema = closed(one["schema"]["openAPIV3Schema"])
    schema.setdefault("properties", {}).update(
        apiVersion={"const": f"{group}/{version}"}, kind={"const": kind}, metadata=_METADATA
    )
    schema["required"] = sorted({"metadata", *schema.get("required", ())})
    return Draft202012Validator(schema)
