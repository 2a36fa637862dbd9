"""Bodies of requests, in KServe's V1 and V2 protocols, to checked columns; what is wrong is told by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cd4ml.errors import DataError, RowError, nearest
from cd4ml.features.columns import ColumnSet, length
from cd4ml.models.rows import columns_from_lists, columns_from_rows

__all__ = ["DATATYPES", "BadRequest", "Limits", "Rows", "decode_v1", "decode_v2", "kind_of", "refused"]

_NUMPY = {
    "BOOL": "?",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_NUMBERS = ("FP64", "FP32", "FP16", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")
DATATYPES: Mapping[str, tuple[str, ...]] = {
    "integer": ("INT64", *(name for name in _NUMBERS if name != "INT64")),
    "number": _NUMBERS,
    "boolean": ("BOOL",),
    "text": ("BYTES",),
    "category": ("BYTES",),
    "date": ("BYTES",),
    "timestamp": ("BYTES",),
}
"""Kind of a field -> the V2 datatypes that it takes; the first one is in the metadata."""


class BadRequest(DataError):
    """A request that cannot be answered, and why.

    Parameters
    ----------
    status : int
        HTTP status: 4xx for what the caller mends, 503 and 504 for what passes.
    field : str
        The field, or the part of the request; "" for the whole.
    found, allowed : str
        In few words.
    row : int, optional
        Counted from 0.
    message : str, optional
        By default made of field, found and allowed.
    """

    def __init__(
        self, status: int, field: str, found: str, allowed: str, row: int | None = None, message: str = ""
    ) -> None:
        super().__init__(message or f"{field or 'request'}: expected {allowed}; found {found}")
        self.status = status
        self.field = field
        self.found = found
        self.allowed = allowed
        self.row = row

    def to_dict(self) -> dict[str, Any]:
        """Return the body of the answer."""
        found = {"error": str(self), "field": self.field, "found": self.found, "allowed": self.allowed}
        return found if self.row is None else {**found, "row": self.row}


@dataclass(frozen=True)
class Limits:
    """What one request may cost.

    Attributes
    ----------
    body_bytes : int
        Largest body.
    body_seconds : float
        Longest time for a body to arrive.
    rows : int or None
        Most rows, where that is fewer than the contract's `max_rows`.
    """

    body_bytes: int = 16 * 2**20
    body_seconds: float = 30.0
    rows: int | None = None

    def most_rows(self, contract: Mapping[str, Any]) -> int:
        """Return the most rows of one request."""
        most = int(contract["max_rows"])
        return most if self.rows is None else min(most, self.rows)


@dataclass(frozen=True)
class Rows:
    """Checked rows of one request.

    Attributes
    ----------
    columns : ColumnSet
        One column for each field of the contract.
    request_id : str or None
        What a V2 body calls itself.
    outputs : mapping or None
        Outputs that a V2 body asks for, and whether each is to be binary; None for all.
    binary : bool
        Outputs that are not in `outputs` are to be binary.
    """

    columns: ColumnSet
    request_id: str | None = None
    outputs: Mapping[str, bool] | None = None
    binary: bool = False

    def __len__(self) -> int:
        return length(self.columns)


def decode_v1(body: bytes, contract: Mapping[str, Any], limits: Limits) -> Rows:
    """Return the rows of a V1 body: `{"instances": [{FIELD: VALUE, ...}, ...]}`.

    Raises
    ------
    BadRequest
        Naming field, found and allowed.
    """
    document = _object(_json(body, limits), "request")
    _only(document, ("instances",))
    rows = document.get("instances")
    if not isinstance(rows, list):
        found = "no such field" if "instances" not in document else kind_of(rows)
        raise BadRequest(400, "instances", found, "a list of objects with fields")
    _check_rows(len(rows), contract, limits)
    try:
        return Rows(columns_from_rows(contract, rows))
    except RowError as error:
        raise refused(error) from None


def decode_v2(
    body: bytes, contract: Mapping[str, Any], limits: Limits, json_bytes: int | None = None
) -> Rows:
    """Return the rows of a V2 body: one tensor of shape [n] or [n, 1] for each field.

    Texts, dates and times are BYTES in UTF-8. Null is JSON's null, or NaN in a binary tensor of floats; a
    field that may be null may be left out.

    Parameters
    ----------
    json_bytes : int, optional
        Length of the JSON with binary tensors behind it (header `Inference-Header-Content-Length`).

    Raises
    ------
    BadRequest
        Naming field, found and allowed.
    """
    head, tail = _parts(body, json_bytes)
    _check_size(len(body), limits)
    document = _object(_json(head, limits), "request")
    _only(document, ("id", "inputs", "outputs", "parameters", "model_name", "model_version"))
    tensors = document.get("inputs")
    if not isinstance(tensors, list) or not tensors:
        raise BadRequest(400, "inputs", kind_of(tensors), "a list of tensors, one for each field")
    lists, rows = _tensors(tensors, tail, contract, limits)
    asked, binary = _outputs(document)
    for name in ("id", "model_name", "model_version"):
        if not isinstance(document.get(name), str | None):
            raise BadRequest(400, name, kind_of(document[name]), "a text")
    try:
        return Rows(columns_from_lists(contract, lists, rows), document.get("id"), asked, binary)
    except RowError as error:
        raise refused(error) from None


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.body_bytes:
        raise BadRequest(413, "", f"{size} bytes", f"a body of at most {limits.body_bytes} bytes")


def _check_rows(rows: int, contract: Mapping[str, Any], limits: Limits) -> None:
    most = limits.most_rows(contract)
    if not 0 < rows <= most:
        raise BadRequest(400 if not rows else 413, "", f"{rows} rows", f"from 1 to {most} rows")


def _json(body: bytes, limits: Limits) -> Any:
    import orjson

    _check_size(len(body), limits)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(400, "", f"no JSON: {str(error)[:120]}", "JSON in UTF-8") from None


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRequest(400, name, kind_of(value), "a JSON object")
    return value


def _only(document: Mapping[str, Any], names: Sequence[str]) -> None:
    extra = min((name for name in document if name not in names), default=None)
    if extra is not None:
        raise BadRequest(400, extra[:60], "an unknown field", ", ".join(names))


_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}


def kind_of(value: Any) -> str:
    """Return what a value of JSON is, in words."""
    if isinstance(value, list) and not value:
        return "an empty list"
    return _KINDS.get(type(value), "a number")


def refused(error: RowError) -> BadRequest:
    """Return what is wrong with a row as an error of the request."""
    return BadRequest(400, error.field, error.found, error.allowed, error.row, str(error))


def _parts(body: bytes, json_bytes: int | None) -> tuple[bytes, memoryview]:
    if json_bytes is None:
        return body, memoryview(b"")
    if not 0 < json_bytes <= len(body):
        allowed = f"the length of the JSON, from 1 up to {len(body)}"
        raise BadRequest(400, "Inference-Header-Content-Length", str(json_bytes)[:60], allowed)
    return body[:json_bytes], memoryview(body)[json_bytes:]


def _tensors(
    tensors: list[Any], tail: memoryview, contract: Mapping[str, Any], limits: Limits
) -> tuple[dict[str, list[Any]], int]:
    """Return each field's values, and how many there are."""
    fields = contract["inputs"]["properties"]
    found: dict[str, list[Any]] = {}
    rows: int | None = None
    for tensor in tensors:
        name, count = _named(tensor, fields)
        if name in found:
            raise BadRequest(400, name, "two tensors of this name", "one tensor for each field")
        if rows is not None and count != rows:
            raise BadRequest(400, name, f"{count} rows", f"{rows} rows, as the tensor before it has")
        rows = count
        _check_rows(rows, contract, limits)
        found[name], tail = _values(name, tensor, rows, fields[name], tail)
    if len(tail):
        raise BadRequest(400, "inputs", f"{len(tail)} bytes too many", "as many bytes as the tensors name")
    return found, rows or 0


