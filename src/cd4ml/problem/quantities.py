"""Durations, names and the other small types of a problem file."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

__all__ = [
    "DURATION_UNITS",
    "Aggregate",
    "Duration",
    "Model",
    "Name",
    "Names",
    "Scalar",
    "Severity",
    "Statistic",
    "duration_text",
]

DURATION_UNITS = {"w": 604800, "d": 86400, "h": 3600, "min": 60, "s": 1}


def _parse_duration(value: object) -> object:
    if isinstance(value, int | float) and value == 0:
        return timedelta(0)
    if isinstance(value, str):
        found = re.fullmatch(r"(\d+)\s*(w|d|h|min|s)", value.strip())
        if not found:
            raise ValueError(f"expected a duration such as 16d, 24h or 30min; found {value!r}")
        return timedelta(seconds=int(found[1]) * DURATION_UNITS[found[2]])
    return value


def duration_text(value: timedelta) -> str:
    """Return the shortest exact form, e.g. "16d" or "36h"; zero is "0s"."""
    seconds = int(value.total_seconds())
    for unit, size in DURATION_UNITS.items():
        if unit != "w" and seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(_parse_duration),
    PlainSerializer(duration_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+\s*(w|d|h|min|s)$", "examples": ["16d", "24h"]}),
]
Severity = Literal["refuse", "quarantine", "warn"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*([-_][a-z0-9]+)*$")]
Statistic = Literal["mean", "std", "min", "max", "sum", "median", "share_nonzero", "count"]
Aggregate = Literal["mean", "sum"]
Scalar = bool | int | float | str


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_listed)]


class Model(BaseModel):
    """Frozen, and without keys that nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
