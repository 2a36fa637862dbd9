"""Bodies of V1 and V2 as callers make them, and what comes back as arrays."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from cd4ml.models.runtime import Bundle

KINDS = {
    "integer": "INT64",
    "number": "FP64",
    "boolean": "BOOL",
    "text": "BYTES",
    "category": "BYTES",
    "date": "BYTES",
    "timestamp": "BYTES",
}


def datatypes(folder: Path) -> dict[str, str]:
    """Return the V2 datatype of each field of a bundle."""
    return {name: KINDS[field["kind"]] for name, field in Bundle.load(folder).inputs.items()}


def tensors_of(types: dict[str, str], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows as JSON tensors."""
    return [
        {"name": name, "datatype": kind, "shape": [len(rows)], "data": [row[name] for row in rows]}
        for name, kind in types.items()
    ]


def binary(inputs: list[dict[str, Any]], **more: Any) -> tuple[bytes, dict[str, str]]:
    """Return a V2 body with binary tensors, and its headers; nulls of numbers are NaN."""
    tails = []
    for tensor in inputs:
        if tensor["datatype"] in ("BYTES", "BOOL", "INT64") and None in tensor["data"]:
            continue  # only floats have a null in bytes; these stay JSON
        data = tensor.pop("data")
        if tensor["datatype"] == "BYTES":
            texts = [text.encode() for text in data]
            tails.append(b"".join(len(text).to_bytes(4, "little") + text for text in texts))
        else:
            kind = {"INT64": "<i8", "FP64": "<f8", "BOOL": "?"}[tensor["datatype"]]
            values = [np.nan if value is None else value for value in data]
            tails.append(np.array(values, dtype=kind).tobytes())
        tensor["parameters"] = {"binary_data_size": len(tails[-1])}
    head = json.dumps({"inputs": inputs, **more}).encode()
    return head + b"".join(tails), {"Inference-Header-Content-Length": str(len(head))}


def outputs_of(content: bytes, head_bytes: int | None = None) -> dict[str, Any]:
    """Return the outputs of a V2 answer as arrays, from JSON or from bytes behind it."""
    head = json.loads(content if head_bytes is None else content[:head_bytes])
    found, place = {}, head_bytes or 0
    for output in head["outputs"]:
        if "data" in output:
            found[output["name"]] = np.array(output["data"], dtype=np.float64)
            continue
        end = place + output["parameters"]["binary_data_size"]
        kind = {"INT64": "<i8", "FP64": "<f8"}[output["datatype"]]
        found[output["name"]] = np.frombuffer(content[place:end], kind).astype(np.float64)
        place = end
    return found


def close(found: Any, expected: Any) -> bool:
    return bool(np.all(np.abs(np.array(found) - expected) <= 1e-5 * np.maximum(1, np.abs(expected))))
