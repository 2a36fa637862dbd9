"""The OpenAPI document of a served model: its rows, by its contract, in both protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cd4ml.serving.requests import DATATYPES

__all__ = ["build_openapi"]

_JSON = "application/json"
_ERRORS = {
    "400": "A field is wrong: the answer says which, what was found and what is allowed.",
    "404": "No model of this name or version.",
    "408": "The body took too long to arrive.",
    "413": "The body, or the number of rows, is too large.",
    "415": "The body is compressed.",
}
_TENSOR_SHAPE = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2}


def build_openapi(
    name: str, version: str, contract: Mapping[str, Any], outputs: Sequence[Mapping[str, Any]], most_rows: int
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of one model.

    Parameters
    ----------
    contract : mapping
        contract.json of the bundle; its `inputs` become the schema `Row` as they are.
    outputs : sequence of mappings
        V2 metadata of the outputs.
    most_rows : int
        Most rows of one request.
    """
    row = {key: value for key, value in contract["inputs"].items() if key != "$schema"}
    base = f"/v2/models/{name}"
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": version, "description": f"Predictions of {contract['problem']}."},
        "paths": {
            f"/v1/models/{name}:predict": {"post": _posted("predictV1", "Instances", "Predictions")},
            f"{base}/infer": {"post": _posted("inferV2", "InferRequest", "InferResponse")},
            base: {"get": _got("metadataV2", "Metadata")},
            f"{base}/ready": {"get": _got("readyV2", "Ready")},
        },
        "components": {
            "schemas": {
                "Row": row,
                "Instances": _instances(most_rows),
                "Predictions": _predictions(contract["output"], outputs),
                "InferRequest": _infer_request(contract["inputs"]["properties"]),
                "InferResponse": _infer_response(outputs),
                "Metadata": {
                    "type": "object",
                    "required": ["name", "versions", "inputs", "outputs", "contract"],
                },
                "Ready": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
                "Error": _error(),
            }
        },
    }


def _schema(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(name: str) -> dict[str, Any]:
    return {_JSON: {"schema": _schema(name)}}


def _posted(operation: str, body: str, answer: str) -> dict[str, Any]:
    errors = {code: {"description": text, "content": _content("Error")} for code, text in _ERRORS.items()}
    return {
        "operationId": operation,
        "requestBody": {"required": True, "content": _content(body)},
        "responses": {"200": {"description": "The predictions.", "content": _content(answer)}, **errors},
    }


def _got(operation: str, answer: str) -> dict[str, Any]:
    return {
        "operationId": operation,
        "responses": {"200": {"description": "As it is.", "content": _content(answer)}},
    }


def _instances(most_rows: int) -> dict[str, Any]:
    rows = {"type": "array", "items": _schema("Row"), "minItems": 1, "maxItems": most_rows}
    return {
        "type": "object",
        "properties": {"instances": rows},
        "required": ["instances"],
        "additionalProperties": False,
    }


def _predictions(output: Mapping[str, Any], outputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    lists: dict[str, Any] = {"predictions": {"type": "array", "items": {**output}}}
    names = {item["name"] for item in outputs}
    if "quantile" in names:
        lists["quantiles"] = {"type": "array", "items": {"type": "number"}}
    if "decision" in names:
        lists["decisions"] = {"type": "array", "items": {"type": "integer", "enum": [0, 1]}}
    texts = {"model_name": {"type": "string"}, "model_version": {"type": "string"}}
    required = [*lists, *texts]
    unknown = {"type": "array", "items": {"type": "object", "required": ["field", "values", "treated_as"]}}
    return {"type": "object", "properties": {**lists, **texts, "unknown": unknown}, "required": required}


def _infer_request(fields: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    tensors = [_tensor(name, field) for name, field in fields.items()]
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "items": {"oneOf": tensors}, "minItems": 1, "maxItems": len(tensors)},
        },
        "required": ["inputs"],
    }


def _tensor(name: str, field: Mapping[str, Any]) -> dict[str, Any]:
    values = {key: value for key, value in field.items() if key != "description"}
    return {
        "type": "object",
        "properties": {
            "name": {"const": name},
            "datatype": {"enum": list(DATATYPES[field["kind"]])},
            "shape": _TENSOR_SHAPE,
            "data": {"type": "array", "items": values},
        },
        "required": ["name", "datatype", "shape", "data"],
    }


def _infer_response(outputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = {"enum": [item["name"] for item in outputs]}
    output = {"type": "object", "properties": {"name": names}, "required": ["name", "datatype", "shape"]}
    properties = {"id": {"type": "string"}, "outputs": {"type": "array", "items": output}}
    return {"type": "object", "properties": properties, "required": ["model_name", "id", "outputs"]}


def _error() -> dict[str, Any]:
    texts = {key: {"type": "string"} for key in ("error", "field", "found", "allowed")}
    return {
        "type": "object",
        "properties": {**texts, "row": {"type": "integer", "minimum": 0}},
        "required": list(texts),
    }
