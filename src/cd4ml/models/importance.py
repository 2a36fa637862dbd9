"""Which features the model relies on: permutation importance through ONNX Runtime.

References
----------
.. [1] Breiman, 2001, Random Forests, section 10.
.. [2] Fisher, Rudin, Dominici, 2019, All Models are Wrong, but Many are Useful, JMLR 20(177).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cd4ml.domain.halving import nested_sample
from cd4ml.domain.metrics import METRICS, improvement
from cd4ml.models.data import HOLDOUT, Dataset, FloatArray, Matrix, rows_of
from cd4ml.models.search import primary_score
from cd4ml.models.session import open_session, run
from cd4ml.problem import Problem

__all__ = ["MAX_ROWS", "permutation_importance"]

MAX_ROWS = 20_000
_RESAMPLES = 200


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
    y, weight, cluster = (
        np.tile(values[rows], repeats) for values in (dataset.y, dataset.weight, dataset.cluster)
    )
    session = open_session(onnx, threads)
    predicted = run(session, X)
    if primary_score(problem, dataset, rows, predicted) == METRICS[problem.metrics.primary].best:
        return []
    reference = np.tile(predicted, repeats)
    rng = np.random.Generator(np.random.PCG64(seed))
    orders = [rng.permutation(len(rows)) for _ in range(repeats)]
    found = []
    for index, name in enumerate(dataset.names):
        gain = improvement(
            problem.metrics.primary,
            y,
            _shuffled(session, X, index, orders),
            reference,
            weight=weight,
            cluster=cluster,
            quantile=problem.stock.quantile if problem.stock else None,
            resamples=_RESAMPLES,
            level=problem.metrics.level,
            seed=seed,
        )
        low, high = (None if end is None else -end for end in (gain.high, gain.low))
        found.append({"feature": name, "increase": -gain.estimate, "low": low, "high": high})
        if progress:
            progress(f"importance of {name}: {-gain.estimate:+.3f}")
    return sorted(found, key=lambda entry: (-entry["increase"], entry["feature"]))


def _shuffled(session: Any, X: Matrix, index: int, orders: Sequence[npt.NDArray[np.int64]]) -> FloatArray:
    """Return the predictions with one feature shuffled in each order, one below the other."""
    parts, kept = [], X[:, index].copy()
    for order in orders:
        X[:, index] = kept[order]
        parts.append(run(session, X))
    X[:, index] = kept
    return np.concatenate(parts)
