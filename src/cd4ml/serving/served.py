"""One version of a model in service, whatever server it answers through."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cd4ml.errors import UsageError
from cd4ml.features.columns import ColumnSet, as_category
from cd4ml.features.plan import CategoryFeature
from cd4ml.models.runtime import Bundle
from cd4ml.serving.answers import Unknown, output_datatype
from cd4ml.serving.openapi import read_example
from cd4ml.serving.requests import DATATYPES

__all__ = ["Served", "label"]

_SHORT = 12
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,63}")
RARE, NO_HISTORY = "a rare category", "one without history"


@dataclass(frozen=True)
class _Known:
    field: str
    texts: frozenset[str]
    otherwise: str


@dataclass(frozen=True)
class Served:
    """One version of a model in service.

    Attributes
    ----------
    version : str
        As it was named, or the first characters of the bundle's id.
    example : mapping or None
        A row of the holdout.
    """

    bundle: Bundle
    version: str
    _known: tuple[_Known, ...]
    example: Mapping[str, Any] | None = None

    @classmethod
    def load(cls, folder: Path, version: str = "", history: Path | None = None) -> Served:
        """Verify and load a bundle, with a history table newer than its own where there is one.

        Raises
        ------
        IntegrityError
            If a file was altered, naming it, or the history belongs to another bundle.
        UsageError
            If the version cannot be a header's value.
        """
        bundle = Bundle.load(folder)
        if history is not None:
            from cd4ml.models.history import load_history

            bundle = load_history(history, bundle)
        found = label("version", version or bundle.id[:_SHORT])
        return cls(bundle, found, tuple(_known(bundle)), read_example(folder))

    @property
    def input_types(self) -> list[dict[str, Any]]:
        """V2 metadata of the tensors of a request, one for each field."""
        return [
            {"name": name, "datatype": DATATYPES[field["kind"]][0], "shape": [-1]}
            for name, field in self.bundle.inputs.items()
        ]

    @property
    def output_types(self) -> list[dict[str, Any]]:
        """V2 metadata of the tensors of an answer."""
        decides = bool(self.bundle.contract.get("decision"))
        more = {"quantile": self.bundle.quantile is not None, "decision": decides}
        names = ["prediction", *(name for name, present in more.items() if present)]
        return [{"name": name, "datatype": output_datatype(name), "shape": [-1]} for name in names]

    def unknown(self, columns: ColumnSet) -> tuple[Unknown, ...]:
        """Return the values that training did not see or that are too rare to be told apart."""
        found: dict[str, Unknown] = {}
        for known in self._known:
            column = as_category(columns[known.field])
            strange = [code for code, text in enumerate(column.categories) if text not in known.texts]
            rows = np.flatnonzero(np.isin(column.codes, strange)) if strange else np.empty(0, dtype=np.int64)
            if not len(rows):
                continue
            values = {column.categories[code] for code in strange}
            new = Unknown(known.field, tuple(sorted(values)), tuple(rows.tolist()), known.otherwise)
            found[known.field] = _joined(found.get(known.field), new)
        return tuple(found.values())


def _joined(old: Unknown | None, new: Unknown) -> Unknown:
    if old is None or old.treated_as == new.treated_as:
        return new
    return replace(
        new,
        values=tuple(sorted({*old.values, *new.values})),
        rows=tuple(sorted({*old.rows, *new.rows})),
        treated_as=f"{old.treated_as}, {new.treated_as}",
    )


def _known(bundle: Bundle) -> list[_Known]:
    """Return what training saw of each field that a caller sends: as a category, and in a history."""
    found = [
        _Known(feature.column, frozenset(bundle.state.vocabularies[feature.name].texts), RARE)
        for feature in bundle.plan.features
        if isinstance(feature, CategoryFeature) and feature.column in bundle.inputs
    ]
    seen: dict[str, _Known] = {}
    for by, group in bundle.state.groups.items():
        for field, part in zip(by, group.index.parts, strict=True):
            if field in bundle.inputs and bundle.inputs[field]["kind"] not in ("date", "timestamp"):
                texts = part if isinstance(part, tuple) else map(str, part.tolist())
                seen.setdefault(field, _Known(field, frozenset(texts), NO_HISTORY))
    return [*found, *seen.values()]


def label(what: str, text: str) -> str:
    """Return a text that goes into headers and metrics, if it can.

    Raises
    ------
    UsageError
        If it cannot.
    """
    if not _LABEL.fullmatch(text):
        raise UsageError(
            f"expected a {what} of 1 to 64 letters, digits and . _ : @ + - that begins with one of the first"
            f" two kinds; found {text[:80]!r}"
        )
    return text
