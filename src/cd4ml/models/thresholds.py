"""Split values of trees, as float32 numbers.

An estimator compares float32 features with double thresholds; ONNX Runtime compares float32 with float32.
For a float32 x and a double t, x <= t holds exactly when x <= floor32(t), the largest float32 that is not
above t. So thresholds are floored in the estimator itself, and it agrees with its export at every value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from cd4ml.models.data import Matrix

__all__ = ["final_estimator", "floor_float32", "floor_thresholds", "split_values"]


def floor_float32(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the largest float32 numbers that are not above `values`; infinities stay."""
    with np.errstate(over="ignore"):
        rounded = np.asarray(values, dtype=np.float64).astype(np.float32)
    above = rounded.astype(np.float64) > values
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return rounded


def final_estimator(estimator: Any) -> Any:
    """Return the last step of a pipeline, or the estimator itself."""
    return estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator


def floor_thresholds(estimator: Any) -> None:
    """Floor the split values of a fitted boosting or forest to float32, in place; others are left alone."""
    model = final_estimator(estimator)
    for trees in getattr(model, "_predictors", ()):
        for tree in trees:
            tree.nodes["num_threshold"] = floor_float32(tree.nodes["num_threshold"])
    for tree in getattr(model, "estimators_", ()):
        threshold = tree.tree_.threshold  # a view of the tree's own memory
        inner = tree.tree_.feature >= 0
        threshold[inner] = floor_float32(threshold[inner])


def _splits(model: Any) -> Iterator[tuple[npt.NDArray[np.int64], Matrix]]:
    """Yield features and thresholds of the inner nodes, tree by tree."""
    for trees in getattr(model, "_predictors", ()):
        for tree in trees:
            nodes = tree.nodes[tree.nodes["is_leaf"] == 0]
            yield nodes["feature_idx"].astype(np.int64), nodes["num_threshold"].astype(np.float32)
    for tree in getattr(model, "estimators_", ()):
        inner = tree.tree_.feature >= 0
        yield tree.tree_.feature[inner].astype(np.int64), tree.tree_.threshold[inner].astype(np.float32)


def split_values(estimator: Any, feature_count: int) -> list[Matrix]:
    """Return, for each feature, the distinct finite float32 values at which some tree splits it, rising."""
    found = list(_splits(final_estimator(estimator)))
    if not found:
        return [np.empty(0, np.float32) for _ in range(feature_count)]
    features = np.concatenate([f for f, _ in found])
    values = np.concatenate([v for _, v in found])
    kept = np.isfinite(values)
    features, values = features[kept], values[kept]
    return [np.unique(values[features == index]) for index in range(feature_count)]
