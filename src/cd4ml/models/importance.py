"""Which features the model relies on: permutation importance through ONNX Runtime.

References
----------
.. [1] Breiman, 2001, Random Forests, section 10.
.. [2] Fisher, Rudin, Dominici, 2019, All Models are Wrong, but Many are Useful, JMLR 20(177).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cd4ml.domain.halving import nested_sample
from cd4ml.domain.hashing import uniform_hash
from cd4ml.domain.metrics import METRICS, improvement
from cd4ml.errors import MetricError
from cd4ml.features.columns import CategoryArray
from cd4ml.models.data import HOLDOUT, Dataset, FloatArray, Matrix, rows_of
from cd4ml.models.search import primary_score
from cd4ml.models.session import open_session, run
from cd4ml.models.threads import fitting_threads
from cd4ml.problem import Problem

__all__ = ["MAX_ROWS", "importance_by_slice", "permutation_importance"]

MAX_ROWS = 20_000
_RESAMPLES = 200
_LEAST_ROWS = 100
_MOST_SLICES = 8
_JOINED = 256


def permutation_importance(
    problem: Problem,
    onnx: bytes,
    dataset: Dataset,
    *,
    repeats: int = 3,
    seed: int = 0,
    threads: int = 1,
    progress: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """Return how much worse the primary metric becomes when a feature is shuffled.

    Parameters
    ----------
    dataset : Dataset
        MAX_ROWS of its holdout rows, drawn by seed, are used.
    repeats : int
        How often each feature is shuffled; the mean over shuffles is shown.

    Returns
    -------
    list of {"feature", "increase", "low", "high"}
        By falling increase. 0.1 means that the distance of the metric from its ideal value grows by a tenth,
        0 that the feature does not matter (or that another says the same). The interval is over clusters.
        Empty for a model without error, of which no growth can be told.
    """
    held = rows_of(dataset, HOLDOUT)
    rows = held[nested_sample(len(held), min(len(held), MAX_ROWS), seed)]
    X = np.ascontiguousarray(dataset.X[rows])
    y, weight = (np.tile(values[rows], repeats) for values in (dataset.y, dataset.weight))
    cluster = np.tile(dataset.cluster[rows], repeats)
    session = open_session(onnx, threads)
    predicted = run(session, X)
    if primary_score(problem, dataset, rows, predicted) == METRICS[problem.metrics.primary].best:
        return []
    reference = np.tile(predicted, repeats)
    rng = np.random.Generator(np.random.PCG64(seed))
    orders = [rng.permutation(len(rows)) for _ in range(repeats)]
    found = []
    for index, name in enumerate(dataset.names):
        shuffled = _shuffled(session, X, index, orders)
        with fitting_threads(1):  # many small products: more BLAS threads wait for each other
            entry = _growth(problem, name, y, shuffled, reference, weight, cluster, seed)
        found.append(entry)
        if progress:
            progress(f"importance of {name}: {entry['increase']:+.3f}")
    return sorted(found, key=lambda entry: (-entry["increase"], entry["feature"]))


def importance_by_slice(
    problem: Problem,
    onnx: bytes,
    dataset: Dataset,
    slices: Mapping[str, CategoryArray],
    features: Sequence[str],
    *,
    max_rows: int = MAX_ROWS,
    seed: int = 0,
    threads: int = 1,
) -> dict[str, list[dict[str, Any]]]:
    """Return how much worse the primary metric becomes within each slice when a feature is shuffled.

    A value is drawn from all rows and not from the slice, so that the column of the slice itself counts too.

    Parameters
    ----------
    slices : mapping
        Column -> groups of all rows of the dataset.
    features : sequence of str
        Those that are shuffled, once each.

    Returns
    -------
    dict
        Column -> [{"slice", "n", "clusters", "importances": as by `permutation_importance`}], the largest
        slice first, up to 8; without importances below 100 rows, or where the metric has no value.
    """
    held = rows_of(dataset, HOLDOUT)
    rows = held[nested_sample(len(held), min(len(held), max_rows), seed)]
    X = np.ascontiguousarray(dataset.X[rows])
    y, weight, cluster = dataset.y[rows], dataset.weight[rows], dataset.cluster[rows]
    coarse = _joined(cluster, seed)
    session = open_session(onnx, threads)
    reference = run(session, X)
    orders = [np.random.Generator(np.random.PCG64(seed)).permutation(len(rows))]
    places = {name: index for index, name in enumerate(dataset.names)}
    shuffled = {name: _shuffled(session, X, places[name], orders) for name in features}
    found: dict[str, list[dict[str, Any]]] = {}
    for column, groups in sorted(slices.items()):
        codes = np.asarray(groups.codes)[rows]
        sizes = np.bincount(codes[codes >= 0], minlength=len(groups.categories))
        found[column] = []
        for code in np.argsort(-sizes, kind="stable")[:_MOST_SLICES]:
            inside = codes == code
            if not sizes[code]:
                continue
            entry = {"slice": groups.categories[code], "n": int(sizes[code])}
            entry |= {"clusters": int(np.unique(cluster[inside]).size), "importances": []}
            if sizes[code] >= _LEAST_ROWS:
                given = (y[inside], reference[inside], weight[inside], coarse[inside])
                inner = {name: values[inside] for name, values in shuffled.items()}
                entry["importances"] = _growths(problem, inner, *given, seed)
            found[column].append(entry)
    return found


def _joined(cluster: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """Join clusters at random where they are many: independent ones stay so, at an eighth of the cost.

    The width of an interval then has a noise of 1 / sqrt(2 * 256), 4 %.
    """
    codes = np.unique(cluster, return_inverse=True)[1].reshape(-1).astype(np.int64)
    if codes.max(initial=0) < _JOINED:
        return codes
    return np.floor(uniform_hash(codes, seed + 1) * _JOINED).astype(np.int64)


def _growths(
    problem: Problem,
    shuffled: Mapping[str, FloatArray],
    y: FloatArray,
    reference: FloatArray,
    weight: FloatArray,
    cluster: npt.NDArray[np.int64],
    seed: int,
) -> list[dict[str, Any]]:
    """Return the growth for each feature, the largest first; empty where the metric has no value."""
    try:
        found = [
            _growth(problem, name, y, values, reference, weight, cluster, seed)
            for name, values in shuffled.items()
        ]
    except MetricError:  # one class alone, nothing sold, or no error to grow
        return []
    return sorted(found, key=lambda entry: (-entry["increase"], entry["feature"]))


def _growth(
    problem: Problem,
    name: str,
    y: FloatArray,
    shuffled: FloatArray,
    reference: FloatArray,
    weight: FloatArray,
    cluster: npt.NDArray[np.int64],
    seed: int,
) -> dict[str, Any]:
    """Return by what share the metric moves away from its ideal value with one feature shuffled."""
    gain = improvement(
        problem.metrics.primary,
        y,
        shuffled,
        reference,
        weight=weight,
        cluster=cluster,
        quantile=problem.stock.quantile if problem.stock else None,
        resamples=_RESAMPLES,
        level=problem.metrics.level,
        seed=seed,
    )
    low, high = (None if end is None else -end for end in (gain.high, gain.low))
    return {"feature": name, "increase": -gain.estimate, "low": low, "high": high}


def _shuffled(session: Any, X: Matrix, index: int, orders: Sequence[npt.NDArray[np.int64]]) -> FloatArray:
    """Return the predictions with one feature shuffled in each order, one below the other."""
    parts, kept = [], X[:, index].copy()
    for order in orders:
        X[:, index] = kept[order]
        parts.append(run(session, X))
    X[:, index] = kept
    return np.concatenate(parts)
