"""Fitted trees as arrays: one shape for boosting and forests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cd4ml.models.data import BoolArray, FloatArray, IntArray, Matrix
from cd4ml.models.fit import Fitted
from cd4ml.models.thresholds import final_estimator, floor_float32

__all__ = ["Ensemble", "Tree", "ensemble_of"]


@dataclass(frozen=True)
class Tree:
    """A binary tree; arrays have shape (m,), one entry a node, and a parent comes before its children.

    Attributes
    ----------
    feature : int64
        Feature on which a node splits; -1 for a leaf.
    threshold : float32
        Rows with a value up to it go left.
    missing_left : bool
        Whether rows without a value go left.
    left, right : int64
        Children; -1 for a leaf.
    value : float64
        Output of a leaf, in units of the raw prediction.
    cover : float64
        Training rows (in a forest their weight) that reached a node; above 0.
    """

    feature: IntArray
    threshold: Matrix
    missing_left: BoolArray
    left: IntArray
    right: IntArray
    value: FloatArray
    cover: FloatArray

    def goes_left(self, X: Matrix, nodes: IntArray) -> BoolArray:
        """Return for some inner nodes whether each row goes left there, shape (nodes, n)."""
        values = np.ascontiguousarray(X.T)[self.feature[nodes]]
        left = values <= self.threshold[nodes, None]
        return np.asarray(left | (np.isnan(values) & self.missing_left[nodes, None]))


@dataclass(frozen=True)
class Ensemble:
    """Trees whose outputs add up, from a start, to the raw prediction; `medians` stand for missing values."""

    trees: tuple[Tree, ...]
    start: float
    medians: FloatArray | None = None

    def inputs(self, X: Matrix) -> Matrix:
        """Return the features as the trees see them."""
        if self.medians is None:
            return X
        return np.where(np.isnan(X), self.medians.astype(np.float32), X)


def ensemble_of(fitted: Fitted) -> Ensemble | None:
    """Return the trees of a boosting or a forest; None for a family without trees."""
    model = final_estimator(fitted.estimator)
    if fitted.family == "gradient_boosting":
        trees = tuple(_boosted(tree.nodes) for trees in model._predictors for tree in trees)
        return Ensemble(trees, float(np.ravel(model._baseline_prediction)[0]))
    if fitted.family == "random_forest":
        share = 1 / len(model.estimators_)
        trees = tuple(_grown(tree.tree_, share, fitted.task) for tree in model.estimators_)
        return Ensemble(trees, 0.0, np.asarray(fitted.estimator.named_steps["impute"].statistics_))
    return None


def _boosted(nodes: Any) -> Tree:
    leaf = nodes["is_leaf"] == 1
    return Tree(
        feature=np.where(leaf, -1, nodes["feature_idx"]).astype(np.int64),
        threshold=floor_float32(nodes["num_threshold"]),
        missing_left=nodes["missing_go_to_left"] == 1,
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        value=nodes["value"].astype(np.float64),
        cover=nodes["count"].astype(np.float64),
    )


def _grown(tree: Any, share: float, task: str) -> Tree:
    leaf = tree.children_left < 0
    value = tree.value[:, 0, :]
    output = value[:, 1] / value.sum(axis=1) if task == "classification" else value[:, 0]
    return Tree(
        feature=np.where(leaf, -1, tree.feature).astype(np.int64),
        threshold=floor_float32(np.asarray(tree.threshold, dtype=np.float64)),
        missing_left=np.zeros(len(leaf), dtype=np.bool_),
        left=np.asarray(tree.children_left, dtype=np.int64),
        right=np.asarray(tree.children_right, dtype=np.int64),
        value=np.asarray(output, dtype=np.float64) * share,
        cover=np.asarray(tree.weighted_n_node_samples, dtype=np.float64),
    )
