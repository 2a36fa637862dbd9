"""A bundle as a model of KServe: what was judged, loaded and asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from kserve.errors import InvalidInput
from kserve.model import Model

from cd4ml.errors import UsageError
from cd4ml.features.columns import ColumnSet, as_category
from cd4ml.features.plan import CategoryFeature
from cd4ml.models.runtime import Bundle
from cd4ml.serving.answers import Answer, Unknown, encode_v1, encode_v2, output_datatype
from cd4ml.serving.openapi import read_example
from cd4ml.serving.requests import DATATYPES, Limits, Rows, decode_v1, decode_v2

__all__ = ["BundlePredictor", "Served"]

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
        found = _label("version", version or bundle.id[:_SHORT])
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


def _label(what: str, text: str) -> str:
    """Return a text that goes into headers and metrics, if it can."""
    if not _LABEL.fullmatch(text):
        raise UsageError(
            f"expected a {what} of 1 to 64 letters, digits and . _ : @ + - that begins with one of the first"
            f" two kinds; found {text[:80]!r}"
        )
    return text


class BundlePredictor(Model):  # type: ignore[misc]
    """Serves one bundle under one name.

    Parameters
    ----------
    name : str
        As in `/v1/models/NAME:predict`.
    folder : Path
        The bundle; it is verified here, so that a process with an altered one never becomes ready.
    version : str
        What answers call it; by default the first characters of the bundle's id.
    history : Path or None
        A history table newer than the bundle's own.
    variant : str
        stable, canary, shadow: what answers, metrics and events call this server.
    limits : Limits
        What one request may cost.

    Raises
    ------
    IntegrityError
        If a file of the bundle was altered, naming it.
    UsageError
        If the version or the variant cannot be a header's value.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        version: str = "",
        history: Path | None = None,
        variant: str = "stable",
        limits: Limits | None = None,
    ) -> None:
        super().__init__(name)
        self.limits = limits or Limits()
        self.variant = _label("variant", variant)
        self._served: Served | None = None
        self._source: tuple[Path, str, Path | None] | None = None
        self.swap(folder, version, history)

    def swap(self, folder: Path, version: str = "", history: Path | None = None) -> bool:
        """Take another bundle into service once it is verified and loaded; requests under way keep theirs.

        Returns
        -------
        bool
            False where just that is in service already; nothing is read then.
        """
        source = (folder, version, history)
        if self._served is not None and source == self._source:
            return False
        # In this order: whoever takes a version in between gets one that is whole.
        self._served = Served.load(*source)
        self._source = source
        self.ready = True
        return True

    def release(self) -> None:
        """Let go of what was loaded, in a process that only starts workers; asking for it loads it again."""
        self._served = None

    def __getstate__(self) -> dict[str, Any]:
        # Sessions of ONNX Runtime cannot be pickled: each worker loads, and verifies, its own.
        return {**self.__dict__, "_served": None}

    @property
    def served(self) -> Served:
        """The version that answers now; take it once for a request."""
        served = self._served
        if served is None:
            if self._source is None:
                raise UsageError(f"'{self.name}' has no bundle")
            served = self._served = Served.load(*self._source)
        return served

    def answer(self, rows: Rows, served: Served | None = None) -> Answer:
        """Return the answer for checked rows, by default of the version that answers now."""
        served = served or self.served
        outputs = served.bundle.outputs(rows.columns)
        return Answer(self.name, served.version, outputs, served.unknown(rows.columns))

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Answer what KServe's own data plane decoded; the routes of `cd4ml.serving.routes` do not need it.

        Raises
        ------
        kserve.errors.InvalidInput
            Naming field, found and allowed.
        """
        import orjson
        from kserve import InferRequest, InferResponse

        served = self.served
        try:
            if isinstance(payload, InferRequest):
                body, size = payload.to_rest()
                body = body if isinstance(body, bytes) else orjson.dumps(body)
                rows = decode_v2(body, served.bundle.contract, self.limits, size)
                rows = replace(rows, outputs=None, binary=False)
                answered, _ = encode_v2(self.answer(rows, served), rows, payload.id or "")
                return InferResponse.from_rest(orjson.loads(answered))
            rows = decode_v1(orjson.dumps(payload), served.bundle.contract, self.limits)
            return orjson.loads(encode_v1(self.answer(rows, served)))
        except (ValueError, TypeError) as error:
            raise InvalidInput(str(error)) from None

    def get_input_types(self) -> list[dict[str, Any]]:
        """Return the V2 tensors of a request, one for each field."""
        return self.served.input_types

    def get_output_types(self) -> list[dict[str, Any]]:
        """Return the V2 tensors of an answer."""
        return self.served.output_types

    def metadata(self, served: Served | None = None) -> dict[str, Any]:
        """Return the V2 metadata with the variant, the contract, the bundle's id and the limits."""
        served = served or self.served
        contract = served.bundle.contract
        limits = {"body_bytes": self.limits.body_bytes, "rows": self.limits.most_rows(contract)}
        return {
            "name": self.name,
            "versions": [served.version],
            "variant": self.variant,
            "platform": "cd4ml",
            "inputs": served.input_types,
            "outputs": served.output_types,
            "bundle": served.bundle.id,
            "history": served.bundle.history,
            "limits": limits,
            "contract": contract,
        }
