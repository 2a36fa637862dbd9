"""What contributions need, as one file of a bundle: a server explains its predictions without scikit-learn.

`model.onnx` is not enough: it does not say how many training rows went each way.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cd4ml.errors import IntegrityError
from cd4ml.models.data import FloatArray, Matrix
from cd4ml.models.explain.contributions import Contributions, raw_scale
from cd4ml.models.explain.tree_shap import shapley_values
from cd4ml.models.explain.trees import Ensemble, Tree, ensemble_of
from cd4ml.models.fit import LARGEST, Fitted

__all__ = ["CONTRIBUTIONS", "StoredModel", "dump_model", "load_stored"]

CONTRIBUTIONS = "contributions.npz"
"""The file's name in a bundle."""
_VERSION = 1
_MOST_NODES = 2_000_000
_ABOUT, _STARTS = "about", "starts"
_NODES = ("feature", "threshold", "missing_left", "left", "right", "value", "cover")
_SMALL = {"feature": np.int32, "left": np.int32, "right": np.int32}
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class StoredModel:
    """A model as its contributions need it.

    Attributes
    ----------
    scale : str
        On which contributions add up, see `contributions.raw_scale`.
    ensemble : Ensemble or None
        Its trees; None for a linear model.
    linear : mapping
        `medians`, `means`, `spreads`, `coefficients`, each of shape (k,), and `intercept` (1,) of a linear
        model.
    """

    scale: str
    loss: str
    transform: str
    minimum: float | None
    ensemble: Ensemble | None
    linear: Arrays

    def contribute(self, X: Matrix) -> Contributions:
        """Return the contributions of float32 features (n, k), see `contributions.contribute`."""
        if self.ensemble is not None:
            return Contributions(*shapley_values(self.ensemble, X))
        filled = np.where(np.isnan(X), self.linear["medians"], X.astype(np.float64))
        inputs = (filled - self.linear["means"]) / self.linear["spreads"]
        return Contributions(float(self.linear["intercept"][0]), inputs * self.linear["coefficients"])

    def predict(self, raw: FloatArray) -> FloatArray:
        """Return predictions on the target's scale, or probabilities, for raw ones."""
        if self.scale in ("log-odds", "probability"):
            return raw if self.scale == "probability" else 1 / (1 + np.exp(-raw))
        with np.errstate(over="ignore"):
            found = np.exp(raw) if self.loss == "poisson" else raw
            found = np.expm1(found) if self.transform == "log1p" else found
        return np.clip(found, -LARGEST if self.minimum is None else self.minimum, LARGEST)


def dump_model(fitted: Fitted) -> bytes | None:
    """Return the file of a model; the same model gives the same bytes.

    None for a family without exact contributions, or a forest so large that nobody would wait for them.
    """
    arrays = _arrays(fitted)
    if arrays is None:
        return None
    about = {
        "version": _VERSION,
        "scale": raw_scale(fitted),
        "loss": fitted.loss,
        "transform": fitted.transform,
        "minimum": fitted.minimum,
    }
    text = json.dumps(about, sort_keys=True).encode()
    buffer = io.BytesIO()
    whole: dict[str, Any] = {_ABOUT: np.frombuffer(text, dtype=np.uint8), **arrays}
    np.savez_compressed(buffer, **whole)
    return buffer.getvalue()


def _arrays(fitted: Fitted) -> dict[str, NDArray[Any]] | None:
    ensemble = ensemble_of(fitted)
    if ensemble is not None:
        sizes = [len(tree.feature) for tree in ensemble.trees]
        if not sizes or sum(sizes) > _MOST_NODES:
            return None
        found: dict[str, NDArray[Any]] = {"start": np.array([ensemble.start])}
        found[_STARTS] = np.cumsum([0, *sizes])
        for name in _NODES:
            joined = np.concatenate([getattr(tree, name) for tree in ensemble.trees])
            found[name] = joined.astype(_SMALL.get(name, joined.dtype))
        if ensemble.medians is not None:
            found["medians"] = np.asarray(ensemble.medians, dtype=np.float64)
        return found
    steps = getattr(fitted.estimator, "named_steps", {})
    if "scale" not in steps:
        return None
    model, scale = steps["model"], steps["scale"]
    return {
        "medians": np.asarray(steps["impute"].statistics_, dtype=np.float64),
        "means": np.asarray(scale.mean_, dtype=np.float64),
        "spreads": np.asarray(scale.scale_, dtype=np.float64),
        "coefficients": np.ravel(model.coef_).astype(np.float64),
        "intercept": np.ravel(model.intercept_)[:1].astype(np.float64),
    }


def load_stored(data: bytes) -> StoredModel:
    """Read what `dump_model` made.

    Raises
    ------
    IntegrityError
        If the bytes are not of it.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays.pop(_ABOUT).tobytes())
        if about.pop("version") != _VERSION:
            raise ValueError("it is of another version")
        ensemble = _ensemble(arrays) if _STARTS in arrays else None
        return StoredModel(**about, ensemble=ensemble, linear={} if ensemble else arrays)
    except Exception as error:  # a zip file fails in many ways
        line = " ".join(str(error).split())[:200]
        raise IntegrityError(f"{CONTRIBUTIONS} cannot be read: {line}") from error


def _ensemble(arrays: Arrays) -> Ensemble:
    starts = arrays[_STARTS].tolist()
    trees = []
    for first, end in pairwise(starts):
        part = {name: arrays[name][first:end] for name in _NODES}
        whole = {name: part[name].astype(np.int64) for name in _SMALL}
        trees.append(Tree(**{**part, **whole}))
    return Ensemble(tuple(trees), float(arrays["start"][0]), arrays.get("medians"))
