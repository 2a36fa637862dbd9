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
Sizes = int | NDArray[np.int64]


class Windows:
    """The windows of some rows.

    Each statistic takes the size of a window and returns it for each row, [n]; or sizes [k] and returns
    [n, k]: several at once cost one row little more than a single one.

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

    def _counts(self, size: Sizes) -> Any:
        """Return how many of the newest values are known, as what fits to [n] or [n, k]."""
        if self.all_known:
            return size
        return self._running("count", lambda: self.known.cumsum(axis=1, dtype=np.float64))[:, size - 1]

    def _divisors(self, size: Sizes) -> Any:
        return size if self.all_known else np.maximum(self._counts(size), 1.0)

    def _unless_unknown(self, value: Any, size: Sizes) -> Numbers:
        """Return the value where something of the window is known, else NaN."""
        found: Numbers = value if self.all_known else np.where(self._counts(size) > 0, value, np.nan)
        return found

    def _sum(self, size: Sizes) -> Numbers:
        running = self._running("sum", lambda: self._filled(self.block, 0.0).cumsum(axis=1, dtype=np.float64))
        found: Numbers = running[:, size - 1]
        return found

    def count(self, size: Sizes) -> Numbers:
        """Return how many of the newest `size` values are known."""
        found: Numbers = np.zeros((len(self.block), *np.shape(size))) + self._counts(size)
        return found

    def total(self, size: Sizes) -> Numbers:
        """Return the sum of the known ones; NaN without any."""
        return self._unless_unknown(self._sum(size), size)

    def mean(self, size: Sizes) -> Numbers:
        """Return the mean of the known ones; NaN without any."""
        return self._unless_unknown(self._sum(size) / self._divisors(size), size)

    def share_nonzero(self, size: Sizes) -> Numbers:
        """Return which part of the known ones is not zero; NaN without any."""
        running = self._running(
            "nonzero", lambda: ((self.block != 0) & self.known).cumsum(axis=1, dtype=np.float64)
        )
        return self._unless_unknown(running[:, size - 1] / self._divisors(size), size)

    def _centred(self) -> NDArray[Any]:
        """Differences from the newest known value: a constant window has a spread of exactly zero."""
        if self.all_known:
            return self.block - self.block[:, :1].astype(np.float64)
        first = np.argmax(self.known, axis=1)
        centre = self.block[np.arange(len(self.block)), first].astype(np.float64)
        return self._filled(self.block - centre[:, None], 0.0)

    def std(self, size: Sizes) -> Numbers:
        """Return the standard deviation with divisor n - 1; NaN below two known values."""
        centred = self._running("centred", self._centred)
        first = self._running("first", lambda: centred.cumsum(axis=1))[:, size - 1]
        second = self._running("second", lambda: (centred * centred).cumsum(axis=1))[:, size - 1]
        count = self._counts(size)
        spread = np.maximum(second - first * first / self._divisors(size), 0.0)
        return np.where(count > 1, np.sqrt(spread / np.maximum(count - 1.0, 1.0)), np.nan)

    def min(self, size: Sizes) -> Numbers:
        """Return the smallest known value; NaN without any."""
        lowest = self._running("min", lambda: np.minimum.accumulate(self._filled(self.block, np.inf), axis=1))
        return self._unless_unknown(lowest[:, size - 1], size)

    def max(self, size: Sizes) -> Numbers:
        """Return the largest known value; NaN without any."""
        highest = self._running(
            "max", lambda: np.maximum.accumulate(self._filled(self.block, -np.inf), axis=1)
        )
        return self._unless_unknown(highest[:, size - 1], size)

    def median(self, size: Sizes) -> Numbers:
        """Return the median of the known ones, the mean of the middle two; NaN without any."""
        if isinstance(size, np.ndarray):
            return np.stack([self.median(one) for one in size.tolist()], axis=1)
        ordered = np.sort(self.block[:, :size], axis=1)  # NaN comes last
        count = self.count(size).astype(np.int64)
        rows = np.arange(len(ordered))
        low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, size - 1)
        middle = (ordered[rows, low].astype(np.float64) + ordered[rows, high]) / 2
        return np.where(count > 0, middle, np.nan)


STATISTICS: Sequence[str] = ("mean", "std", "min", "max", "sum", "median", "share_nonzero", "count")
"""Names of the methods that a feature may ask for; `sum` is `total`."""
