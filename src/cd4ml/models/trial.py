"""Try a bundle's contract: right rows are predicted, each kind of wrong row is refused, its field named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cd4ml.errors import DataError
from cd4ml.models.runtime import Bundle, holdout_rows

__all__ = ["contract_breaches", "replay_rows"]

Row = Mapping[str, Any]
_FEW_ROWS = 200
_STRANGE = "no such value"
_TEXTS = ("category", "text")


def replay_rows(bundle: Path) -> list[dict[str, Any]]:
    """Return the holdout rows of a bundle as a caller sends them."""
    return holdout_rows(bundle)


def contract_breaches(bundle: Bundle, rows: Sequence[Row]) -> list[str]:
    """Return one sentence for each way in which the bundle breaks its own contract; none is right.

    Parameters
    ----------
    rows : sequence of mappings
        Right ones, as a caller sends them.

    Raises
    ------
    DataError
        If there are no rows.
    """
    if not rows:
        raise DataError("a contract is tried with at least one row; found none")
    breaches = [*_left_out(bundle), *_right_rows(bundle, rows)]
    for what, row in _still_right(bundle, rows[0]):
        breaches += _prediction(bundle, what, [row])
    for what, field, wrong in _spoilt(bundle, rows[0]):
        try:
            bundle.predict_rows([wrong])
        except DataError as error:
            if f"'{field}'" not in str(error):
                breaches.append(f"{what} '{field}' was refused without naming the field")
        else:
            breaches.append(f"{what} '{field}' was accepted")
    return [*breaches, *_counts(bundle, rows[0])]


def _left_out(bundle: Bundle) -> list[str]:
    """Look for rows that the model was judged on and that serving refuses."""
    about = json.loads((bundle.folder / "holdout" / "holdout.json").read_bytes())
    if not about["refused"] or bundle.contract["unknown"] == "refuse":
        return []
    rows = about["refused"] + about["rows"]
    return [f"{about['refused']} of {rows} holdout rows are refused ({about['refusal']})"]


def _right_rows(bundle: Bundle, rows: Sequence[Row]) -> list[str]:
    return _prediction(bundle, "a holdout row", rows[: min(_FEW_ROWS, int(bundle.contract["max_rows"]))])


def _prediction(bundle: Bundle, what: str, rows: Sequence[Row]) -> list[str]:
    """Return what is wrong with the predictions for right rows."""
    try:
        outputs = bundle.predict_rows(rows)
    except DataError as error:
        return [f"{what} was refused: {error}"]
    found = []
    # What is served is float32, and so are its limits.
    limits = bundle.contract["output"]
    low, high = (np.float32(limits.get(end, np.nan)) for end in ("minimum", "maximum"))
    for name, values in outputs.items():
        if values.shape != (len(rows),):
            found.append(f"{what}: {len(rows)} rows gave the {name} in the shape {values.shape}")
        if not np.isfinite(values).all():
            found.append(f"{what}: the {name} is not finite")
        if (values < low).any() or (values > high).any():
            found.append(f"{what}: the {name} is outside of its limits ({low:g} to {high:g})")
    return found


def _still_right(bundle: Bundle, right: Row) -> Iterator[tuple[str, Row]]:
    """Yield a description and a row that is unusual and holds the contract."""
    for name, field in bundle.inputs.items():
        if field["nullable"]:
            yield f"null in '{name}'", {**right, name: None}
            yield f"a row without '{name}'", {key: value for key, value in right.items() if key != name}
        if field["kind"] in _TEXTS and "enum" not in field:
            yield f"an unseen '{name}'", {**right, name: _STRANGE}


def _spoilt(bundle: Bundle, right: Row) -> Iterator[tuple[str, str, Row]]:
    """Yield a description, the field and a row that is wrong in one way."""
    yield "an unknown field", "no_such_field", {**right, "no_such_field": 1}
    for name, field in bundle.inputs.items():
        wrong = 1.5 if field["kind"] in (*_TEXTS, "boolean") else "not a value"
        yield "a wrong type of", name, {**right, name: wrong}
        if not field["nullable"]:
            yield "a missing", name, {key: value for key, value in right.items() if key != name}
            yield "null in", name, {**right, name: None}
        if "enum" in field:
            yield "an unseen value of", name, {**right, name: _not_among(field)}
        if "maximum" in field:
            yield "too large a", name, {**right, name: field["maximum"] + _step(field["maximum"])}
        if "minimum" in field:
            yield "too small a", name, {**right, name: field["minimum"] - _step(field["minimum"])}


def _step(end: float) -> float:
    """Return something that makes a difference to a number."""
    return max(1, abs(end) // 1000)


def _not_among(field: Mapping[str, Any]) -> Any:
    """Return a value of the right type that a field does not list."""
    known = [value for value in field["enum"] if value is not None]
    if field["kind"] in ("integer", "number"):
        return max(known, default=0) + 1
    return {"date": "0001-01-01", "timestamp": "0001-01-01"}.get(field["kind"], _STRANGE)


def _counts(bundle: Bundle, right: Row) -> list[str]:
    """Look for requests of too few or too many rows that are predicted."""
    most = int(bundle.contract["max_rows"])
    found = []
    for count in (0, most + 1):
        try:
            bundle.predict_rows([right] * count)
        except DataError:
            continue
        found.append(f"{count} rows were accepted; from 1 to {most} are right")
    return found
