"""What a model needs of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cd4ml.errors import DataError

__all__ = ["HOLDOUT", "TRAIN", "BoolArray", "Dataset", "FloatArray", "IntArray", "Matrix", "rows_of"]

Matrix = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

TRAIN, HOLDOUT = 0, 1
"""Values of `Dataset.role`; 2 is a row that the gap leaves out."""


class Dataset(Protocol):
    """Rows as arrays, one entry a row; `cd4ml.tables.dataset.Dataset` is one."""

    @property
    def X(self) -> Matrix:
        """Features, float32 of shape (n, k)."""

    @property
    def y(self) -> FloatArray:
        """Target on its original scale; 0 or 1 for classification."""

    @property
    def weight(self) -> FloatArray:
        """Weights for fits and metrics, 1 where none are asked."""

    @property
    def step(self) -> npt.NDArray[np.int64]:
        """Calendar step; all 0 without time."""

    @property
    def cluster(self) -> npt.NDArray[np.int64]:
        """What is resampled as a whole."""

    @property
    def role(self) -> npt.NDArray[np.int8]:
        """TRAIN, HOLDOUT or 2."""

    @property
    def folds(self) -> Sequence[tuple[BoolArray, BoolArray]]:
        """Masks of training and validation rows."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the k features."""

    @property
    def meta(self) -> Mapping[str, Any]:
        """dataset.json."""


def rows_of(dataset: Dataset, role: int) -> npt.NDArray[np.int64]:
    """Return the indices of the rows with a role, in order.

    Raises
    ------
    DataError
        If there are none.
    """
    found = np.flatnonzero(np.asarray(dataset.role) == role)
    if not found.size:
        what = {TRAIN: "training", HOLDOUT: "holdout"}.get(role, "left out")
        raise DataError(f"expected {what} rows in the dataset; found none. Check `split` and the filters")
    return found
