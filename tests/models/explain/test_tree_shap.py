"""Contributions are Shapley values: they equal brute force on small trees, and always add up."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.models.explain.tree_shap import shapley_values, work_per_row
from cd4ml.models.explain.trees import Ensemble, Tree


def grown(rng: np.random.Generator, features: int, leaves: int) -> Tree:
    """Return a tree of random splits; features may repeat on a path."""
    nodes = [{"cover": 100.0 * leaves, "left": -1, "right": -1, "feature": -1, "threshold": 0.0}]
    for _ in range(leaves - 1):
        ends = [i for i, node in enumerate(nodes) if node["left"] < 0 and node["cover"] >= 2]
        node = nodes[int(rng.choice(ends))]
        share = float(rng.integers(1, int(node["cover"])))
        node |= {"left": len(nodes), "right": len(nodes) + 1, "feature": int(rng.integers(features))}
        node["threshold"] = float(np.float32(rng.normal()))
        for cover in (share, node["cover"] - share):
            nodes.append({"cover": cover, "left": -1, "right": -1, "feature": -1, "threshold": 0.0})
    column = {name: np.array([node[name] for node in nodes]) for name in nodes[0]}
    return Tree(
        feature=column["feature"],
        threshold=column["threshold"].astype(np.float32),
        missing_left=rng.random(len(nodes)) < 0.5,
        left=column["left"],
        right=column["right"],
        value=rng.normal(size=len(nodes)),
        cover=column["cover"],
    )


def expected(tree: Tree, x: np.ndarray, known: frozenset[int], node: int = 0) -> float:
    """Return the tree's output when some features are known and the others averaged (the definition)."""
    if tree.left[node] < 0:
        return float(tree.value[node])
    left, right = int(tree.left[node]), int(tree.right[node])
    feature = int(tree.feature[node])
    if feature in known:
        missing = np.isnan(x[feature])
        goes_left = tree.missing_left[node] if missing else x[feature] <= tree.threshold[node]
        return expected(tree, x, known, left if goes_left else right)
    parts = [(tree.cover[child], expected(tree, x, known, child)) for child in (left, right)]
    return float(sum(cover * value for cover, value in parts) / sum(cover for cover, _ in parts))


def brute_force(tree: Tree, x: np.ndarray) -> np.ndarray:
    """Return Shapley values by all coalitions."""
    count = len(x)
    found = np.zeros(count)
    for feature in range(count):
        others = [one for one in range(count) if one != feature]
        for size in range(count):
            share = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            for chosen in combinations(others, size):
                known = frozenset(chosen)
                found[feature] += share * (expected(tree, x, known | {feature}) - expected(tree, x, known))
    return found


def rows(rng: np.random.Generator, count: int, features: int) -> np.ndarray:
    X = rng.normal(size=(count, features)).astype(np.float32)
    X[rng.random(X.shape) < 0.15] = np.nan
    return X


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), features=st.integers(1, 5), leaves=st.integers(2, 14))
def test_contributions_equal_shapley_values_by_brute_force(seed: int, features: int, leaves: int) -> None:
    rng = np.random.default_rng(seed)
    tree, X = grown(rng, features, leaves), rows(rng, 4, features)
    base, found = shapley_values(Ensemble((tree,), 0.0), X)
    assert base == pytest.approx(expected(tree, X[0], frozenset()), abs=1e-12)
    for x, values in zip(X, found, strict=True):
        assert values == pytest.approx(brute_force(tree, x), abs=1e-10)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), features=st.integers(1, 30), leaves=st.integers(1, 200))
def test_base_and_contributions_add_up_whatever_the_trees(seed: int, features: int, leaves: int) -> None:
    rng = np.random.default_rng(seed)
    trees = tuple(grown(rng, features, leaves) for _ in range(3))
    X = rows(rng, 20, features)
    base, found = shapley_values(Ensemble(trees, 0.7), X)
    known = frozenset(range(features))
    raw = [0.7 + sum(expected(tree, x, known) for tree in trees) for x in X]
    assert base + found.sum(axis=1) == pytest.approx(raw, abs=1e-9)


def test_a_feature_that_no_tree_splits_gets_exactly_nothing() -> None:
    rng = np.random.default_rng(3)
    tree, X = grown(rng, 3, 9), rows(rng, 50, 5)
    found = shapley_values(Ensemble((tree,), 0.0), X)[1]
    assert (found[:, 3:] == 0).all() and np.abs(found[:, :3]).max() > 0.01


def test_rows_do_not_depend_on_the_rows_beside_them() -> None:
    rng = np.random.default_rng(4)
    ensemble, X = Ensemble((grown(rng, 12, 1500),), 0.0), rows(rng, 300, 12)
    together = shapley_values(ensemble, X)[1]  # several blocks
    alone = np.vstack([shapley_values(ensemble, X[i : i + 1])[1] for i in range(0, 300, 60)])
    assert together[::60] == pytest.approx(alone, abs=1e-12)
    assert work_per_row(ensemble, 12) > 1500


def test_missing_values_are_filled_as_a_forest_fills_them() -> None:
    rng = np.random.default_rng(5)
    tree = grown(rng, 3, 8)
    medians = np.array([0.3, -0.2, 0.9])
    X = rows(rng, 40, 3)
    filled = np.where(np.isnan(X), medians.astype(np.float32), X)
    found = shapley_values(Ensemble((tree,), 0.0, medians), X)[1]
    assert found == pytest.approx(shapley_values(Ensemble((tree,), 0.0), filled)[1], abs=0)
