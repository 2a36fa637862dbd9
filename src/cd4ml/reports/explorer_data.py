"""The holdout's rows in few bytes: what the slice explorer computes with, as JSON.

A text column is one code a row. A number is one of at most 256 levels: its own value where a column has no
more of them, else the quantile range that it lies in. A reader cuts levels into bins, and each bin says its
true ends.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cd4ml.features.columns import CategoryArray, ColumnLike, ColumnSet, as_float, take

__all__ = ["MAX_BYTES", "Judged", "explorer_data"]

FloatArray = NDArray[np.float64]
MAX_BYTES = 3_000_000
"""Most bytes of data in a page."""
LEVELS = 256
MOST_CATEGORIES = 1000
"""The rarer values of a text column are one slice."""


@dataclass(frozen=True)
class Judged:
    """Rows that a model was judged on; all arrays have shape (n,).

    Attributes
    ----------
    actual : array
        Actual values; 0 or 1 for classification.
    predictions : mapping
        Values or probabilities by name, the model's first.
    columns : mapping
        What slices may be made of, the most important first.
    cluster : array, optional
        What rows depend on together; None takes each row for itself.
    weight : array, optional
        Row weights of nwrmsle.
    decisions : mapping
        0/1 by name of the prediction; by default a probability of 0.5 is called positive.
    """

    actual: FloatArray
    predictions: Mapping[str, FloatArray]
    columns: ColumnSet
    cluster: NDArray[Any] | None = None
    weight: FloatArray | None = None
    decisions: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def rows(self, chosen: NDArray[np.int64]) -> Judged:
        """Return some of the rows."""
        return replace(
            self,
            actual=self.actual[chosen],
            predictions={name: values[chosen] for name, values in self.predictions.items()},
            columns=take(self.columns, chosen),
            cluster=None if self.cluster is None else self.cluster[chosen],
            weight=None if self.weight is None else self.weight[chosen],
            decisions={name: values[chosen] for name, values in self.decisions.items()},
        )


def explorer_data(
    judged: Judged, *, binary: bool, essential: int, max_bytes: int = MAX_BYTES, seed: int = 0
) -> dict[str, Any]:
    """Return the rows as JSON values.

    When even the model's predictions and the `essential` first columns take more than `max_bytes`, rows are
    drawn at random without replacement, the same ones for the same seed. Further predictions and columns
    follow in their order while there is room.

    Returns
    -------
    dict
        `rows`, `of` (rows before sampling), `clusters`, `actual`, `cluster`, `weight`, `predictions` and
        `columns`; an array is `{"kind": u1 | u2 | u4 | f4, "data": base64, little endian}`.
    """
    total = len(judged.actual)
    columns = dict(judged.columns)
    must = {name: columns[name] for name in list(columns)[:essential]}
    first = next(iter(judged.predictions))
    least = _json_bytes(_rows(replace(judged, predictions={first: judged.predictions[first]}), binary))
    least += sum(_json_bytes(_column(name, value)) for name, value in must.items())
    if least > max_bytes:
        size = max(1, int(total * max_bytes / least * 0.97))
        rng = np.random.Generator(np.random.PCG64(seed))
        judged = judged.rows(np.sort(rng.choice(total, size, replace=False)))
    made = _rows(replace(judged, predictions={first: judged.predictions[first]}), binary)
    made["columns"] = [_column(name, judged.columns[name]) for name in must]
    room = max_bytes - _json_bytes(made)
    others = {name: value for name, value in judged.predictions.items() if name != first}
    made["predictions"] += _fitting((_prediction(n, v, judged, binary) for n, v in others.items()), room)
    room = max_bytes - _json_bytes(made)
    more = (_column(n, v) for n, v in judged.columns.items() if n not in must and _groups(v))
    made["columns"] += _fitting(more, room)
    return {"rows": len(judged.actual), "of": total, **made}


def _json_bytes(value: object) -> int:
    return len(json.dumps(value))


def _fitting(parts: Iterable[dict[str, Any]], room: int) -> list[dict[str, Any]]:
    """Return the first parts that fit into so many bytes."""
    found: list[dict[str, Any]] = []
    for part in parts:
        room -= _json_bytes(part)
        if room < 0:
            break
        found.append(part)
    return found


def _rows(judged: Judged, binary: bool) -> dict[str, Any]:
    n = len(judged.actual)
    made: dict[str, Any] = {
        "actual": _pack(judged.actual.astype(np.uint8 if binary else np.float32)),
        "weight": None,
        "cluster": None,
        "clusters": n,
    }
    if judged.weight is not None and not np.all(judged.weight == 1):
        made["weight"] = _pack(judged.weight.astype(np.float32))
    if judged.cluster is not None:
        names, codes = np.unique(judged.cluster, return_inverse=True)
        made["clusters"] = len(names)
        made["cluster"] = None if len(names) == n else _pack(_narrow(codes.reshape(-1)))
    made["predictions"] = [_prediction(name, v, judged, binary) for name, v in judged.predictions.items()]
    return made


def _prediction(name: str, values: FloatArray, judged: Judged, binary: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "values": _pack(values.astype(np.float32))}
    if binary:
        called = judged.decisions.get(name, values >= 0.5)
        made["called"] = _pack(np.asarray(called).astype(np.uint8))
    return made


def _groups(column: ColumnLike) -> bool:
    """Whether a column has some values, and not as many texts that every slice is tiny."""
    if isinstance(column, CategoryArray):
        return 1 < len(np.unique(column.codes)) <= MOST_CATEGORIES
    return len(np.unique(column)) > 1


def _column(name: str, column: ColumnLike) -> dict[str, Any]:
    """Return a column's codes with what each stands for; the code after the last is a null."""
    if isinstance(column, CategoryArray):
        return {"name": name, "type": "text", **_texts(column)}
    if column.dtype.kind == "M":
        seconds = column.astype("datetime64[s]")
        values = np.where(np.isnat(seconds), np.nan, seconds.astype(np.int64).astype(np.float64))
        return {"name": name, "type": "time", **_levels(values)}
    return {"name": name, "type": "number", **_levels(as_float(column))}


