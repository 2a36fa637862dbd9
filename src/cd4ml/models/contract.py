"""The contract of a bundle: what a caller sends and what comes back, as JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cd4ml.problem import Column, Problem

__all__ = ["build_contract"]

_JSON_TYPES = {
    "integer": "integer",
    "number": "number",
    "text": "string",
    "category": "string",
    "boolean": "boolean",
    "date": "string",
    "timestamp": "string",
}
_FORMATS = {"date": "date", "timestamp": "date-time"}


def build_contract(
    problem: Problem, inputs: Mapping[str, str], known: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Return the contract of a problem's models.

    Parameters
    ----------
    inputs : mapping
        Fact columns that a caller sends and their types, `Plan.inputs`.
    known : mapping, optional
        Values that training saw, as texts, for columns whose others are refused (`serving.unknown: refuse`).

    Returns
    -------
    dict
        `inputs` is the schema of one row, `output` that of one prediction, `max_rows` the most rows of a
        request. A field that may be null may be left out.
    """
    known = known if known is not None and problem.serving.unknown == "refuse" else {}
    properties = {
        name: _field(problem, name, problem.fact.columns[name], known.get(name)) for name in sorted(inputs)
    }
    return {
        "problem": problem.name,
        "task": problem.task,
        "inputs": {
            "type": "object",
            "properties": properties,
            "required": [name for name, field in properties.items() if not field["nullable"]],
            "additionalProperties": False,
        },
        "output": _output(problem),
        "quantile": problem.stock.quantile if problem.stock else None,
        "unknown": problem.serving.unknown,
        "max_rows": problem.serving.max_rows,
    }


def _field(problem: Problem, name: str, column: Column, known: Sequence[str] | None) -> dict[str, Any]:
    kind = _JSON_TYPES[column.type]
    field: dict[str, Any] = {"type": [kind, "null"] if column.nulls else kind, "nullable": column.nulls}
    field["kind"] = column.type
    if column.type in _FORMATS:
        field["format"] = _FORMATS[column.type]
    # Bounds of the time column are about the past; what is asked for is the future.
    if problem.time is None or name != problem.time.column:
        bounds = {"minimum": column.min, "maximum": column.max}
        field |= {key: value for key, value in bounds.items() if value is not None and value != "today"}
    if known is not None:
        whole = column.type == "integer"
        field["enum"] = sorted(int(value) if whole else value for value in known)
    if column.description:
        field["description"] = column.description
    return field


def _output(problem: Problem) -> dict[str, Any]:
    if problem.task == "classification":
        what = f"probability that {problem.target.column} is {problem.target.positive}"
        return {"name": "prediction", "type": "number", "minimum": 0, "maximum": 1, "description": what}
    output: dict[str, Any] = {"name": "prediction", "type": "number", "description": problem.target.column}
    return output | ({"minimum": problem.target.min} if problem.target.min is not None else {})
