"""Counters as they were scraped, made into counts of intervals: resets, gaps, series that come and go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor, isfinite

from cd4ml.adapters.prometheus import Series

__all__ = ["IntervalCounts"]

_Identity = tuple[tuple[str, str], ...]
_OWN = ("instance", "pod", "job")
"""Labels that name who tells."""


class IntervalCounts:
    """The increase of a sum of counters in each interval of a step.

    An increase belongs to the interval of the sample that shows it. A series is counted from its first sample
    on. Where another series of the same teller (one that counts all) was there before, the new one
    began at 0, as counters do that appear with their first event. A value that falls is a restart from 0.

    Parameters
    ----------
    began_seconds : float
        The step; what was scraped before it is not counted.
    """

    def __init__(self, began_seconds: float, interval_seconds: float) -> None:
        self._began, self._interval = began_seconds, interval_seconds
        self._last: dict[_Identity, tuple[float, float]] = {}
        self._first: dict[_Identity, float] = {}
        self._counts: dict[int, float] = {}
        self.newest_seconds = 0.0

    def take(self, found: Sequence[Series], tellers: IntervalCounts | None = None) -> None:
        """Take new samples; those that were taken before are passed over.

        Parameters
        ----------
        tellers : IntervalCounts, optional
            Those that count all requests, which may be these; they have the samples of the same time already.
        """
        if tellers is self:
            self._meet(found)
        for series in found:
            identity, teller = _identity(series.labels), _identity(_of(series.labels))
            for at, value in series.samples:
                if at <= self._began or not isfinite(value):
                    continue
                last = self._last.get(identity)
                if last is not None and at <= last[0]:
                    continue
                self._last[identity] = (at, value)
                self.newest_seconds = max(self.newest_seconds, at)
                if last is not None:
                    self._add(at, value - last[1] if value >= last[1] else value)
                elif tellers is not None and tellers._first.get(teller, at) < at:
                    self._add(at, value)

    def of(self, interval: int) -> int:
        """Return the increase within an interval, the first of which is 0."""
        return round(self._counts.pop(interval, 0.0))

    def _meet(self, found: Sequence[Series]) -> None:
        """Note since when each teller is there, before anything is counted: series come in any order."""
        for series in found:
            times = [at for at, _ in series.samples if at > self._began]
            teller = _identity(_of(series.labels))
            self._first[teller] = min([self._first.get(teller, float("inf")), *times])

    def _add(self, at_seconds: float, increase: float) -> None:
        place = floor((at_seconds - self._began) / self._interval)
        self._counts[place] = self._counts.get(place, 0.0) + increase


def _identity(labels: Mapping[str, str]) -> _Identity:
    return tuple(sorted(labels.items()))


def _of(labels: Mapping[str, str]) -> Mapping[str, str]:
    return {name: labels[name] for name in _OWN if name in labels}
