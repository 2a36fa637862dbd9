"""Does the exported model predict what the estimator predicts?

An average over a sample does not show a wrong export: a double threshold cut to float32 hurts only the rows
that lie on it. So parity is judged on the whole holdout and on rows made for the purpose: holdout rows of
which one feature is set to a split value, to its neighbours above and below, to no value at all, and beyond
all values seen, which is where codes of unseen categories lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cd4ml.domain.treatment import Treatment
from cd4ml.errors import DataError
from cd4ml.models.data import FloatArray, IntArray, Matrix
from cd4ml.models.fit import Fitted
from cd4ml.models.session import open_session, run
from cd4ml.models.thresholds import split_values

__all__ = [
    "BASE_ROWS",
    "MAX_PROBES",
    "Parity",
    "Probes",
    "check_parity",
    "probe_rows",
    "treatment_differences",
]

MAX_PROBES = 200_000
"""Most rows at split values; beyond it they are sampled with the seed."""
BASE_ROWS = 4
"""Holdout rows in which a value is tried: not every row reaches the node that splits there."""
_BLOCK_ROWS = 100_000


@dataclass(frozen=True)
class Parity:
    """How far the exported model is from the estimator; 0 means equal.

    Attributes
    ----------
    max_abs : float
        Largest absolute difference.
    max_rel : float
        Largest difference relative to max(1, |prediction|): what the gate looks at.
    rows : int
        Rows compared.
    probes : int
        How many of them were made at split values.
    sampled : bool
        There were more split values than MAX_PROBES rows.
    worst : dict
        `kind` ("holdout" or "probe"), `row` (of the holdout), `feature` and `value` (of a probe),
        `estimator`, `onnx`.
    """

    max_abs: float
    max_rel: float
    rows: int
    probes: int
    sampled: bool
    worst: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Probes:
    """Rows to be made: holdout row `base` with `feature` set to `value`; arrays of shape (probes,)."""

    base: Any
    feature: Any
    value: Any

    def matrix(self, X: Matrix, start: int, stop: int) -> Matrix:
        """Return the rows from `start` to `stop`, float32 of shape (rows, k)."""
        made: Matrix = X[self.base[start:stop]]
        made[np.arange(len(made)), self.feature[start:stop]] = self.value[start:stop]
        return made


def probe_rows(
    fitted: Fitted,
    X: Matrix,
    seed: int = 0,
    max_probes: int = MAX_PROBES,
) -> tuple[Probes, bool]:
    """Return what rows are made of a holdout matrix, and whether split values had to be sampled.

    Parameters
    ----------
    X : float32 array of shape (n, k)
        Not empty; each split value is put into up to BASE_ROWS rows of it, drawn with the seed.
    max_probes : int
        Most rows at split values; the few at odd values come on top.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    features, values = [], []
    for index, splits in enumerate(split_values(fitted.estimator, X.shape[1])):
        near = [splits, np.nextafter(splits, np.float32(np.inf)), np.nextafter(splits, np.float32(-np.inf))]
        values.append(np.unique(np.concatenate(near)))
        features.append(np.full(len(values[-1]), index))
    feature, value = np.concatenate(features), np.concatenate(values)
    sampled = len(value) > max_probes
    if sampled:
        kept = np.sort(rng.permutation(len(value))[:max_probes])
        feature, value = feature[kept], value[kept]
    bases = min(BASE_ROWS, max(1, max_probes // max(1, len(value))))
    odd_feature, odd_value = _odd_values(X)
    feature = np.concatenate([np.repeat(feature, bases), np.repeat(odd_feature, BASE_ROWS)])
    value = np.concatenate([np.repeat(value, bases), np.repeat(odd_value, BASE_ROWS)])
    return Probes(rng.integers(len(X), size=len(value)), feature, value.astype(np.float32)), sampled


def _odd_values(X: Matrix) -> tuple[Any, Any]:
    """Return feature and value of probes at no value, 0, -1 and beyond both ends of what was seen."""
    features, values = [], []
    for index in range(X.shape[1]):
        seen = X[:, index][np.isfinite(X[:, index])]
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
        odd = [np.nan, 0.0, -1.0, low - 1, high + 1, high + 256]
        values += odd
        features += [index] * len(odd)
    return np.array(features, dtype=np.int64), np.array(values, dtype=np.float32)


def _blocks(X: Matrix, probes: Probes) -> Iterator[tuple[str, int, Matrix]]:
    for start in range(0, len(X), _BLOCK_ROWS):
        yield "holdout", start, np.ascontiguousarray(X[start : start + _BLOCK_ROWS])
    for start in range(0, len(probes.base), _BLOCK_ROWS):
        yield "probe", start, np.ascontiguousarray(probes.matrix(X, start, start + _BLOCK_ROWS))


def check_parity(
    fitted: Fitted,
    onnx: bytes,
    X_holdout: Matrix,
    *,
    seed: int = 0,
    max_probes: int = MAX_PROBES,
    threads: int = 1,
) -> Parity:
    """Compare an exported model with its estimator.

    Parameters
    ----------
    onnx : bytes
        What `to_onnx` returned.
    X_holdout : float32 array of shape (n, k)
        All holdout rows.

    Raises
    ------
    DataError
        If there are no holdout rows.
    """
    if not len(X_holdout):
        raise DataError("parity needs holdout rows; found none")
    session = open_session(onnx, threads)
    probes, sampled = probe_rows(fitted, X_holdout, seed, max_probes)
    max_abs = max_rel = -1.0
    worst: dict[str, Any] = {}
    for kind, start, block in _blocks(X_holdout, probes):
        expected, found = fitted.predict(block), run(session, block)
        absolute, relative = _differences(expected, found)
        max_abs = max(max_abs, float(absolute.max()))
        place = int(relative.argmax())
        if relative[place] > max_rel:
            max_rel = float(relative[place])
            row = start + place
            worst = {
                "kind": kind,
                "row": row,
                "estimator": float(expected[place]),
                "onnx": float(found[place]),
            }
            if kind == "probe":
                value = float(probes.value[row])
                worst |= {"row": int(probes.base[row]), "feature": int(probes.feature[row])}
                worst["value"] = None if np.isnan(value) else value
    count = len(probes.base)
    return Parity(max_abs, max_rel, len(X_holdout) + count, count, sampled, worst)


def treatment_differences(
    fitted: Fitted,
    onnx: bytes,
    X: Matrix,
    treatment: Treatment,
    groups: IntArray,
    tolerance: float,
    threads: int = 1,
) -> list[str]:
    """Return a sentence for each way in which treated predictions of export and estimator differ.

    A steep recalibration curve makes a small difference large, and a threshold makes it a decision. Decisions
    may differ for predictions that are within the tolerance of their threshold.

    Parameters
    ----------
    X : float32 array of shape (n, k)
    groups : int64 array of shape (n,)
        By the treatment.
    tolerance : float
        Largest difference relative to max(1, |prediction|).
    """
    expected = treatment.recalibrate(fitted.predict(X), groups)
    found = treatment.recalibrate(run(open_session(onnx, threads), X), groups)
    absolute, relative = _differences(expected, found)
    breaches = []
    if (far := int((relative > tolerance).sum())) > 0:
        breaches.append(
            f"{far} of {len(X)} predictions of the export are off by more than {tolerance:g} after"
            f" {treatment.label}, up to {absolute.max():.3g}"
        )
    if treatment.thresholds is not None:
        clear = np.abs(expected - np.asarray(treatment.thresholds)[groups]) > tolerance
        turned = clear & (treatment.decide(expected, groups) != treatment.decide(found, groups))
        if turned.any():
            breaches.append(
                f"{int(turned.sum())} of {len(X)} decisions of the export are not those of the estimator"
            )
    return breaches


def _differences(expected: FloatArray, found: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return absolute and relative differences; two infinities of one sign, or two NaN, are equal."""
    with np.errstate(invalid="ignore"):
        absolute = np.abs(expected - found)
        relative = absolute / np.maximum(1.0, np.abs(expected))
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    broken = ~np.isfinite(relative) & ~same
    return (
        np.where(same, 0.0, np.where(broken, np.finfo(np.float64).max, absolute)),
        np.where(same, 0.0, np.where(broken, np.finfo(np.float64).max, relative)),
    )
