"""Does a server answer what was judged, in each protocol, in any order, alone and in batches?"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import requests

from cd4ml.models.runtime import Bundle, holdout_rows
from cd4ml.steps.predict import predict_file
from tests.serving.model_server import Running
from tests.serving.protocol import binary, close, datatypes, outputs_of, tensors_of

Rows = list[dict[str, Any]]
Outputs = dict[str, Any]
Way = Callable[[Rows], Outputs]
V1_NAMES = {"predictions": "prediction", "quantiles": "quantile", "decisions": "decision"}
OUTPUTS = ("prediction", "quantile", "decision")
UNSEEN = "never seen before"


class Ways:
    """Each way of asking a server for rows."""

    def __init__(self, server: Running, folder: Path) -> None:
        self._server, self._types = server, datatypes(folder)
        self._session = requests.Session()

    def all(self) -> dict[str, Way]:
        return {"v1": self.v1, "v2": self.v2, "v2 binary": self.v2_binary}

    def close(self) -> None:
        self._session.close()

    def v1(self, rows: Rows) -> Outputs:
        found = json.loads(self._post(f"/v1/models/{self._server.name}:predict", {"instances": rows}).content)
        return {output: np.array(found[name]) for name, output in V1_NAMES.items() if name in found}

    def v2(self, rows: Rows) -> Outputs:
        return outputs_of(self._post(self._infer, {"inputs": self._tensors(rows)}).content)

    def v2_binary(self, rows: Rows) -> Outputs:
        body, headers = binary(self._tensors(rows), parameters={"binary_data_output": True})
        answer = self._post(self._infer, body, headers)
        return outputs_of(answer.content, int(answer.headers["Inference-Header-Content-Length"]))

    @property
    def _infer(self) -> str:
        return f"/v2/models/{self._server.name}/infer"

    def _tensors(self, rows: Rows) -> list[dict[str, Any]]:
        return tensors_of(self._types, [{name: row.get(name) for name in self._types} for row in rows])

    def _post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> requests.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self._session.post(self._server.url + path, data=data, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer


def judged(folder: Path) -> Outputs:
    """Return the outputs of the holdout that a bundle has stored."""
    paths = {name: folder / "holdout" / f"{name}.npy" for name in OUTPUTS}
    return {name: np.load(path).astype(np.float64) for name, path in paths.items() if path.is_file()}


def differing(way: Way, rows: Rows, expected: Outputs, parts: list[Any]) -> list[str]:
    """Ask for parts of rows; return the outputs that are not as expected."""
    found = {name: np.full(len(rows), np.nan) for name in expected}
    for part in parts:
        answer = way([rows[place] for place in part])
        assert answer.keys() == expected.keys()
        for name, values in answer.items():
            found[name][part] = values
    asked = np.concatenate(parts)
    return [name for name, values in expected.items() if not close(found[name][asked], values[asked])]


def orders(count: int, batch: int, alone: int) -> dict[str, list[Any]]:
    """Return how to ask: in batches of shuffled rows, and `alone` of the rows one at a time."""
    shuffled = np.random.Generator(np.random.PCG64(3)).permutation(count)
    parts = [shuffled[start : start + batch] for start in range(0, count, batch)]
    return {"in batches": parts, "alone": [shuffled[place : place + 1] for place in range(min(alone, count))]}


def spoilt(folder: Path, rows: Rows) -> Rows:
    """Return rows with nulls, fields left out and values never seen, where the contract takes them."""
    found: Rows = []
    for number, (name, field) in enumerate(Bundle.load(folder).inputs.items()):
        row = rows[number % len(rows)]
        if field["nullable"]:
            found += [{**row, name: None}, {key: value for key, value in row.items() if key != name}]
        if field["kind"] in ("text", "category") and "enum" not in field:
            found.append({**row, name: UNSEEN})
        if field["kind"] == "integer" and "maximum" not in field and "enum" not in field:
            found.append({**row, name: 987_654_321})
    return found


def faults(server: Running, folder: Path, *, batch: int, alone: int) -> Iterator[str]:
    """Yield each way and order in which a server answers otherwise than was judged or is predicted here."""
    ways = Ways(server, folder)
    try:
        yield from form_faults(ways.all(), folder, batch=batch, alone=alone)
    finally:
        ways.close()


def form_faults(ways: Mapping[str, Way], folder: Path, *, batch: int, alone: int) -> Iterator[str]:
    """Yield the same of any ways of asking."""
    rows, expected = holdout_rows(folder), judged(folder)
    strange = spoilt(folder, rows)
    predicted = Bundle.load(folder).predict_rows(strange) if strange else {}
    for name, way in ways.items():
        for order, parts in orders(len(rows), batch, alone).items():
            yield from (f"{name}, {order}: {what}" for what in differing(way, rows, expected, parts))
        for order, parts in orders(len(strange), batch, len(strange)).items() if strange else ():
            wrong = differing(way, strange, predicted, parts)
            yield from (f"{name}, spoilt rows {order}: {what}" for what in wrong)


def batch_faults(folder: Path, place: Path) -> Iterator[str]:
    """Yield the outputs that `models predict` gives otherwise: for shuffled and for spoilt rows."""
    rows, expected = holdout_rows(folder), judged(folder)
    order = np.random.Generator(np.random.PCG64(4)).permutation(len(rows))
    strange = spoilt(folder, rows)
    cases = [([rows[at] for at in order], {name: values[order] for name, values in expected.items()})]
    if strange:
        cases.append((strange, Bundle.load(folder).predict_rows(strange)))
    names = list(Bundle.load(folder).inputs)
    for number, (asked, values) in enumerate(cases):
        data, out = place / f"{number}.csv", place / f"{number}-out.csv"
        table = [{name: row.get(name) for name in names} for row in asked]
        pl.DataFrame(table, infer_schema_length=None).write_csv(data)
        predict_file(folder, data, out, chunk_rows=333)
        written = pl.read_csv(out, infer_schema_length=None)
        for name, wanted in values.items():
            if not close(written[name].to_numpy(), wanted):
                yield f"batch {number}: {name}"
