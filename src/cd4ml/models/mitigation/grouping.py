"""The groups that a mitigation treats apart, and the rows that treatments are compared on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cd4ml.domain.treatment import Groups
from cd4ml.errors import ProblemError, nearest
from cd4ml.features.columns import CategoryArray, kind_of, take
from cd4ml.features.layout import lay_out
from cd4ml.models.data import HOLDOUT, TRAIN, Dataset, FloatArray, IntArray, rows_of
from cd4ml.problem import Mitigation, Problem

__all__ = ["Grouped", "Judged", "columns_of", "groups_for", "holdout_rows", "validation_rows"]


class Grouped(Dataset, Protocol):
    """A dataset with its groups; `cd4ml.tables.dataset.Dataset` is one."""

    @property
    def slices(self) -> Mapping[str, CategoryArray]:
        """Column -> its groups."""


@dataclass(frozen=True)
class Judged:
    """Rows that predictions are compared on; arrays have shape (n,).

    Attributes
    ----------
    rows : int array
        Their places in the dataset; all fold's validation rows, one fold after the other, or the holdout's.
    y, weight, cluster : arrays
    columns : mapping of str to CategoryArray
        Every slice and sensitive column.
    """

    rows: IntArray
    y: FloatArray
    weight: FloatArray
    cluster: IntArray
    columns: Mapping[str, CategoryArray]


def columns_of(problem: Problem) -> list[str]:
    """Return the columns between whose groups gaps are measured: the sensitive ones, or those treated."""
    treated = [name for one in problem.mitigations for name in one.columns or []]
    return problem.sensitive or list(dict.fromkeys(treated)) or problem.slices


def groups_for(problem: Problem, dataset: Grouped, index: int) -> Groups:
    """Return the groups of the problem's mitigation `index`: crossings with enough training rows.

    Raises
    ------
    ProblemError
        If a column is no slice, or serving could not tell its groups.
    """
    mitigation: Mitigation = problem.mitigations[index]
    names = mitigation.columns or problem.sensitive
    path = ("mitigations", index, "columns")
    for name in names:
        if name not in dataset.slices:
            raise ProblemError(
                f"'{name}' is no group of this problem; name it in `slices` or `sensitive`"
                f"{nearest(name, dataset.slices)}",
                path,
            )
        _tellable(problem, name, dataset.slices[name], path)
    columns = {name: dataset.slices[name] for name in names}
    return Groups.found(columns, rows_of(dataset, TRAIN), mitigation.min_rows)


def _tellable(problem: Problem, name: str, column: CategoryArray, path: tuple[str | int, ...]) -> None:
    """Refuse a column that was cut into ranges: a row alone does not tell its range."""
    kind = kind_of(lay_out(problem).samples[name])
    if kind == "text" or (kind == "number" and all(_is_number(text) for text in column.categories)):
        return
    raise ProblemError(
        f"'{name}' has too many values to be groups; derive a column of few values from it, such as"
        f" `{name}_group`, and name that",
        path,
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def validation_rows(dataset: Grouped) -> Judged:
    """Return the rows that some fold validates on."""
    return _judged(dataset, np.concatenate([np.flatnonzero(validation) for _, validation in dataset.folds]))


def holdout_rows(dataset: Grouped) -> Judged:
    """Return the rows of the holdout."""
    return _judged(dataset, rows_of(dataset, HOLDOUT))


def _judged(dataset: Grouped, rows: IntArray) -> Judged:
    return Judged(
        rows,
        np.asarray(dataset.y[rows], dtype=np.float64),
        np.asarray(dataset.weight[rows], dtype=np.float64),
        np.asarray(dataset.cluster[rows]),
        take(dict(dataset.slices), rows),  # type: ignore[arg-type]
    )
