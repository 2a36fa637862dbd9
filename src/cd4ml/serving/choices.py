"""Values that a model knows of a field, so that people can choose among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cd4ml.features.columns import CategoryArray, ColumnLike, texts
from cd4ml.features.layout import JoinTable
from cd4ml.features.plan import CategoryFeature
from cd4ml.models.runtime import Bundle

__all__ = ["Choice", "Choices"]

_MOST_ABOUT = 2
_TIMES = ("date", "timestamp")


@dataclass(frozen=True)
class Choice:
    """A value and a few words about it; "" where there is nothing to say."""

    value: Any
    about: str = ""


class Choices:
    """The values that a bundle knows: of its contract, of its history, and of its categories."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    @cached_property
    def fields(self) -> dict[str, tuple[Choice, ...]]:
        """Known values by field, in ascending order; fields of which nothing is known are left out."""
        found: dict[str, tuple[Choice, ...]] = {}
        for name, field in self.bundle.inputs.items():
            values = None if field["kind"] in (*_TIMES, "boolean") else _values(self.bundle, name)
            if values:
                words = _about(self.bundle, name, values)
                found[name] = tuple(Choice(*pair) for pair in zip(values, words, strict=True))
        return found

    def find(self, field: str, contains: str = "", most: int = 20) -> tuple[list[Choice], int]:
        """Return the first choices that contain a text, those that begin with it first, and how many do."""
        wanted = contains.strip().casefold()
        known = self.fields.get(field, ())
        if not wanted:
            return list(known[:most]), len(known)
        begin = [one for one in known if str(one.value).casefold().startswith(wanted)]
        first = {id(one) for one in begin}
        rest = [
            one for one in known if id(one) not in first and wanted in f"{one.value} {one.about}".casefold()
        ]
        return [*begin, *rest][:most], len(begin) + len(rest)


def _values(bundle: Bundle, name: str) -> list[Any]:
    """Return the values of a field, in ascending order; none where nobody knows."""
    field = bundle.inputs[name]
    if "enum" in field:
        return [value for value in field["enum"] if value is not None]
    for by, group in bundle.state.groups.items():
        if name in by:
            part = group.index.parts[by.index(name)]
            return list(part) if isinstance(part, tuple) else part.tolist()
    for feature in bundle.plan.features:
        if isinstance(feature, CategoryFeature) and feature.column == name:
            known = bundle.state.vocabularies[feature.name].texts
            if field["kind"] in ("text", "category"):
                return sorted(known)
            return sorted(float(text) if field["kind"] == "number" else int(float(text)) for text in known)
    return []


def _about(bundle: Bundle, name: str, values: Sequence[Any]) -> list[str]:
    """Return what the tables that are joined by this field alone say of each value."""
    said: list[list[str]] = [[] for _ in values]
    column = _column(values)
    for operation in bundle.plan.layout.operations:
        if not isinstance(operation, JoinTable) or [fact for fact, _ in operation.keys] != [name]:
            continue
        lookup = bundle.state.lookups[operation.index]
        rows = lookup.index.positions([column], len(values), {})
        for found in lookup.columns.values():
            if isinstance(found, CategoryArray):
                named = texts(CategoryArray(found.codes[rows], found.categories))
                for place, text in enumerate(named):
                    if text is not None and len(said[place]) < _MOST_ABOUT and text not in said[place]:
                        said[place].append(text)
    return [", ".join(words) for words in said]


def _column(values: Sequence[Any]) -> ColumnLike:
    if all(isinstance(value, str) for value in values):
        return CategoryArray(np.arange(len(values), dtype=np.int32), tuple(values))
    return np.array(values)
