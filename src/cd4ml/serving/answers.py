"""Predictions as answers in KServe's V1 and V2 protocols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cd4ml.models.data import FloatArray
from cd4ml.serving.requests import BadRequest, Rows

__all__ = ["Answer", "Unknown", "answer_v1", "encode_v1", "encode_v2", "output_datatype", "typed"]

_MOST_LISTED = 20
_V1_NAMES = {"prediction": "predictions", "quantile": "quantiles", "decision": "decisions"}


@dataclass(frozen=True)
class Unknown:
    """Values of a field that the model does not tell apart, and what was done with them.

    Attributes
    ----------
    values : tuple of str
        Distinct, sorted.
    rows : tuple of int
        Where they are, from 0.
    treated_as : str
        In words.
    """

    field: str
    values: tuple[str, ...]
    rows: tuple[int, ...]
    treated_as: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON, with the first of many values and rows."""
        return {
            "field": self.field,
            "values": [value[:60] for value in self.values[:_MOST_LISTED]],
            "rows": self.rows[:_MOST_LISTED],
            "row_count": len(self.rows),
            "treated_as": self.treated_as,
        }


@dataclass(frozen=True)
class Answer:
    """The outputs for the rows of one request.

    Attributes
    ----------
    outputs : mapping
        Name -> array of shape (n,), see `Bundle.predict_features`.
    unknown : tuple of Unknown
        Empty where all values are known.
    """

    model: str
    version: str
    outputs: Mapping[str, FloatArray]
    unknown: tuple[Unknown, ...] = ()


def encode_v1(answer: Answer) -> bytes:
    """Return the body of a V1 answer: `predictions`; `quantiles`, `decisions`, `unknown` where there are."""
    return _dumps(answer_v1(answer))


def answer_v1(answer: Answer) -> dict[str, Any]:
    """Return what `encode_v1` writes; outputs are arrays of shape (n,)."""
    document: dict[str, Any] = {_V1_NAMES[name]: typed(name, v) for name, v in answer.outputs.items()}
    document |= {"model_name": answer.model, "model_version": answer.version}
    if answer.unknown:
        document["unknown"] = [item.to_dict() for item in answer.unknown]
    return document


def encode_v2(answer: Answer, rows: Rows, request_id: str) -> tuple[bytes, dict[str, str]]:
    """Return the body of a V2 answer and its headers; `parameters.unknown` is JSON as a text.

    Raises
    ------
    BadRequest
        If an output is asked for that the model does not have.
    """
    outputs, tails = [], []
    asked = dict.fromkeys(answer.outputs, rows.binary) if rows.outputs is None else rows.outputs
    for name, binary in asked.items():
        if name not in answer.outputs:
            raise BadRequest(400, "outputs", name[:60], ", ".join(answer.outputs))
        values = typed(name, answer.outputs[name])
        output: dict[str, Any] = {"name": name, "datatype": output_datatype(name), "shape": [len(values)]}
        if binary:
            tails.append(values.astype(values.dtype.newbyteorder("<")).tobytes())
            output["parameters"] = {"binary_data_size": len(tails[-1])}
        else:
            output["data"] = values
        outputs.append(output)
    document: dict[str, Any] = {"model_name": answer.model, "model_version": answer.version}
    document |= {"id": request_id, "outputs": outputs}
    if answer.unknown:
        text = _dumps([item.to_dict() for item in answer.unknown]).decode()
        document["parameters"] = {"unknown": text}
    head = _dumps(document)
    if not tails:
        return head, {"content-type": "application/json"}
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    return b"".join([head, *tails]), headers


def output_datatype(name: str) -> str:
    """Return the V2 datatype of an output."""
    return "INT64" if name == "decision" else "FP64"


def typed(name: str, values: FloatArray) -> Any:
    """Return the values of an output in the type that callers get: int64 for decisions, else float64."""
    return values.astype(np.int64 if name == "decision" else np.float64, copy=False)


def _dumps(document: Any) -> bytes:
    import orjson

    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
