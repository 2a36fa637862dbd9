"""The validator refuses what an API server would prune in silence."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from tests.manifests.rendering import crds, needs_kubectl, rendered, source_documents
from tests.manifests.strict_schema import closed, is_custom, validate, validate_builtin

_FREE = {"annotations", "data", "labels", "limits", "matchLabels", "requests"}
_FREE |= {"default", "defaultRequest", "hard", "max", "selector", "set", "withoutHeaders"}
"""Fields whose keys anybody may choose; `selector` of a Service is one, those of others have known keys."""


@cache
def _one_of_each_kind() -> dict[str, dict[str, Any]]:
    """The largest object of each kind: it has the most fields to misspell."""
    largest = sorted(source_documents().values(), key=lambda document: len(str(document)))
    return {document["kind"]: document for document in largest}


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """All fields of an object that have a name of their own, by path."""
    if isinstance(value, list):
        for place, item in enumerate(value):
            yield from _paths(item, (*path, place))
    elif isinstance(value, dict):
        if path and path[-1] in _FREE and all(isinstance(item, str | dict) for item in value.values()):
            known = {"matchLabels", "matchExpressions"} & set(value)
            if not known:
                return
        for key, item in value.items():
            yield (*path, key)
            yield from _paths(item, (*path, key))


def _misspelt(document: dict[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
    planted = copy.deepcopy(document)
    at: Any = planted
    for part in path[:-1]:
        at = at[part]
    at[f"{path[-1]}Typo"] = at.pop(path[-1])
    return planted


def _wrong(document: dict[str, Any]) -> list[str]:
    if is_custom(document):
        return validate(document, crds())
    pytest.importorskip("kubernetes_validate", reason="the package kubernetes-validate is not installed")
    return validate_builtin(document)


def _depths(document: dict[str, Any]) -> list[int]:
    return sorted({len(path) for path in _paths(document)})


@pytest.mark.parametrize(
    ("kind", "depth"),
    [(kind, depth) for kind, one in sorted(_one_of_each_kind().items()) for depth in _depths(one)],
)
def test_a_misspelt_field_is_found_at_any_depth_of_any_kind(kind: str, depth: int) -> None:
    document = _one_of_each_kind()[kind]
    paths = [path for path in _paths(document) if len(path) == depth]
    paths = [path for path in paths if path not in {("apiVersion",), ("kind",)}]
    # Kinds of Kubernetes' own take a tenth of a second each: the first, the middle and the last of a depth.
    chosen = paths if is_custom(document) else {paths[0], paths[len(paths) // 2], paths[-1]}
    for path in chosen:
        assert _wrong(_misspelt(document, path)), path


@needs_kubectl
@pytest.mark.parametrize("overlay", ["knative-istio", "standard-gateway-api"])
def test_a_misspelt_field_of_a_canary_or_a_mirror_is_found(overlay: str) -> None:
    documents = [*rendered(f"overlays/{overlay}-canary"), *rendered(f"overlays/{overlay}-shadow")]
    words = ("canary", "mirror", "Mirror", "weight")
    tried = 0
    for document in documents:
        if document["kind"] not in ("HTTPRoute", "InferenceService", "VirtualService"):
            continue
        for path in _paths(document):
            if any(word in str(part) for part in path for word in words):
                assert _wrong(_misspelt(document, path)), path
                tried += 1
    assert tried >= 10


def test_each_kind_has_fields_to_misspell_below_its_spec() -> None:
    documents = source_documents().values()
    deepest = {document["kind"]: max(len(path) for path in _paths(document)) for document in documents}
    assert deepest["InferenceService"] >= 5
    assert deepest["SeldonDeployment"] >= 8
    assert min(deepest.values()) >= 2


def test_an_unknown_kind_and_an_unknown_version_are_refused() -> None:
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceServce",
        "metadata": {"name": "m"},
    }
    assert "no definition of InferenceServce" in validate(service, crds())[0]
    service |= {"kind": "InferenceService", "apiVersion": "serving.kserve.io/v1"}
    assert "found 'v1'" in validate(service, crds())[0]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"predictor": {"canaryTrafficPercent": "10"}}, "spec.predictor.canaryTrafficPercent"),
        ({"predictor": {"canaryTrafficPercnt": 10}}, "spec.predictor"),
        ({"predictor": {"logger": {"mode": "everything"}}}, "spec.predictor.logger.mode"),
        ({"canary": [{"trafficPercent": 10, "predictor": {"model": {}}}]}, "spec.canary.0.predictor.model"),
        ({}, "spec"),
    ],
)
def test_wrong_values_are_found_where_they_are(change: dict[str, Any], where: str) -> None:
    document = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "m"},
        "spec": change,
    }
    assert [line.split(": ")[0] for line in validate(document, crds())][:1] == [where]


def test_metadata_is_strict_too() -> None:
    document = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "m", "label": {}},
        "spec": {"predictor": {}},
    }
    assert "'label' was unexpected" in validate(document, crds())[0]
    document["metadata"] = {"name": "m", "annotations": {"cd4ml.io/version": 7}}
    assert validate(document, crds())[0].startswith("metadata.annotations.cd4ml.io/version")


def test_a_schema_is_closed_where_it_declares_and_open_where_it_says_so() -> None:
    schema = {
        "type": "object",
        "properties": {
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {}}},
            "list": {
                "type": "array",
                "items": {"type": "object", "properties": {"a": {"nullable": True, "type": "string"}}},
            },
            "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "share": {"type": "number", "maximum": 100, "exclusiveMaximum": True},
        },
    }
    found = closed(schema)
    assert found["additionalProperties"] is False
    assert found["properties"]["free"]["additionalProperties"] is True
    assert found["properties"]["map"]["additionalProperties"]["additionalProperties"] is False
    assert found["properties"]["list"]["items"]["additionalProperties"] is False
    assert found["properties"]["list"]["items"]["properties"]["a"]["type"] == ["string", "null"]
    assert found["properties"]["port"]["type"] == ["integer", "string"]
    assert found["properties"]["share"] == {"type": "number", "exclusiveMaximum": 100}


@pytest.mark.parametrize("name", sorted(source_documents()))
def test_each_object_is_valid_as_it_is_written(name: str) -> None:
    assert _wrong(source_documents()[name]) == []
