"""Two contracts against each other: does data that kept the one keep the other?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cd4ml.problem import Column, Problem

__all__ = ["ContractChange", "contract_changes", "contract_of"]

# Values of the first type can be read as the second; texts can hold everything.
_READ_AS = {("integer", "number"), ("date", "timestamp")}
_TEXTS = ("text", "category")


@dataclass(frozen=True)
class ContractChange:
    """One difference between two contracts.

    Parameters
    ----------
    table, column : str
        Where; the column is "" for a whole table.
    change : str
        What differs: "added", "removed", "type", "nulls", "min", "max" or "allowed".
    old, new
        The two values; None where there is none.
    backward : bool
        Data that kept the old contract keeps the new one: what is built on the new one reads old data.
    forward : bool
        Data that keeps the new contract keeps the old one: what was built on the old one reads new data.
    """

    table: str
    column: str
    change: str
    old: Any
    new: Any
    backward: bool
    forward: bool


def contract_of(problem: Problem) -> dict[str, dict[str, Any]]:
    """Return what a problem's contract asks of each table, as manifests keep it."""
    return {
        name: {
            "optional": table.optional,
            "columns": [_entry(column, declared) for column, declared in table.columns.items()],
        }
        for name, table in problem.tables.items()
    }


def _entry(name: str, column: Column) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "type": column.type, "nulls": column.nulls}
    rules = {"min": column.min, "max": column.max, "allowed": column.allowed}
    return found | {rule: limit for rule, limit in rules.items() if limit is not None}


def contract_changes(
    old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]
) -> list[ContractChange]:
    """Return how two contracts differ; none means that the same data keep both.

    Parameters
    ----------
    old, new : mapping
        Table -> {"optional", "columns": [{"name", "type", "nulls", ...}]}: the "tables" of a manifest, or
        `contract_of` a problem.
    """
    found: list[ContractChange] = []
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            found.append(ContractChange(name, "", "removed", "table", None, True, old[name]["optional"]))
        elif name not in old:
            found.append(ContractChange(name, "", "added", None, "table", new[name]["optional"], True))
        else:
            found += _table_changes(name, _by_name(old[name]), _by_name(new[name]))
    return found


def _by_name(table: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {column["name"]: column for column in table["columns"]}


def _table_changes(
    table: str, old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]
) -> Iterator[ContractChange]:
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            yield ContractChange(table, name, "removed", old[name]["type"], None, True, False)
        elif name not in old:
            yield ContractChange(table, name, "added", None, new[name]["type"], False, True)
        else:
            yield from _column_changes(table, name, old[name], new[name])


def _column_changes(
    table: str, column: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[ContractChange]:
    for key, admits in _TESTS.items():
        a, b = old.get(key), new.get(key)
        if a != b:
            yield ContractChange(table, column, key, a, b, admits(b, a), admits(a, b))


def _reads(wide: str, narrow: str) -> bool:
    """Tell whether values of the type `narrow` can be read as `wide`."""
    return wide in _TEXTS or (narrow, wide) in _READ_AS


def _admits_nulls(wide: bool, narrow: bool) -> bool:
    return wide or not narrow


def _lower(wide: Any, narrow: Any) -> bool:
    """Tell whether the lower bound `wide` admits all that `narrow` admits."""
    return wide is None or (_comparable(wide, narrow) and wide <= narrow)


def _higher(wide: Any, narrow: Any) -> bool:
    return wide is None or (_comparable(wide, narrow) and wide >= narrow)


def _comparable(a: Any, b: Any) -> bool:
    """Tell whether two bounds have an order: two numbers, or two dates; `today` moves and has none."""
    numbers = all(isinstance(value, int | float) for value in (a, b))
    return numbers or (all(isinstance(value, str) for value in (a, b)) and "today" not in (a, b))


def _includes(wide: Any, narrow: Any) -> bool:
    return wide is None or (narrow is not None and set(narrow) <= set(wide))


_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "type": _reads,
    "nulls": _admits_nulls,
    "min": _lower,
    "max": _higher,
    "allowed": _includes,
}
"""For each rule of a column: does the first value admit all that the second one admits?"""
