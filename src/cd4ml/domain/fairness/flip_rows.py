"""The flip test of every slice, as rows that are shown and not judged."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cd4ml.domain.fairness.flips import flip_test
from cd4ml.domain.fairness.rows import BiasRow
from cd4ml.domain.fairness.slices import SliceColumn, Slices

__all__ = ["flip_rows"]


def flip_rows(
    features: npt.NDArray[np.floating], decision: npt.ArrayLike, slices: Slices, cluster: npt.ArrayLike
) -> list[BiasRow]:
    """Return a row for each slice that has rows inside and outside.

    A row's `ratio` is the net share of decisions that would turn positive among alike others, `estimate` the
    share that would turn at all. There is no interval: no limit is asked (`margin` is None), nothing passes.

    Parameters
    ----------
    features : array of shape (n, k)
        What people are alike in, without the sensitive columns.
    decision : array of shape (n,)
        0 or 1.
    cluster : array of shape (n,)
        What rows depend on together.
    """
    called, codes = np.asarray(decision), np.asarray(cluster)
    return [
        _row(column, number, features, called, codes)
        for column in slices
        for number, inside in enumerate(_masks(column))
        if inside.any() and not inside.all()
    ]


def _masks(column: SliceColumn) -> list[npt.NDArray[np.bool_]]:
    return [np.isin(column.codes, cells) for cells in column.members]


def _row(
    column: SliceColumn,
    number: int,
    features: npt.NDArray[np.floating],
    decision: npt.NDArray[np.floating],
    cluster: npt.NDArray[np.int64],
) -> BiasRow:
    inside, name = _masks(column)[number], column.names[number]
    found = flip_test(features, decision, inside)
    sizes = np.unique(cluster[inside], return_counts=True)[1]
    reason = (
        f"Flip test of {name}: of {found.rows:,} rows {found.to_positive:,} would be called positive among"
        f" their nearest others, {found.to_negative:,} negative; a point without an interval, not judged."
    )
    return BiasRow(
        metric="flip_test",
        label="Flip test",
        stage="post",
        column=column.column,
        slice=name,
        against="rest",
        compare="difference",
        n=found.rows,
        clusters=int(sizes.size),
        effective_clusters=float(sizes.sum() ** 2 / (sizes**2).sum()),
        estimate=found.flipped,
        reference=None,
        shrunk=None,
        ratio=found.net,
        low=None,
        high=None,
        adjusted_p=None,
        margin=None,
        family="warning",
        status="insufficient_data",
        waived=None,
        reason=reason,
    )
