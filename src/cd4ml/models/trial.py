"""Try a bundle's contract: right rows are predicted, each kind of wrong row is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cd4ml.errors import DataError
from cd4ml.models.runtime import Bundle

__all__ = ["contract_breaches", "replay_rows"]

Row = Mapping[str, Any]
_FEW_ROWS = 200


def replay_rows(bundle: Path) -> list[dict[str, Any]]:
    """Return the holdout rows of a bundle as a caller sends them."""
    lines = (bundle / "holdout" / "inputs.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def contract_breaches(bundle: Bundle, rows: Sequence[Row]) -> list[str]:
    """Return one sentence for each way in which the bundle breaks its own contract; none is right."""
    breaches = _outputs(bundle, rows[:_FEW_ROWS])
    for what, row in _spoilt(bundle, rows[0]):
        try:
            bundle.predict_rows([row])
        except DataError as error:
            field = what.partition("'")[2].partition("'")[0]
            if field and field not in str(error):
                breaches.append(f"{what} was refused without naming the field")
        else:
            breaches.append(f"{what} was accepted")
    return breaches


def _outputs(bundle: Bundle, rows: Sequence[Row]) -> list[str]:
    values = bundle.predict_rows(rows)["prediction"]
    limits = bundle.contract["output"]
    low, high = limits.get("minimum", -np.inf), limits.get("maximum", np.inf)
    breaches = [] if np.isfinite(values).all() else ["a prediction is not finite"]
    if (values < low).any() or (values > high).any():
        breaches.append(f"a prediction is outside of {low} to {high}")
    if values.shape != (len(rows),):
        breaches.append(f"{len(rows)} rows gave predictions of shape {values.shape}")
    return breaches


def _spoilt(bundle: Bundle, right: Row) -> Iterator[tuple[str, Row]]:
    """Yield a description and a row that is wrong in one way."""
    yield "an unknown field 'no_such_field'", {**right, "no_such_field": 1}
    for name, field in bundle.inputs.items():
        wrong = 1.5 if field["kind"] in ("category", "text", "boolean") else "not a value"
        yield f"a wrong type of '{name}'", {**right, name: wrong}
        if not field["nullable"]:
            yield f"a missing '{name}'", {key: value for key, value in right.items() if key != name}
            yield f"null in '{name}'", {**right, name: None}
        if isinstance(field.get("maximum"), int | float):
            yield f"too large a '{name}'", {**right, name: field["maximum"] + 1}
        if isinstance(field.get("minimum"), int | float):
            yield f"too small a '{name}'", {**right, name: field["minimum"] - 1}