def _texts(column: CategoryArray) -> dict[str, Any]:
    """Return the values that occur in alphabetical order; the rarest are one when there are too many."""
    counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.categories))
    present = np.flatnonzero(counts)
    kept = present[np.argsort(-counts[present], kind="stable")][:MOST_CATEGORIES]
    names = sorted(kept.tolist(), key=lambda code: column.categories[code])
    rest = len(present) - len(kept)
    labels = [column.categories[code] for code in names] + ([f"{rest:,} rarer values"] if rest else [])
    table = np.full(len(column.categories) + 1, len(names), dtype=np.int64)
    table[names] = np.arange(len(names))
    table[-1] = len(labels)
    return {"labels": labels, "codes": _pack(_narrow(table[column.codes]))}


def _levels(values: FloatArray) -> dict[str, Any]:
    """Return numbers as levels, each with the least and the greatest value that occurs in it."""
    known = ~np.isnan(values)
    distinct, codes = np.unique(values[known], return_inverse=True)
    if len(distinct) > LEVELS:
        shares = np.arange(1, LEVELS) / LEVELS
        edges = np.unique(np.quantile(values[known], shares, method="inverted_cdf"))
        codes = np.searchsorted(edges, values[known], side="left")
        places = np.searchsorted(edges, distinct, side="left")
        starts = np.unique(places, return_index=True)[1]
        lows, highs = distinct[starts], distinct[np.r_[starts[1:] - 1, len(distinct) - 1]]
        codes = np.unique(codes, return_inverse=True)[1]
    else:
        lows = highs = distinct
    found = np.full(len(values), len(lows), dtype=np.int64)
    found[known] = codes.reshape(-1)
    return {"lows": _short(lows), "highs": _short(highs), "codes": _pack(_narrow(found))}


def _short(values: FloatArray) -> list[float | int]:
    """Return numbers with at most nine digits."""
    rounded = [float(f"{value:.9g}") for value in values]
    return [int(value) if value.is_integer() and abs(value) < 1e15 else value for value in rounded]


def _narrow(codes: NDArray[np.integer[Any]]) -> NDArray[Any]:
    top = int(codes.max(initial=0))
    kind = np.uint8 if top < 2**8 else np.uint16 if top < 2**16 else np.uint32
    return codes.astype(kind)


def _pack(values: NDArray[Any]) -> dict[str, str]:
    """Return an array as text, little endian."""
    kind = {("u", 1): "u1", ("u", 2): "u2", ("u", 4): "u4", ("f", 4): "f4"}[
        values.dtype.kind, values.dtype.itemsize
    ]
    data = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
    return {"kind": kind, "data": base64.b64encode(data).decode("ascii")}
