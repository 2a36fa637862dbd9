"""Statistics of windows that end at the same step, each from the newest value back.

Sums run from the newest value to the oldest, one after another, in double: the result of a row does not
depend on how many rows are computed with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["STATISTICS", "Windows"]

Numbers = NDArray[np.float64]


class Windows:
    """The windows of some rows.

    Parameters
    ----------
    block : float32 [n, width]
        Values, newest first; NaN is unknown.
    """

    def __init__(self, block: NDArray[np.float32]) -> None:
        self.block = block
        self.known = ~np.isnan(block)
        self.all_known = bool(self.known.all())
        self._kept: dict[str, NDArray[Any]] = {}

    def _running(self, name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def _filled(self, block: NDArray[Any], value: float) -> NDArray[Any]:
        return block if self.all_known else np.where(self.known, block, block.dtype.type(value))

    def count(self, size: int) -> Numbers:
        """Return how many of the newest `size` values are known."""
        if self.all_known:
            return np.full(len(self.block), float(size))
        return self._running("count", lambda: np.cumsum(self.known, axis=1, dtype=np.float64))[:, size - 1]

    def total(self, size: int) -> Numbers:
        """Return the sum of the known ones; NaN without any."""
        running = self._running(
            "sum", lambda: np.cumsum(self._filled(self.block, 0.0), axis=1, dtype=np.float64)
        )
        return np.where(self.count(size) > 0, running[:, size - 1], np.nan)

    def mean(self, size: int) -> Numbers:
        """Return the mean of the known ones; NaN without any."""
        return self.total(size) / np.maximum(self.count(size), 1.0)

    def share_nonzero(self, size: int) -> Numbers:
        """Return which part of the known ones is not zero; NaN without any."""
        running = self._running(
            "nonzero", lambda: np.cumsum((self.block != 0) & self.known, axis=1, dtype=np.float64)
        )
        count = self.count(size)
        return np.where(count > 0, running[:, size - 1] / np.maximum(count, 1.0), np.nan)

    def _centred(self) -> NDArray[Any]:
        """Differences from the newest known value: a constant window has a spread of exactly zero."""
        first = np.argmax(self.known, axis=1)
        centre = self.block[np.arange(len(self.block)), first].astype(np.float64)
        return self._filled(self.block - centre[:, None], 0.0)

    def std(self, size: int) -> Numbers:
        """Return the standard deviation with divisor n - 1; NaN below two known values."""
        centred = self._running("centred", self._centred)
        first = self._running("first", lambda: np.cumsum(centred, axis=1))[:, size - 1]
        second = self._running("second", lambda: np.cumsum(centred * centred, axis=1))[:, size - 1]
        count = self.count(size)
        spread = np.maximum(second - first * first / np.maximum(count, 1.0), 0.0)
        return np.where(count > 1, np.sqrt(spread / np.maximum(count - 1.0, 1.0)), np.nan)

    def min(self, size: int) -> Numbers:
        """Return the smallest known value; NaN without any."""
        lowest = self._filled(self.block, np.inf)[:, :size].min(axis=1)
        return np.where(self.count(size) > 0, lowest, np.nan)

    def max(self, size: int) -> Numbers:
        """Return the largest known value; NaN without any."""
        highest = self._filled(self.block, -np.inf)[:, :size].max(axis=1)
        return np.where(self.count(size) > 0, highest, np.nan)

    def median(self, size: int) -> Numbers:
        """Return the median of the known ones, the mean of the middle two; NaN without any."""
        ordered = np.sort(self.block[:, :size], axis=1)  # NaN comes last
        count = self.count(size).astype(np.int64)
        rows = np.arange(len(ordered))
        low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, size - 1)
        middle = (ordered[rows, low].astype(np.float64) + ordered[rows, high]) / 2
        return np.where(count > 0, middle, np.nan)


STATISTICS: Sequence[str] = ("mean", "std", "min", "max", "sum", "median", "share_nonzero", "count")
"""Names of the methods that a feature may ask for; `sum` is `total`."""
