"""Exact Shapley values of trees, many rows at once.

A row's contributions are the Shapley values of the game in which a coalition of features is known and the
others are averaged over the training rows that went each way (path-dependent TreeSHAP). The value that a leaf
adds to the game is a product over the features on its path: for a feature with the state o (1 where the row
takes the path, else 0) and the share z of training rows that take it, feature i gets

    leaf * (o_i - z_i) * integral over t from 0 to 1 of prod_{j != i} (t o_j + (1 - t) z_j).

The integrand is a polynomial whose degree is below the number d of distinct features on the path, so Gauss
and Legendre's rule with d / 2 nodes gives the integral exactly. One walk down a tree makes the products, one
walk up adds the leaves below each edge; an edge whose feature was split above takes back what that split was
given. The cost is (nodes of the tree) x d / 2 for each row, in place of leaves x depth squared.

References
----------
.. [1] Lundberg, Erion, Chen et al., 2020, From Local Explanations to Global Understanding with Explainable AI
   for Trees, Nature Machine Intelligence 2 (TreeSHAP).
.. [2] Yu, Xu, Mi, Bifet, Feng, 2022, Linear TreeSHAP, NeurIPS (edges in place of leaves).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cd4ml.models.data import FloatArray, IntArray, Matrix
from cd4ml.models.explain.trees import Ensemble, Tree

__all__ = ["shapley_values", "work_per_row"]

_BLOCK_VALUES = 600_000  # float64 held for a walk: about 5 MB, so that it stays near the processor


@dataclass(frozen=True)
class _Paths:
    """The edges of a tree by depth; arrays have shape (m,), one entry a node, and refer to places in them.

    Attributes
    ----------
    order : int64
        Nodes of the tree by rising depth; the root is at place 0.
    levels : list of slice
        Places of each depth from 1 on.
    parent, above : int64
        The node above; the nearest node above that the same feature led to, or -1 where there is none.
    edge : int64
        Feature that led to the node; -1 at the root.
    distinct : int
        Most features on a path.
    """

    order: IntArray
    levels: list[slice]
    parent: IntArray
    above: IntArray
    edge: IntArray
    distinct: int

    @property
    def quadrature_nodes(self) -> int:
        """How many nodes make the integral exact."""
        return (self.distinct + 1) // 2


def _paths(tree: Tree, feature_count: int) -> _Paths:
    """Walk down by levels; the last edge of each feature is kept for each node of a level."""
    order, parent, above, edge = ([np.array([start])] for start in (0, -1, -1, -1))
    last, count = np.full((1, feature_count), -1), np.zeros(1, dtype=np.int64)
    levels, distinct, place = [], 0, 0
    while True:
        inner = np.flatnonzero(tree.feature[order[-1]] >= 0)
        if not inner.size:
            break
        nodes = order[-1][inner]
        children = np.column_stack([tree.left[nodes], tree.right[nodes]]).ravel()
        rows, features = np.repeat(inner, 2), np.repeat(tree.feature[nodes], 2)
        first = place + len(order[-1])
        here, at = last[rows], np.arange(len(children))
        above.append(here[at, features])
        here[at, features] = first + at
        count = count[rows] + (above[-1] < 0)
        order.append(children)
        parent.append(place + rows)
        edge.append(features)
        levels.append(slice(first, first + len(children)))
        last, place, distinct = here, first, max(distinct, int(count.max()))
    joined = (np.concatenate(parts) for parts in (order, parent, above, edge))
    found = dict(zip(("order", "parent", "above", "edge"), joined, strict=True))
    return _Paths(levels=levels, distinct=distinct, **found)


@dataclass(frozen=True)
class _Tables:
    """What a step does at each quadrature node, by the state of the edge: shape (m, 3, q).

    State 0: the row takes neither this edge nor the one above of the same feature; 1: the one above alone;
    2: both, so also where there is none above.
    """

    factor: FloatArray
    """A step down multiplies by it."""
    given: FloatArray
    """A step up gives the feature so much of what the leaves below add."""


def _tables(tree: Tree, paths: _Paths) -> _Tables:
    cover = tree.cover[paths.order]
    share = cover / np.maximum(cover[paths.parent], np.finfo(np.float64).tiny)
    share[0] = 1.0
    for level in paths.levels:  # the share of training rows that take all edges of the feature so far
        known = paths.above[level] >= 0
        share[level][known] *= share[paths.above[level][known]]
    points, weights = np.polynomial.legendre.leggauss(paths.quadrature_nodes)
    t = (points + 1) / 2
    has, before = (paths.above >= 0)[:, None, None], share[paths.above][:, None, None]
    taken, outer = np.array([0.0, 0.0, 1.0])[:, None], np.array([0.0, 1.0, 1.0])[:, None]
    own = taken * t + (1 - t) * share[:, None, None]
    old = np.where(has, outer * t + (1 - t) * before, 1.0)
    gain = (taken - share[:, None, None]) / own - np.where(has, (outer - before) / old, 0.0)
    return _Tables(own / old, gain * weights / 2)


def shapley_values(ensemble: Ensemble, X: Matrix) -> tuple[float, FloatArray]:
    """Return the base and the contributions, shape (n, k): base + sum over features = raw prediction.

    The base is the raw prediction averaged over the training rows, as the trees remember them.
    """
    inputs, features = ensemble.inputs(X), X.shape[1]
    total, base = np.zeros((features, len(X))), ensemble.start
    for tree in ensemble.trees:
        leaf = tree.feature < 0
        base += float((tree.value[leaf] * tree.cover[leaf]).sum() / tree.cover[leaf].sum())
        paths = _paths(tree, features)
        if paths.levels:
            _add(tree, paths, inputs, total)
    return base, np.ascontiguousarray(total.T)


def _add(tree: Tree, paths: _Paths, inputs: Matrix, total: FloatArray) -> None:
    """Add one tree's contributions to `total` (k, n), a block of rows at a time."""
    from scipy.sparse import csr_matrix

    tables, nodes = _tables(tree, paths), len(paths.order)
    one = np.ones(nodes - 1)
    by_feature = csr_matrix((one, (paths.edge[1:], np.arange(nodes - 1))), shape=(len(total), nodes - 1))
    block = max(1, _BLOCK_VALUES // (nodes * paths.quadrature_nodes))
    for start in range(0, inputs.shape[0], block):
        rows = slice(start, start + block)
        total[:, rows] += by_feature @ _walk(tree, paths, tables, inputs[rows])


def _walk(tree: Tree, paths: _Paths, tables: _Tables, X: Matrix) -> FloatArray:
    """Return what each edge gives to its feature in each row, shape (m - 1, n)."""
    state = _states(tree, paths, X)
    held = np.empty((len(paths.order), len(X), paths.quadrature_nodes))
    held[0] = 1.0
    for level in paths.levels:
        at = np.arange(level.start, level.stop)[:, None]
        np.multiply(held[paths.parent[level]], tables.factor[at, state[level]], out=held[level])
    leaf = tree.feature[paths.order] < 0
    held[leaf] *= tree.value[paths.order[leaf], None, None]
    for level in reversed(paths.levels):  # children stand side by side
        pairs = held[level]
        held[paths.parent[level][::2]] = pairs[::2] + pairs[1::2]
    at = np.arange(1, len(paths.order))[:, None]
    return np.asarray(np.einsum("mnq,mnq->mn", held[1:], tables.given[at, state[1:]]))


def _states(tree: Tree, paths: _Paths, X: Matrix) -> npt.NDArray[np.int8]:
    """Return the state of each edge for each row, shape (m, n); see `_Tables`."""
    inner = np.flatnonzero(tree.feature[paths.order] >= 0)
    left = tree.goes_left(X, paths.order[inner])
    taken = np.ones((len(paths.order), len(X)), dtype=np.bool_)
    children = np.flatnonzero(np.isin(paths.parent, inner))  # in pairs, in the order of their parents
    taken[children[::2]], taken[children[1::2]] = left, ~left
    state = np.full(taken.shape, 2, dtype=np.int8)
    for level in paths.levels:
        outer = taken[paths.above[level]] | (paths.above[level] < 0)[:, None]
        taken[level] &= outer
        state[level] = taken[level].astype(np.int8) + outer
    return state


def work_per_row(ensemble: Ensemble, feature_count: int) -> int:
    """Return about how many numbers are held for a row: nodes times quadrature nodes, over all trees."""
    found = [(tree, _paths(tree, feature_count)) for tree in ensemble.trees]
    return sum(len(tree.feature) * paths.quadrature_nodes for tree, paths in found)
