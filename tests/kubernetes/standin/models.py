"""Schemas of built-in kinds, read off the models of the Kubernetes client."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

__all__ = ["model_schema"]

# What the client's models do not tell: the keys of lists that are merged item by item.
_LIST_KEYS: dict[str, list[str]] = {
    "V1ServiceSpec.ports": ["port", "protocol"],
    "V1PodSpec.containers": ["name"],
    "V1PodSpec.init_containers": ["name"],
    "V1PodSpec.volumes": ["name"],
    "V1Container.env": ["name"],
    "V1Container.ports": ["containerPort", "protocol"],
    "V1Container.volume_mounts": ["mountPath"],
    "V1ObjectMeta.owner_references": ["uid"],
    "V1ServiceAccount.secrets": ["name"],
}
_SETS = {"V1ObjectMeta.finalizers"}
_ATOMIC = {"V1LabelSelector", "V1ObjectReference", "V1LocalObjectReference", "V1ServiceSpec.selector"}
_SCALARS: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "datetime": {"type": "string", "format": "date-time"},
    "object": {"x-kubernetes-preserve-unknown-fields": True},
}


@cache
def model_schema(name: str) -> dict[str, Any]:
    """The structural schema of a model of the client, such as V1Lease."""
    from kubernetes.client import models

    model = getattr(models, name)
    properties: dict[str, Any] = {}
    for attribute, kind in model.openapi_types.items():
        schema = dict(_typed(kind))
        _merge_rules(schema, f"{name}.{attribute}", kind)
        properties[model.attribute_map[attribute]] = schema
    found: dict[str, Any] = {"type": "object", "properties": properties}
    if name in _ATOMIC:
        found["x-kubernetes-map-type"] = "atomic"
    return found


def _merge_rules(schema: dict[str, Any], where: str, kind: str) -> None:
    if where in _LIST_KEYS:
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": _LIST_KEYS[where]}
    elif where in _SETS:
        schema["x-kubernetes-list-type"] = "set"
    elif kind.endswith("Condition]"):
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    elif where in _ATOMIC:
        schema["x-kubernetes-map-type"] = "atomic"


def _typed(kind: str) -> dict[str, Any]:
    if kind in _SCALARS:
        return _SCALARS[kind]
    if found := re.fullmatch(r"list\[(.+)\]", kind):
        return {"type": "array", "items": _typed(found[1])}
    if found := re.fullmatch(r"dict\(str, (.+)\)", kind):
        return {"type": "object", "additionalProperties": _typed(found[1])}
    if kind == "V1JSONSchemaProps":
        return _SCALARS["object"]
    return model_schema(kind)
