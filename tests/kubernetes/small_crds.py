"""Small definitions of the kinds that cd4ml writes, for places without the real ones (CD4ML_TEST_CRDS)."""

from __future__ import annotations

from typing import Any

__all__ = ["SMALL_CRDS", "definition"]

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_WHOLE: Schema = {"type": "integer", "format": "int32"}
_MAP: Schema = {"type": "object", "additionalProperties": _TEXT}
_FREE: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties} | ({"required": list(required)} if required else {})


def _list(item: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": item} | more


def definition(
    group: str, versions: str, kind: str, schema: Schema, *, plural: str = "", status: bool = True
) -> dict[str, Any]:
    """Return a custom resource definition; the first of the versions is the one stored."""
    plural = plural or f"{kind.lower()}s"
    names = {"plural": plural, "kind": kind, "singular": kind.lower(), "listKind": f"{kind}List"}
    offered = [
        {
            "name": version,
            "served": True,
            "storage": version == versions.split(maxsplit=1)[0],
            "schema": {"openAPIV3Schema": schema},
        }
        | ({"subresources": {"status": {}}} if status else {})
        for version in versions.split()
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": offered},
    }


def _predictor(name_required: bool) -> Schema:
    model = _object(
        ("modelFormat", "name") if name_required else (),
        modelFormat=_object(("name",), name=_TEXT, version=_TEXT),
        name=_TEXT,
        protocolVersion=_TEXT,
        runtime=_TEXT,
        storageUri=_TEXT,
        resources=_FREE,
        args=_list(_TEXT),
        env=_list(_FREE),
    )
    return _object(
        name=_TEXT,
        model=model,
        annotations=_MAP,
        labels=_MAP,
        canaryTrafficPercent={"type": "integer", "format": "int64"},
        minReplicas=_WHOLE,
        maxReplicas=_WHOLE,
        serviceAccountName=_TEXT,
        logger=_object(mode=_TEXT, url=_TEXT, metadataAnnotations=_list(_TEXT), metadataHeaders=_list(_TEXT)),
        affinity=_FREE,
        nodeSelector=_MAP,
        imagePullSecrets=_list(_FREE),
        securityContext=_FREE,
        tolerations=_list(_FREE),
        volumes=_list(_FREE),
    )


_PERCENT: Schema = {"type": "integer", "format": "int32", "minimum": 0, "maximum": 100}
_CANARY = _list(
    _object(("predictor", "trafficPercent"), predictor=_predictor(True), trafficPercent=_PERCENT),
    **{"x-kubernetes-list-type": "atomic"},
)
_BACKEND = {
    "group": _TEXT | {"default": ""},
    "kind": _TEXT | {"default": "Service"},
    "name": _TEXT,
    "namespace": _TEXT,
    "port": _WHOLE,
}
_RULE = _object(
    matches=_list(_FREE),
    filters=_list(_FREE),
    backendRefs=_list(_object(("name",), **_BACKEND, weight=_WHOLE | {"default": 1})),
    timeouts=_FREE,
)
_PARENT = _object(
    ("name",),
    group=_TEXT | {"default": "gateway.networking.k8s.io"},
    kind=_TEXT | {"default": "Gateway"},
    name=_TEXT,
    namespace=_TEXT,
    sectionName=_TEXT,
)
_ROUTE = _object(hostnames=_list(_TEXT), parentRefs=_list(_PARENT), rules=_list(_RULE))
_GATEWAY_API = "gateway.networking.k8s.io"

SMALL_CRDS: tuple[dict[str, Any], ...] = (
    definition(
        "serving.kserve.io",
        "v1beta1",
        "InferenceService",
        _object(spec=_object(predictor=_predictor(False), canary=_CANARY, transformer=_FREE), status=_FREE),
    ),
    definition(_GATEWAY_API, "v1 v1beta1", "HTTPRoute", _object(("spec",), spec=_ROUTE, status=_FREE)),
    definition(_GATEWAY_API, "v1beta1 v1", "ReferenceGrant", _object(spec=_FREE), status=False),
    definition("networking.istio.io", "v1 v1beta1", "VirtualService", _object(spec=_FREE, status=_FREE)),
    definition("serving.knative.dev", "v1", "Revision", _object(spec=_FREE, status=_FREE)),
)
"""InferenceService, HTTPRoute, ReferenceGrant, VirtualService, Knative's Revision: what we write of them."""
