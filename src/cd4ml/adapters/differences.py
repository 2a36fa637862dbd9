"""What differs between records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Difference", "differences", "flatten"]


@dataclass(frozen=True)
class Difference:
    """A value that differs: its dotted name, and one value a record (None where it is missing)."""

    name: str
    values: tuple[Any, ...]


def differences(records: Sequence[Mapping[str, Any]], leave_out: Collection[str] = ()) -> list[Difference]:
    """Return what is not the same in all of `records`, sorted by dotted name; none means that all are equal.

    Parameters
    ----------
    records : sequence of mapping
        JSON values, nested as they like.
    leave_out : collection of str
        Dotted names that differ by nature, such as "id".
    """
    flat = [flatten(record) for record in records]
    names = sorted({name for record in flat for name in record} - set(leave_out))
    rows = [Difference(name, tuple(record.get(name) for record in flat)) for name in names]
    return [row for row in rows if any(value != row.values[0] for value in row.values)]


def flatten(value: Any, name: str = "") -> dict[str, Any]:
    """Return nested mappings as one with dotted names; an empty mapping has none."""
    if not isinstance(value, Mapping):
        return {name: value}
    start = f"{name}." if name else ""
    return {
        full: leaf for key, inner in value.items() for full, leaf in flatten(inner, f"{start}{key}").items()
    }