def _named(tensor: Any, fields: Mapping[str, Any]) -> tuple[str, int]:
    """Return a tensor's name and number of rows."""
    name = _object(tensor, "inputs").get("name")
    if not isinstance(name, str):
        raise BadRequest(400, "name", kind_of(name), "the name of a field")
    if name not in fields:
        raise _refused_name(name, fields)
    shape = tensor.get("shape")
    whole = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
    if not whole or len(shape) not in (1, 2) or shape[1:] not in ([], [1]):
        found = str(shape)[:60] if whole else kind_of(shape)
        raise BadRequest(400, name, f"the shape {found}", "a shape of [rows] or [rows, 1]")
    return name, shape[0]


def _refused_name(name: str, fields: Mapping[str, Any]) -> BadRequest:
    allowed = ", ".join(fields)
    message = f"unknown field '{name[:60]}'{nearest(name[:60], fields)}; expected {allowed}"
    return BadRequest(400, name[:60], "an unknown field", allowed, message=message)


def _values(
    name: str, tensor: Mapping[str, Any], rows: int, field: Mapping[str, Any], tail: memoryview
) -> tuple[list[Any], memoryview]:
    """Return a tensor's values, and the bytes behind them."""
    datatype, allowed = tensor.get("datatype"), DATATYPES[field["kind"]]
    if datatype not in allowed:
        found = datatype[:60] if isinstance(datatype, str) else kind_of(datatype)
        raise BadRequest(400, name, f"the datatype {found}", f"the datatype {', '.join(allowed)}")
    size = _parameters(tensor).get("binary_data_size")
    if size is None:
        return _listed(name, tensor.get("data"), rows), tail
    if "data" in tensor or type(size) is not int or not 0 <= size <= len(tail):
        found = "data as well" if "data" in tensor else f"binary_data_size {str(size)[:60]}"
        raise BadRequest(400, name, found, f"binary_data_size from 0 up to the {len(tail)} bytes left")
    raw, tail = tail[:size], tail[size:]
    values = _texts(name, raw, rows) if datatype == "BYTES" else _numbers(name, raw, rows, datatype)
    return values, tail


