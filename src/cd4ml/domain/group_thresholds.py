"""One threshold a group, so that groups are called positive about equally often, at the least loss.

For deterministic thresholds on scores, the rows called positive in a group are its highest ones. Groups are
tied to one another only by the band [ratio U, U] in which all their selection rates must lie. For a given U
each group takes its best cut within the band on its own, so one pass over U finds the best of all.

References
----------
.. [1] Hardt, Price, Srebro, 2016, Equality of Opportunity in Supervised Learning (thresholds by group; theirs
   are randomised, and two people alike may then be told apart by a coin).
.. [2] Corbett-Davies, Pierson, Feller, Goel, Huq, 2017, Algorithmic Decision Making and the Cost of Fairness
   (group thresholds are optimal under a constraint on rates).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cd4ml.domain.treatment import FloatArray, IntArray
from cd4ml.errors import DataError, UsageError

__all__ = ["MOST_CUTS", "find_thresholds"]

MOST_CUTS = 4096
"""Cuts that are tried in a group, and bands that are tried: a rate is hit to within 1 / 4096."""
_ROUNDING = 1e-12


@dataclass(frozen=True)
class _Cuts:
    """Where a group may be cut: from calling nobody positive to calling everybody.

    Attributes
    ----------
    rate : array of shape (m,)
        Share called positive, rising.
    gain : array of shape (m,)
        Rows more that are called right than when nobody is called positive.
    threshold : array of shape (m,)
    best : list of integer arrays
        `best[level][i]` is the place of the largest gain among the 2^level cuts from i on.
    """

    rate: FloatArray
    gain: FloatArray
    threshold: FloatArray
    best: list[IntArray]

    def within(self, low: FloatArray, high: FloatArray) -> IntArray:
        """Return the place of the best cut of each band, shape (bands,); -1 where it has none."""
        first = np.searchsorted(self.rate, low - _ROUNDING, side="left")
        last = np.searchsorted(self.rate, high + _ROUNDING, side="right") - 1
        size = np.maximum(last - first + 1, 1)
        level = np.log2(size).astype(np.int64)
        place = np.full(len(low), -1, dtype=np.int64)
        for number, table in enumerate(self.best):
            here = np.flatnonzero((level == number) & (last >= first))
            left, right = table[first[here]], table[last[here] - 2**number + 1]
            # The lower rate where both are as good.
            place[here] = np.where(self.gain[right] > self.gain[left], right, left)
        return place


def find_thresholds(
    score: FloatArray, y: FloatArray, groups: IntArray, count: int, min_ratio: float
) -> tuple[float, ...]:
    """Return the threshold of each group.

    Parameters
    ----------
    score, y : arrays of shape (n,)
        Probabilities of rows that the model was not fitted on, and what came true, 0 or 1.
    groups : int array of shape (n,)
        From 0 to `count` - 1.
    min_ratio : float
        The lowest selection rate is at least so many times the highest, in (0, 1].

    Returns
    -------
    tuple of float
        `score >= threshold` is positive. Of all that keep the ratio on these rows the ones with the most rows
        called right, of equal ones those that call the fewest positive. A group without rows gets the
        threshold that calls as many of all rows positive as the others do.

    Raises
    ------
    DataError
        If there are no rows.
    UsageError
        If the ratio is not in (0, 1].
    """
    if not len(score):
        raise DataError("thresholds need rows to be found on; found none")
    if not 0 < min_ratio <= 1:
        raise UsageError(f"the ratio of selection rates must be above 0 and at most 1; found {min_ratio}")
    present = [g for g in range(count) if (groups == g).any()]
    cuts = [_cuts(score[groups == g], y[groups == g]) for g in present]
    high = _bands(cuts)
    places = np.array([cut.within(min_ratio * high, high) for cut in cuts])
    gains = np.array([np.where(p < 0, -np.inf, cut.gain[p]) for cut, p in zip(cuts, places, strict=True)])
    chosen = int(np.argmax(gains.sum(axis=0)))  # the band that calls everybody positive is always possible
    found = {g: float(cut.threshold[p]) for g, cut, p in zip(present, cuts, places[:, chosen], strict=True)}
    if len(found) < count:
        called = np.mean(score >= np.array([found.get(g, 0.0) for g in range(count)])[groups])
        everybody = _cuts(score, y)
        nearest = int(np.argmin(np.abs(everybody.rate - called)))
        found = {g: found.get(g, float(everybody.threshold[nearest])) for g in range(count)}
    return tuple(found[g] for g in range(count))


def _bands(cuts: list[_Cuts]) -> FloatArray:
    """Return the upper ends that are tried: rates that some group can have, rising, 1 the last."""
    rates = np.unique(np.concatenate([cut.rate[cut.rate > 0] for cut in cuts]))
    return rates[_spread(len(rates))]


def _spread(size: int) -> IntArray:
    """Return at most MOST_CUTS places out of `size`, evenly, with both ends."""
    return np.unique(np.linspace(0, size - 1, min(size, MOST_CUTS)).round().astype(np.int64))


def _cuts(score: FloatArray, y: FloatArray) -> _Cuts:
    values, place = np.unique(-score, return_inverse=True)  # falling scores
    size = np.bincount(place, minlength=len(values))
    right = np.bincount(place, weights=2.0 * y - 1.0, minlength=len(values))
    rate = np.concatenate([[0.0], np.cumsum(size) / len(score)])
    gain = np.concatenate([[0.0], np.cumsum(right)])
    # Between two scores, so that the last digits of a prediction decide nothing.
    middle = -(values[:-1] + values[1:]) / 2
    nobody = np.nextafter(max(1.0, float(-values[0])), np.inf)
    threshold = np.concatenate([[nobody], middle, [min(0.0, float(-values[-1]))]])
    kept = _spread(len(rate))
    rate, gain, threshold = rate[kept], gain[kept], threshold[kept]
    return _Cuts(rate, gain, threshold, _best(gain))


def _best(gain: FloatArray) -> list[IntArray]:
    """Return the sparse table of the places of the largest gains (Bender, Farach-Colton, 2000)."""
    table = [np.arange(len(gain), dtype=np.int64)]
    width = 1
    while 2 * width <= len(gain):
        left, right = table[-1][:-width], table[-1][width:]
        table.append(np.where(gain[right] > gain[left], right, left))
        width *= 2
    return table
