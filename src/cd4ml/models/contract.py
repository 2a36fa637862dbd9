"""The contract of a bundle: what a caller sends and what comes back, as JSON Schema.

`inputs` and `output` are schemas of draft 2020-12. Some keywords are annotations to it: `kind` is the type
that the column declares, `nullable` repeats what `type` says, `formatMinimum` and `formatMaximum` are the
bounds of dates and times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cd4ml.domain.treatment import Treatment
from cd4ml.features.columns import ColumnSet, as_category
from cd4ml.features.expressions import Expression
from cd4ml.problem import Column, Problem

__all__ = ["TIME_PATTERN", "build_contract", "declared_values", "known_values"]

TIME_PATTERN = "^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?)?$"
"""Times come without a zone, as they were in training; a date alone is its midnight."""
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_JSON_TYPES = {
    "integer": "integer",
    "number": "number",
    "text": "string",
    "category": "string",
    "boolean": "boolean",
    "date": "string",
    "timestamp": "string",
}
_TIMES = ("date", "timestamp")


def build_contract(
    problem: Problem,
    inputs: Mapping[str, str],
    known: Mapping[str, Sequence[str]] | None = None,
    treatment: Treatment | None = None,
) -> dict[str, Any]:
    """Return the contract of a problem's models.

    What the data's contract refuses or quarantines is refused here too: nulls, bounds and `allowed` values.
    What it only warns of was learnt from, and is taken.

    Parameters
    ----------
    inputs : mapping
        Fact columns that a caller sends and their types, see `treated.serving_inputs`.
    known : mapping, optional
        `known_values`: with `serving.unknown: refuse` the only values that are taken.
    treatment : Treatment, optional
        With thresholds a prediction comes with a decision.

    Returns
    -------
    dict
        `inputs` is the schema of one row, `output` that of one prediction, `decision` that of one decision
        or null, `treatment` what treats predictions by group (`kind`, `columns`) or null, `max_rows` the most
        rows of a request. A field that may be null may be left out.
    """
    learnt = known if known is not None and problem.serving.unknown == "refuse" else {}
    times = _time_columns(problem)
    properties = {
        name: _field(problem.fact.columns[name], name in times, learnt.get(name)) for name in sorted(inputs)
    }
    return {
        "problem": problem.name,
        "task": problem.task,
        "inputs": {
            "$schema": _DRAFT,
            "type": "object",
            "properties": properties,
            "required": [name for name, field in properties.items() if not field["nullable"]],
            "additionalProperties": False,
        },
        "output": _output(problem),
        "decision": _decision(problem, treatment),
        "treatment": _treatment(treatment),
        "quantile": problem.stock.quantile if problem.stock else None,
        "unknown": problem.serving.unknown,
        "max_rows": problem.serving.max_rows,
    }


def known_values(problem: Problem, inputs: Mapping[str, str], training: ColumnSet) -> dict[str, list[str]]:
    """Return what training saw, as sorted texts, of each input that is a text, a category or an entity.

    Parameters
    ----------
    training : ColumnSet
        The raw columns of the training rows.
    """
    found = {}
    for name, kind in inputs.items():
        if kind in ("text", "category") or (name in problem.entity and kind not in _TIMES):
            column = as_category(training[name])
            used = np.unique(column.codes[column.codes >= 0])
            found[name] = sorted(column.categories[code] for code in used)
    return found


def declared_values(problem: Problem) -> dict[str, list[str] | None]:
    """Return the values that the problem allows in each column, as texts; None where it has no such rule."""
    columns = problem.fact.columns
    return {
        name: None
        if column.allowed is None or column.severity == "warn"
        else [str(v) for v in column.allowed]
        for name, column in columns.items()
    }


def _time_columns(problem: Problem) -> set[str]:
    """Return the calendar's column and those that it is derived from."""
    found = {problem.time.column} if problem.time else set()
    for name, text in reversed(problem.derived.items()):
        if name in found:
            found |= Expression.parse(text).columns
    return found


def _field(column: Column, of_the_calendar: bool, known: Sequence[str] | None) -> dict[str, Any]:
    kind, strict = _JSON_TYPES[column.type], column.severity != "warn"
    nullable = column.nulls or not strict
    field: dict[str, Any] = {"type": [kind, "null"] if nullable else kind, "nullable": nullable}
    field["kind"] = column.type
    if column.type == "date":
        field["format"] = "date"
    if column.type == "timestamp":
        field["pattern"] = TIME_PATTERN
    # A calendar's bounds are about the past; what is asked for is the future.
    if strict and not (of_the_calendar and column.type in _TIMES):
        field |= _bounds(column)
    allowed = {_text(value) for value in column.allowed} if strict and column.allowed is not None else None
    if known is not None:
        allowed = set(known) if allowed is None else allowed & set(known)
    if allowed is not None:
        field["enum"] = _values(column, allowed) + ([None] if nullable else [])
    if column.description:
        field["description"] = column.description
    return field


def _bounds(column: Column) -> dict[str, Any]:
    ends: dict[str, Any] = {"minimum": column.min, "maximum": column.max}
    ends = {name: value for name, value in ends.items() if value is not None and value != "today"}
    if column.type not in _TIMES:
        return ends
    times = {"format" + name.capitalize(): str(value) for name, value in ends.items()}
    if column.type == "timestamp" and len(times.get("formatMaximum", "")) == len("2017-08-16"):
        times["formatMaximum"] += "T23:59:59"  # until a day is until its end
    return times


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _values(column: Column, texts: set[str]) -> list[Any]:
    """Return texts as the values that a caller sends, sorted."""
    if column.type == "boolean":
        return sorted(text in ("true", "1") for text in texts)
    if column.type == "integer":
        return sorted(int(text) if text.lstrip("-").isdecimal() else int(float(text)) for text in texts)
    if column.type == "number":
        return sorted(map(float, texts))
    return sorted(texts)


def _decision(problem: Problem, treatment: Treatment | None) -> dict[str, Any] | None:
    if treatment is None or treatment.thresholds is None:
        return None
    what = f"1 where {problem.target.column} is called {problem.target.positive}, by {treatment.label}"
    return {"name": "decision", "type": "integer", "minimum": 0, "maximum": 1, "description": what}


def _treatment(treatment: Treatment | None) -> dict[str, Any] | None:
    if treatment is None or not treatment.needs_groups:
        return None
    return {"kind": treatment.kind, "columns": list(treatment.groups.columns)}


def _output(problem: Problem) -> dict[str, Any]:
    if problem.task == "classification":
        what = f"probability that {problem.target.column} is {problem.target.positive}"
        return {"name": "prediction", "type": "number", "minimum": 0, "maximum": 1, "description": what}
    output: dict[str, Any] = {"name": "prediction", "type": "number", "description": problem.target.column}
    return output | ({"minimum": problem.target.min} if problem.target.min is not None else {})
