"""SeldonMessages as JSON: their rows, and answers, refusals and metrics as Seldon Core 1.17 reads them.

Nothing here imports Seldon Core.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from cd4ml.errors import RowError
from cd4ml.features.columns import ColumnSet
from cd4ml.models.rows import columns_from_rows
from cd4ml.serving.answers import Answer, answer_v1, typed
from cd4ml.serving.requests import BadRequest, kind_of, refused
from cd4ml.serving.telemetry import error_kind

__all__ = ["Labels", "answer_message", "class_names", "metrics_of", "read_columns", "refusal_message"]

FORMS = ("jsonData", "ndarray", "tensor")
_PAYLOADS = ("data", "jsonData", "strData", "binData", "customData")
_NAMES = "a list with the names of fields, each once"


@dataclass(frozen=True)
class Labels:
    """What each number of a server carries."""

    model: str
    version: str
    variant: str

    def to_dict(self) -> dict[str, str]:
        """Return a new dict: Seldon writes into what it is given."""
        return {"model": self.model, "version": self.version, "variant": self.variant}


def read_columns(message: Any, contract: Mapping[str, Any]) -> tuple[ColumnSet, str]:
    """Return the checked columns of a SeldonMessage's rows, and the form that they came in.

    Parameters
    ----------
    message : mapping
        `{"jsonData": [{FIELD: VALUE, ...}, ...]}`, or `{"data": {"names": [FIELD, ...], ...}}` with `ndarray`
        (rows of values) or `tensor` (`shape` of two numbers and `values`, row by row).

    Returns
    -------
    tuple
        The columns, and one of "jsonData", "ndarray", "tensor".

    Raises
    ------
    BadRequest
        Naming field, found and allowed.
    """
    rows, form = _rows(message)
    try:
        return columns_from_rows(contract, rows), form
    except RowError as error:
        raise refused(error) from None


def _rows(message: Any) -> tuple[list[Any], str]:
    if not isinstance(message, Mapping):
        raise BadRequest(400, "", kind_of(message), "a SeldonMessage: an object with jsonData or data")
    given = [name for name in _PAYLOADS if name in message]
    if given not in (["jsonData"], ["data"]):
        raise BadRequest(400, "", " and ".join(given) or "neither", "either jsonData or data")
    payload = message[given[0]]
    if given == ["jsonData"]:
        if not isinstance(payload, list):
            raise BadRequest(400, "jsonData", kind_of(payload), "a list of objects with fields")
        return payload, "jsonData"
    if not isinstance(payload, Mapping):
        raise BadRequest(400, "data", kind_of(payload), "an object with names and ndarray or tensor")
    form = next((name for name in FORMS if name in payload), "")
    lists = {"ndarray": _listed, "tensor": _shaped}
    if form not in lists:
        raise BadRequest(400, "data", ", ".join(sorted(payload))[:60] or "nothing", "ndarray or tensor")
    names = _names(payload.get("names"))
    return [dict(zip(names, values, strict=True)) for values in lists[form](payload[form], len(names))], form


def _names(names: Any) -> list[str]:
    if not isinstance(names, list) or not names:
        raise BadRequest(400, "names", "nothing" if names is None else kind_of(names), _NAMES)
    if not all(isinstance(name, str) for name in names):
        raise BadRequest(400, "names", "other than texts", _NAMES)
    if len(set(names)) < len(names):
        ordered = sorted(names)
        twice = next(name for name, after in pairwise(ordered) if name == after)
        raise BadRequest(400, "names", f"'{twice[:60]}' twice", _NAMES)
    return names


def _listed(rows: Any, width: int) -> list[list[Any]]:
    allowed = f"a list of rows with {width} values each, as there are names"
    if not isinstance(rows, list):
        raise BadRequest(400, "ndarray", kind_of(rows), allowed)
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != width:
            found = f"{len(row)} values" if isinstance(row, list) else kind_of(row)
            raise BadRequest(400, "ndarray", found, allowed, index)
    return rows


def _shaped(tensor: Any, width: int) -> list[list[Any]]:
    parts = tensor if isinstance(tensor, Mapping) else {}
    shape, values = parts.get("shape"), parts.get("values")
    values = values if isinstance(values, list) else []
    count = len(values)
    # As text: true and 1.0 equal 1, and are no sizes.
    if repr(shape) != repr([count // width, width]) or count % width:
        found = f"shape {str(shape)[:60]} and {count} values"
        raise BadRequest(400, "tensor", found, f"shape [rows, {width}] and as many values, row by row")
    return [values[start : start + width] for start in range(0, count, width)]


def class_names(answer: Answer) -> list[str]:
    """Return the names of the outputs, as columns of an answer in `data`."""
    return list(answer.outputs)


def answer_message(answer: Answer, form: str) -> dict[str, Any]:
    """Return the payload of an answer in the form of its request, without `meta`.

    `jsonData` is the body of a V1 answer; `ndarray` and `tensor` have one column an output. What is not
    finite is null.
    """
    if form == "jsonData":
        return {"jsonData": {name: _plain(value) for name, value in answer_v1(answer).items()}}
    columns = [_plain(typed(name, values)) for name, values in answer.outputs.items()]
    rows = [list(row) for row in zip(*columns, strict=True)]
    data: dict[str, Any] = {"names": class_names(answer)}
    if form == "tensor":
        values = [value for row in rows for value in row]
        data["tensor"] = {"shape": [len(rows), len(columns)], "values": values}
    else:
        data["ndarray"] = rows
    return {"data": data}


def _plain(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    return [number if math.isfinite(number) else None for number in value.tolist()]


def refusal_message(error: BadRequest) -> dict[str, Any]:
    """Return the message of a request that is refused.

    Seldon Core answers with the HTTP status that stands in `status.code`.
    """
    reason = error_kind(error.status, error.field).upper()
    status = {"code": error.status, "info": str(error), "reason": reason, "status": "FAILURE"}
    return {"status": status, "meta": {"tags": {"error": error.to_dict()}}}


def metrics_of(labels: Labels, bundle: str, status: int, field: str, seconds: float) -> list[dict[str, Any]]:
    """Return what one request counts, as Seldon Core's custom metrics.

    They have the names and labels of the server's own (`cd4ml.serving.telemetry`); Seldon adds `_total` to
    counters, and takes times in milliseconds and shows seconds.
    """
    outcome = "ok" if status < 400 else "client_error" if status < 500 else "server_error"
    kind = error_kind(status, field)

    def metric(type_: str, key: str, value: float, **more: str) -> dict[str, Any]:
        return {"type": type_, "key": key, "value": value, "tags": {**labels.to_dict(), **more}}

    found = [
        metric("COUNTER", "cd4ml_requests", 1, protocol="seldon", outcome=outcome),
        metric("TIMER", "cd4ml_request_seconds", seconds * 1000, protocol="seldon", outcome=outcome),
        metric("GAUGE", "cd4ml_served_info", 1, bundle=bundle),
    ]
    if kind:
        found.append(metric("COUNTER", "cd4ml_request_errors", 1, protocol="seldon", kind=kind))
    return found
