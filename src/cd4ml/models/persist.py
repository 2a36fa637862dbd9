"""A model's files: ONNX, and the estimator as skops: no pickle, and a closed list of types.

skops names its parts after memory addresses and stamps them with the time; running numbers and a fixed date
take their place, so that the same estimator gives the same bytes.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cd4ml.adapters.storage import atomic
from cd4ml.domain.treatment import Coded, Treatment, decide
from cd4ml.errors import IntegrityError
from cd4ml.models.data import FloatArray, Matrix
from cd4ml.models.export import to_onnx
from cd4ml.models.fit import Fitted
from cd4ml.models.search import Refit
from cd4ml.models.treated import TREATMENT, load_treatment

__all__ = ["TRUSTED", "Model", "dump_estimator", "export_model", "load_estimator", "load_model", "save_model"]

TRUSTED = (
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
"""The types beyond skops' own list that a bundle's estimator may hold."""
_SCHEMA = "schema.json"
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)


def dump_estimator(estimator: Any) -> bytes:
    """Return the estimator as skops bytes; the same estimator gives the same bytes."""
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(estimator))) as archive:
        schema = archive.read(_SCHEMA).decode()
        numbers: dict[str, str] = {}
        for found in re.finditer(r'"__id__": (\d+)|"file": "(\d+)\.npy"', schema):
            address = found[1] or found[2]
            numbers.setdefault(address, str(len(numbers) + 1))
        parts = {
            f"{numbers[name.removesuffix('.npy')]}.npy": archive.read(name)
            for name in archive.namelist()
            if name != _SCHEMA
        }
    renumbered = re.sub(r'("__id__": |"file": ")(\d+)', lambda found: found[1] + numbers[found[2]], schema)
    return _zipped(parts, json.dumps(json.loads(renumbered), indent=1, sort_keys=True))


def _zipped(parts: Mapping[str, bytes], schema: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(parts, key=lambda key: int(key.removesuffix(".npy"))):
            archive.writestr(zipfile.ZipInfo(name, _FIXED_DATE), parts[name], zipfile.ZIP_DEFLATED, 6)
        archive.writestr(zipfile.ZipInfo(_SCHEMA, _FIXED_DATE), schema, zipfile.ZIP_DEFLATED, 6)
    return buffer.getvalue()


def load_estimator(path: Path) -> Any:
    """Return the estimator of a skops file.

    Raises
    ------
    IntegrityError
        If the file holds a type that is not on the closed list, or is no skops file.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.io.load(path, trusted=list(TRUSTED))
    except UntrustedTypesFoundException as error:
        line = " ".join(str(error).split())
        raise IntegrityError(f"{path.name} holds types that are not allowed: {line}") from error
    except OSError:
        raise
    except Exception as error:  # bytes that are not skops' own fail in its depths in any way they like
        line = " ".join(str(error).split())
        raise IntegrityError(f"{path.name} is no estimator that can be read: {line}") from error


@dataclass(frozen=True)
class Model:
    """A fitted model and its export, as they lie in a folder.

    Attributes
    ----------
    fitted, quantile : Fitted
        The judged model, and the one of `problem.stock` or None.
    onnx, quantile_onnx : bytes
        Their exports; None without quantile.
    names : tuple of str
        The features.
    repeats : list of {"seed", "score"}
    treatment : Treatment or None
        What is done to its predictions by group; `onnx` is without it.
    """

    fitted: Fitted
    onnx: bytes
    names: tuple[str, ...]
    quantile: Fitted | None = None
    quantile_onnx: bytes | None = None
    repeats: list[dict[str, Any]] = field(default_factory=list)
    treatment: Treatment | None = None

    def judge(self, X: Matrix, columns: Mapping[str, Coded]) -> tuple[FloatArray, FloatArray | None]:
        """Return predictions and decisions as they are served, by the estimator, each of shape (n,).

        Parameters
        ----------
        X : float32 array of shape (n, k)
        columns : mapping
            The groups of the rows, e.g. a dataset's slices; only those of the treatment are looked at.

        Returns
        -------
        predictions : array
        decisions : array or None
            0 or 1 for classification: by the treatment, else from a probability of 0.5 on.
        """
        predictions = self.fitted.predict(X)
        called = self.fitted.task == "classification"
        if self.treatment is None:
            return predictions, decide(predictions) if called else None
        groups = self.treatment.groups.of(columns)
        predictions = self.treatment.recalibrate(predictions, groups)
        return predictions, self.treatment.decide(predictions, groups) if called else None


def export_model(found: Refit, names: Sequence[str], treatment: Treatment | None = None) -> Model:
    """Return a refitted winner with its exports."""
    second = None if found.quantile is None else to_onnx(found.quantile, list(names))
    first = to_onnx(found.fitted, list(names))
    return Model(found.fitted, first, tuple(names), found.quantile, second, found.repeats, treatment)


def save_model(folder: Path, model: Model) -> None:
    """Write a model's files into a folder: model.json, ONNX and skops files, treatment.json if it has one."""
    parts = [("", model.fitted, model.onnx), ("-quantile", model.quantile, model.quantile_onnx)]
    for suffix, fitted, onnx in parts:
        if fitted is not None and onnx is not None:
            atomic.write_bytes(folder / f"model{suffix}.onnx", onnx)
            atomic.write_bytes(folder / f"estimator{suffix}.skops", dump_estimator(fitted.estimator))
    described: dict[str, Any] = {"names": list(model.names), "repeats": model.repeats}
    described["model"] = model.fitted.describe()
    described["quantile"] = None if model.quantile is None else model.quantile.describe()
    atomic.write_json(folder / "model.json", described)
    if model.treatment is not None:
        atomic.write_json(folder / TREATMENT, model.treatment.to_dict())


def load_model(folder: Path) -> Model:
    """Read what `save_model` wrote, or a bundle.

    Raises
    ------
    IntegrityError
        If a file is missing, cannot be read, or holds types that are not on the closed list.
    """
    try:
        described = json.loads((folder / "model.json").read_bytes())
        onnx = (folder / "model.onnx").read_bytes()
        fitted = Fitted(load_estimator(folder / "estimator.skops"), **described["model"])
        quantile = quantile_onnx = None
        if described["quantile"] is not None:
            quantile = Fitted(load_estimator(folder / "estimator-quantile.skops"), **described["quantile"])
            quantile_onnx = (folder / "model-quantile.onnx").read_bytes()
        treatment = load_treatment(folder)
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, IntegrityError):
            raise
        raise IntegrityError(f"the model in '{folder.name}' cannot be read: {error}") from error
    names, repeats = tuple(described["names"]), described["repeats"]
    return Model(fitted, onnx, names, quantile, quantile_onnx, repeats, treatment)
