"""A bundle as a model of KServe: what was judged, loaded and asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from kserve.errors import InvalidInput
from kserve.model import Model

from cd4ml.features.columns import ColumnSet, as_category
from cd4ml.features.plan import CategoryFeature
from cd4ml.models.runtime import Bundle
from cd4ml.serving.answers import Answer, Unknown, encode_v1, encode_v2, output_datatype
from cd4ml.serving.requests import DATATYPES, Limits, Rows, decode_v1, decode_v2

__all__ = ["BundlePredictor", "Served"]

_SHORT = 12
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
    """

    bundle: Bundle
    version: str
    _known: tuple[_Known, ...]

    @classmethod
    def load(cls, folder: Path, version: str = "") -> Served:
        """Verify and load a bundle; raises IntegrityError, naming the file that was altered."""
        bundle = Bundle.load(folder)
        return cls(bundle, version or bundle.id[:_SHORT], tuple(_known(bundle)))

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
    limits : Limits
        What one request may cost.

    Raises
    ------
    IntegrityError
        If a file of the bundle was altered, naming it.
    """

    def __init__(self, name: str, folder: Path, *, version: str = "", limits: Limits | None = None) -> None:
        super().__init__(name)
        self.limits = limits or Limits()
        self.swap(folder, version)

    def swap(self, folder: Path, version: str = "") -> None:
        """Take another bundle into service once it is verified and loaded; requests under way keep theirs."""
        self._served = Served.load(folder, version)
        self._source = (folder, version)
        self.ready = True

    def __getstate__(self) -> dict[str, Any]:
        # Sessions of ONNX Runtime cannot be pickled: each worker loads, and verifies, its own.
        return {name: value for name, value in self.__dict__.items() if name != "_served"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._served = Served.load(*self._source)

    @property
    def served(self) -> Served:
        """The version that answers now; take it once for a request."""
        return self._served

    def answer(self, rows: Rows, served: Served | None = None) -> Answer:
        """Return the answer for checked rows, by default of the version that answers now."""
        served = served or self._served
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

        served = self._served
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
        return self._served.input_types

    def get_output_types(self) -> list[dict[str, Any]]:
        """Return the V2 tensors of an answer."""
        return self._served.output_types

    def metadata(self, served: Served | None = None) -> dict[str, Any]:
        """Return the V2 metadata with the contract, the bundle's id and the limits."""
        served = served or self._served
        contract = served.bundle.contract
        limits = {"body_bytes": self.limits.body_bytes, "rows": self.limits.most_rows(contract)}
        return {
            "name": self.name,
            "versions": [served.version],
            "platform": "cd4ml",
            "inputs": served.input_types,
            "outputs": served.output_types,
            "bundle": served.bundle.id,
            "limits": limits,
            "contract": contract,
        }
