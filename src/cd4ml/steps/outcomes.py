"""Adding what came true to the outcomes of a service: by request id and row, or by what was asked."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cd4ml.adapters.event_log import EventFolder
from cd4ml.adapters.outcome_log import Outcome, OutcomeLog
from cd4ml.delivery.evidence.local import outcomes_folder
from cd4ml.delivery.local.state import PlaneState
from cd4ml.errors import DataError, NotFoundError, UsageError, nearest

__all__ = ["Added", "add_outcomes"]

_ACTUAL = "actual"


@dataclass(frozen=True)
class Added:
    """What an addition did.

    Attributes
    ----------
    rows : int
        Of the file.
    outcomes : int
        That were added; with inputs as keys a row is the outcome of each prediction of them.
    unmatched : int
        Rows whose inputs nobody asked a prediction for yet; add the file again later.
    """

    rows: int
    outcomes: int
    unmatched: int


def add_outcomes(root: Path, service: str, data: Path) -> Added:
    """Add the outcomes of a file to a service of a local plane.

    Parameters
    ----------
    root : Path
        The folder of the plane.
    data : Path
        CSV with a header, or JSON Lines (`.jsonl`). Each row has `actual`, and `id` with `row` (0 without
        it), or else inputs as they were sent, such as `date` and `store`.

    Raises
    ------
    DataError
        If a row cannot be read; nothing is added then.
    """
    state = PlaneState(root)
    folder = state.events(service, "stable").parent
    if not folder.is_dir():
        known = sorted(path.name for path in folder.parent.glob("*"))
        raise NotFoundError(
            f"the plane at '{root}' has no predictions of '{service}'{nearest(service, known)}; expected"
            f" one of {', '.join(known) or 'none'}"
        )
    rows = list(_rows(data))
    by_id = bool(rows) and "id" in rows[0][1]
    found, unmatched = (_by_id(rows, data), 0) if by_id else _by_inputs(rows, data, folder)
    log = OutcomeLog(outcomes_folder(state.root, service))
    return Added(len(rows), log.append(found), unmatched)


def _rows(data: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the line number and the row of each."""
    try:
        with data.open(encoding="utf-8-sig", newline="") as file:
            if data.suffix == ".jsonl":
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield number, _object(json.loads(line))
            else:
                for number, row in enumerate(csv.DictReader(file), 2):
                    yield number, row
    except FileNotFoundError:
        raise UsageError(f"there is no file '{data}'") from None
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"'{data}' cannot be read as CSV with a header or as JSON Lines: {error}") from error


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object a line; found {type(value).__name__}")
    return value


def _actual(row: Mapping[str, Any], number: int, data: Path) -> float:
    try:
        return float(row[_ACTUAL])
    except (KeyError, TypeError, ValueError):
        found = row.get(_ACTUAL, "no such column")
        raise DataError(f"{data}:{number}: expected a number in '{_ACTUAL}'; found {found!r}") from None


def _by_id(rows: list[tuple[int, Mapping[str, Any]]], data: Path) -> list[Outcome]:
    found = []
    for number, row in rows:
        try:
            place = int(row.get("row") or 0)
        except (TypeError, ValueError):
            raise DataError(f"{data}:{number}: expected a whole number in 'row'") from None
        found.append(Outcome(str(row.get("id") or ""), place, _actual(row, number, data)))
    return found


def _by_inputs(
    rows: list[tuple[int, Mapping[str, Any]]], data: Path, folder: Path
) -> tuple[list[Outcome], int]:
    if not rows:
        return [], 0
    columns = sorted(set(rows[0][1]) - {_ACTUAL})
    if not columns:
        raise DataError(f"'{data}': expected 'id', or inputs of predictions, beside '{_ACTUAL}'")
    asked: dict[tuple[str, ...], set[tuple[str, int]]] = {}
    for path in sorted(one for one in folder.iterdir() if one.is_dir()):
        for event in EventFolder(path).read():
            key = tuple(_text(event.inputs.get(column)) for column in columns)
            asked.setdefault(key, set()).add((event.id, event.row))
    found, unmatched = [], 0
    for number, row in rows:
        actual = _actual(row, number, data)
        keys = asked.get(tuple(_text(row.get(column)) for column in columns), set())
        unmatched += not keys
        found += [Outcome(identity, place, actual) for identity, place in sorted(keys)]
    return found, unmatched


def _text(value: Any) -> str:
    """Return an input as text: 1, 1.0 and "1" are the same, and so are true and "true"."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
