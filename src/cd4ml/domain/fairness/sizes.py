"""How much a slice can tell: its rows, its clusters, and as how many equal clusters these count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cd4ml.domain.bootstrap import FloatArray, IntArray, Resampling
from cd4ml.domain.fairness.slices import SliceColumn

__all__ = ["Sizes", "slice_sizes"]

DENSE_CELLS = 4_000_000


@dataclass(frozen=True)
class Sizes:
    """Sizes of some sets of rows, arrays of shape (s,)."""

    rows: IntArray
    clusters: IntArray
    effective: FloatArray

    def take(self, sets: Sequence[int] | IntArray) -> Sizes:
        """Return those of some sets, by position."""
        at = np.asarray(sets, dtype=np.int64)
        return Sizes(self.rows[at], self.clusters[at], self.effective[at])

    def enough(self, min_rows: int, min_clusters: float) -> npt.NDArray[np.bool_]:
        """Return where there is enough to compare at all; two clusters at least."""
        return np.asarray(
            (self.rows >= min_rows) & (self.effective >= min_clusters) & (self.clusters >= 2), dtype=np.bool_
        )


def slice_sizes(column: SliceColumn, design: Resampling) -> tuple[Sizes, Sizes]:
    """Return the sizes of each slice and of its rest.

    The effective number of clusters is (sum of n)^2 / sum of n^2 over the clusters' rows n.

    References
    ----------
    .. [1] Kish, 1965, Survey Sampling.
    """
    own, rest = _cell_sizes(column.codes, column.cells, design.cluster_codes)
    for members in column.members[column.cells :]:
        joined = np.where(np.isin(column.codes, members), 0, 1)
        pooled = _cell_sizes(joined, 2, design.cluster_codes)
        own, rest = _append(own, pooled[0].take([0])), _append(rest, pooled[1].take([0]))
    return own, rest


def _cell_sizes(codes: IntArray, cells: int, cluster: IntArray) -> tuple[Sizes, Sizes]:
    of_cluster = np.bincount(cluster).astype(np.float64)
    cell, where, counts = _pairs(codes, cells, cluster, of_cluster.size)
    whole = of_cluster[where]
    rows, swallowed, squares, outside = (
        np.bincount(cell, weights=values, minlength=cells).astype(np.float64)
        for values in (counts, counts == whole, counts**2, (whole - counts) ** 2 - whole**2)
    )
    own = _kish(rows, np.bincount(cell, minlength=cells), squares)
    everywhere = np.count_nonzero(of_cluster)
    return own, _kish(cluster.size - rows, everywhere - swallowed, (of_cluster**2).sum() + outside)


def _pairs(
    codes: IntArray, cells: int, cluster: IntArray, count: int
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the cells and clusters that meet, and in how many rows."""
    if count == cluster.size:
        return codes, cluster, np.ones(count)
    key = codes * count + cluster
    if cells * count <= DENSE_CELLS:
        dense = np.bincount(key)
        present = np.flatnonzero(dense)
        counts = dense[present]
    else:
        present, counts = np.unique(key, return_counts=True)
    return present // count, present % count, counts.astype(np.float64)


def _kish(rows: FloatArray, clusters: npt.NDArray[np.generic], squares: FloatArray) -> Sizes:
    effective = np.divide(rows**2, squares, out=np.zeros(rows.size), where=squares > 0.5)
    return Sizes(np.rint(rows).astype(np.int64), np.asarray(clusters, dtype=np.int64), effective)


def _append(first: Sizes, second: Sizes) -> Sizes:
    return Sizes(
        np.append(first.rows, second.rows),
        np.append(first.clusters, second.clusters),
        np.append(first.effective, second.effective),
    )