def _listed(name: str, data: Any, rows: int) -> list[Any]:
    if isinstance(data, list) and data and all(isinstance(item, list) and len(item) == 1 for item in data):
        data = [item[0] for item in data]
    if not isinstance(data, list) or len(data) != rows:
        found = f"{len(data)} values" if isinstance(data, list) else kind_of(data)
        raise BadRequest(400, name, found, f"data with {rows} values, as the shape says")
    return data


def _numbers(name: str, raw: memoryview, rows: int, datatype: str) -> list[Any]:
    kind = np.dtype(_NUMPY[datatype])
    if len(raw) != rows * kind.itemsize:
        allowed = f"{rows * kind.itemsize} bytes: {rows} of {datatype}"
        raise BadRequest(400, name, f"{len(raw)} bytes", allowed)
    values: list[Any] = np.frombuffer(raw, dtype=kind).tolist()
    if kind.kind == "f":
        return [None if value != value else value for value in values]  # noqa: PLR0124 - NaN
    return values


def _texts(name: str, raw: memoryview, rows: int) -> list[Any]:
    """Return texts, each behind its length in four bytes, little-endian."""
    found: list[Any] = []
    start = 0
    while start < len(raw) and len(found) < rows:
        end = start + 4 + int.from_bytes(raw[start : start + 4], "little")
        if end > len(raw):
            break
        try:
            found.append(str(raw[start + 4 : end], "utf-8"))
        except UnicodeDecodeError:
            raise BadRequest(400, name, "bytes that are no UTF-8", "texts in UTF-8", len(found)) from None
        start = end
    if start != len(raw) or len(found) != rows:
        allowed = f"{rows} texts, each behind its length in four bytes"
        raise BadRequest(400, name, f"{len(raw)} bytes with {len(found)} whole texts", allowed)
    return found


def _parameters(holder: Mapping[str, Any]) -> Mapping[str, Any]:
    found = holder.get("parameters")
    if not isinstance(found, dict | None):
        raise BadRequest(400, "parameters", kind_of(found), "an object")
    return found or {}


def _outputs(document: Mapping[str, Any]) -> tuple[dict[str, bool] | None, bool]:
    """Return the outputs that are asked for, and whether outputs are binary unless they say otherwise."""
    every = _parameters(document).get("binary_data_output") is True
    asked = document.get("outputs")
    if asked is None:
        return None, every
    if not isinstance(asked, list) or not all(
        isinstance(item, dict) and isinstance(item.get("name"), str) for item in asked
    ):
        raise BadRequest(400, "outputs", kind_of(asked), "a list of objects with the name of an output")
    found = {}
    for item in asked:
        found[item["name"]] = _parameters(item).get("binary_data", every) is True
    return found or None, every
