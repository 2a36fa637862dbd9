"""JSON Schemas of what a served model takes and answers, by its contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cd4ml.serving.requests import DATATYPES

__all__ = ["build_schemas", "reference"]

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}


def reference(name: str) -> dict[str, str]:
    """Return the reference to one of the schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def build_schemas(
    contract: Mapping[str, Any], outputs: Sequence[Mapping[str, Any]], most_rows: int
) -> dict[str, Any]:
    """Return the schemas by name; see `openapi.build_openapi`.

    What no schema can say, the server checks none the less: that tensors agree in their number of rows and
    their shapes, and the bounds of dates.
    """
    fields = contract["inputs"]["properties"]
    return {
        "Row": {key: value for key, value in contract["inputs"].items() if key != "$schema"},
        "Instances": _instances(most_rows),
        "Predictions": _predictions(contract["output"], outputs),
        "Explanations": _explanations(),
        "Choices": _object({"fields": {"type": "object"}, "time": {"type": ["object", "null"]}}, ["fields"]),
        "ChoicesOfField": _object(
            {"field": _TEXT, "count": _COUNT, "choices": _list({"type": "object", "required": ["value"]})}
        ),
        "InferRequest": _infer_request(fields, outputs, most_rows),
        "InferResponse": _infer_response(outputs),
        "Metadata": _metadata(),
        "ServerMetadata": _object({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}),
        "Models": _object({"models": _list(_TEXT)}),
        "Live": _object({"live": {"type": "boolean"}}),
        "Alive": _object({"status": {"const": "alive"}}),
        "Ready": _object({"name": _TEXT, "ready": {"type": "boolean"}}, ["ready"]),
        "Error": _error(),
    }


def _object(properties: Mapping[str, Any], required: Sequence[str] | None = None) -> dict[str, Any]:
    needed = list(properties) if required is None else list(required)
    return {"type": "object", "properties": dict(properties), "required": needed}


def _closed(properties: Mapping[str, Any], required: Sequence[str] | None = None) -> dict[str, Any]:
    return {**_object(properties, required), "additionalProperties": False}


def _list(items: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": dict(items), **more}


def _instances(most_rows: int) -> dict[str, Any]:
    return _closed({"instances": _list(reference("Row"), minItems=1, maxItems=most_rows)})


def _predictions(output: Mapping[str, Any], outputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    lists: dict[str, Any] = {"predictions": _list(output)}
    names = {item["name"] for item in outputs}
    if "quantile" in names:
        lists["quantiles"] = _list({"type": "number"})
    if "decision" in names:
        lists["decisions"] = _list({"type": "integer", "enum": [0, 1]})
    texts = {"model_name": _TEXT, "model_version": _TEXT}
    more = {"model_variant": _TEXT, "unknown": _list(_unknown())}
    return _object({**lists, **texts, **more}, [*lists, *texts])


def _unknown() -> dict[str, Any]:
    """Return the schema of one field with values that the model does not tell apart."""
    texts = {"field": _TEXT, "values": _list(_TEXT), "treated_as": _TEXT}
    return _object({**texts, "rows": _list(_COUNT), "row_count": _COUNT})


def _explanations() -> dict[str, Any]:
    return _object({"predictions": _list({"type": "number"}), "explanations": _list({"type": "object"})})


def _infer_request(
    fields: Mapping[str, Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]], most_rows: int
) -> dict[str, Any]:
    tensors = [_tensor(name, field, most_rows) for name, field in fields.items()]
    names = [item["name"] for item in outputs]
    parameters = {"type": ["object", "null"]}
    asked = _object({"name": {"enum": names}, "parameters": parameters}, ["name"])
    text = {"type": ["string", "null"]}
    properties = {
        "id": text,
        "model_name": text,
        "model_version": text,
        "parameters": parameters,
        "inputs": _list({"oneOf": tensors}, minItems=1, maxItems=len(tensors)),
        "outputs": {**_list(asked), "type": ["array", "null"]},
    }
    return _closed(properties, ["inputs"])


def _tensor(name: str, field: Mapping[str, Any], most_rows: int) -> dict[str, Any]:
    values = {key: value for key, value in field.items() if key != "description"}
    flat = _list(values, minItems=1, maxItems=most_rows)
    nested = {**flat, "items": _list(values, minItems=1, maxItems=1)}
    rows = {"type": "integer", "minimum": 1, "maximum": most_rows}
    return _object(
        {
            "name": {"const": name},
            "datatype": {"enum": list(DATATYPES[field["kind"]])},
            "shape": {"type": "array", "prefixItems": [rows, {"const": 1}], "minItems": 1, "maxItems": 2},
            "data": {"anyOf": [flat, nested]},
            "parameters": {"type": ["object", "null"]},
        },
        ["name", "datatype", "shape", "data"],
    )


def _infer_response(outputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    properties = {
        "name": {"enum": [item["name"] for item in outputs]},
        "datatype": {"enum": sorted({item["datatype"] for item in outputs})},
        "shape": _list(_COUNT, minItems=1, maxItems=1),
        "data": _list({"type": "number"}),
        "parameters": _object({"binary_data_size": _COUNT}),
    }
    output = _object(properties, ["name", "datatype", "shape"])
    texts = {"id": _TEXT, "model_name": _TEXT, "model_version": _TEXT}
    more = {"outputs": _list(output, minItems=1), "parameters": {"type": "object"}}
    return _object({**texts, **more}, [*texts, "outputs"])


def _metadata() -> dict[str, Any]:
    tensor = _object({"name": _TEXT, "datatype": _TEXT, "shape": _list({"type": "integer"})})
    limits = _object({"body_bytes": _COUNT, "rows": _COUNT})
    properties = {
        "name": _TEXT,
        "versions": _list(_TEXT),
        "platform": _TEXT,
        "inputs": _list(tensor),
        "outputs": _list(tensor),
        "bundle": _TEXT,
        "limits": limits,
        "contract": {"type": "object"},
    }
    return _object(properties)


def _error() -> dict[str, Any]:
    said = {
        "error": "A sentence for people.",
        "field": "Which field or part of the request; empty for all of it.",
        "found": "What came.",
        "allowed": "What may come.",
    }
    texts = {name: {**_TEXT, "description": text} for name, text in said.items()}
    row = {**_COUNT, "description": "Which row, from 0; absent where it is no single row."}
    return _object({**texts, "row": row}, list(texts))
