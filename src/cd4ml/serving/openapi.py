"""The OpenAPI document of a served model: every path, by its contract, with a row of its holdout."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cd4ml.serving.openapi_schemas import build_schemas, reference
from cd4ml.serving.requests import DATATYPES

__all__ = ["build_openapi", "read_example"]

_JSON = "application/json"
_BINARY = "application/octet-stream"
_ERRORS = {
    "400": "A field is wrong: the answer says which, what was found and what is allowed.",
    "404": "No such path, or no model of this name or version.",
    "408": "The request took too long to arrive.",
    "413": "The body, or the number of rows, is too large.",
    "415": "The body is compressed.",
    "431": "The request's line and headers are too large.",
    "500": "The server failed; its log has the request's id.",
    "503": "Too much is asked at once, or the model is not ready; ask again later.",
    "504": "The prediction took too long; ask for fewer rows at once.",
}
_OF_A_READ = ("404", "431", "503")
_LENGTH = "Inference-Header-Content-Length"


def read_example(folder: Path) -> dict[str, Any] | None:
    """Return the first row of a bundle's holdout, as a caller sends it; None where there is none."""
    path = folder / "holdout" / "inputs.jsonl"
    if not path.is_file():
        return None
    with path.open(encoding="utf-8") as lines:
        row: dict[str, Any] = json.loads(lines.readline())
    return row


def build_openapi(
    name: str,
    version: str,
    contract: Mapping[str, Any],
    outputs: Sequence[Mapping[str, Any]],
    most_rows: int,
    example: Mapping[str, Any] | None = None,
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
    example : mapping, optional
        A row that may be sent.
    """
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": version, "description": f"Predictions of {contract['problem']}."},
        "paths": {
            **_predictions(name, version, contract, example),
            **_about(name, version, list(contract["inputs"]["properties"])),
            **_health(name),
        },
        "components": {
            "schemas": build_schemas(contract, outputs, most_rows),
            "headers": {
                "Ce-Id": _header("The request's id: as it came, or as it was made here."),
                "X-Cd4ml-Version": _header("Which version of the model answered."),
                "X-Cd4ml-Variant": _header("Which variant answered: stable, canary, shadow."),
            },
        },
    }


def _predictions(
    name: str, version: str, contract: Mapping[str, Any], example: Mapping[str, Any] | None
) -> dict[str, Any]:
    fields = contract["inputs"]["properties"]
    row = None if example is None else {"instances": [example]}
    tensors = None if example is None else {"inputs": _tensors(fields, example)}
    base, v1 = f"/v2/models/{name}", f"/v1/models/{name}"
    infer = ("InferRequest", "InferResponse", tensors, True)
    return {
        f"{v1}:predict": {"post": _posted("predictV1", "Instances", "Predictions", row)},
        f"{v1}:explain": {"post": _posted("explainV1", "Instances", "Explanations", row)},
        f"{base}/infer": {"post": _posted("inferV2", *infer)},
        f"{base}/versions/{version}/infer": {"post": _posted("inferVersionV2", *infer)},
    }


def _about(name: str, version: str, fields: Sequence[str]) -> dict[str, Any]:
    base, v1 = f"/v2/models/{name}", f"/v1/models/{name}"
    field = {"name": "field", "in": "path", "required": True, "schema": {"enum": list(fields)}}
    contains = {"name": "contains", "in": "query", "schema": {"type": "string"}}
    limit = {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 200}}
    choices = _got("choicesOfField", "ChoicesOfField")
    choices["parameters"] = [field, contains, limit]
    choices["responses"]["400"] = _answer(_ERRORS["400"], "Error")
    return {
        "/v1/models": {"get": _got("modelsV1", "Models")},
        v1: {"get": _got("readyV1", "Ready")},
        f"{v1}/choices": {"get": _got("choices", "Choices")},
        f"{v1}/choices/{{field}}": {"get": choices},
        "/v2": {"get": _got("serverV2", "ServerMetadata")},
        "/v2/models": {"get": _got("modelsV2", "Models")},
        base: {"get": _got("metadataV2", "Metadata")},
        f"{base}/versions/{version}": {"get": _got("metadataVersionV2", "Metadata")},
    }


def _health(name: str) -> dict[str, Any]:
    page = {"description": "In the format of Prometheus.", "content": {"text/plain": {"schema": {}}}}
    metrics = {"operationId": "metrics", "responses": {"200": page, **_errors(_OF_A_READ)}}
    return {
        "/": {"get": _got("alive", "Alive")},
        "/v2/health/live": {"get": _got("live", "Live")},
        "/v2/health/ready": {"get": _got("ready", "Ready")},
        f"/v2/models/{name}/ready": {"get": _got("readyV2", "Ready")},
        "/metrics": {"get": metrics},
    }


def _tensors(fields: Mapping[str, Any], row: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "datatype": DATATYPES[field["kind"]][0], "shape": [1], "data": [row[name]]}
        for name, field in fields.items()
    ]


def _header(text: str) -> dict[str, Any]:
    return {"description": text, "schema": {"type": "string"}}


def _answer(text: str, schema: str) -> dict[str, Any]:
    return {"description": text, "content": {_JSON: {"schema": reference(schema)}}}


def _errors(codes: Sequence[str] = tuple(_ERRORS)) -> dict[str, Any]:
    return {code: _answer(_ERRORS[code], "Error") for code in codes}


def _posted(
    operation: str, body: str, answer: str, example: Mapping[str, Any] | None, binary: bool = False
) -> dict[str, Any]:
    taken: dict[str, Any] = {_JSON: {"schema": reference(body)}}
    if example is not None:
        taken[_JSON]["examples"] = {"holdout": {"summary": "A row of the holdout.", "value": example}}
    answered = _answer("The predictions.", answer)
    parameters = [{"name": "Ce-Id", "in": "header", "schema": {"type": "string"}}]
    if binary:
        octets = {"schema": {"type": "string", "format": "binary"}}
        taken[_BINARY], answered["content"][_BINARY] = octets, octets
        told = "The length of the JSON that the bytes of tensors come behind."
        length = {"type": "integer", "minimum": 1}
        parameters.append({"name": _LENGTH, "in": "header", "schema": length, "description": told})
    names = ("Ce-Id", "X-Cd4ml-Version", "X-Cd4ml-Variant")
    answered["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return {
        "operationId": operation,
        "parameters": parameters,
        "requestBody": {"required": True, "content": taken},
        "responses": {"200": answered, **_errors()},
    }


def _got(operation: str, answer: str) -> dict[str, Any]:
    return {
        "operationId": operation,
        "responses": {"200": _answer("As it is.", answer), **_errors(_OF_A_READ)},
    }
