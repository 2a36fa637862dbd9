"""Counting events of two arms: once a request, once a sticky caller, in ratio and by themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cd4ml.domain.sequential.rare import RareEvents, either
from cd4ml.domain.sequential.rate_ratio import RateRatio
from cd4ml.domain.sequential.units import FirstEvents, FirstSights
from cd4ml.domain.sequential.verdict import Evidence

__all__ = ["EventMetric"]

BoolArray = NDArray[np.bool_]


class EventMetric:
    """Whether an event (an error, a slow answer) is more frequent in the candidate.

    It is safe when the ratio of rates is certainly below the margin, or when the candidate's own rate is
    certainly below what the policy calls negligible.

    Parameters
    ----------
    margin : float
        Ratio from which on the candidate is worse, above 1.
    negligible_fraction : float
        Rate that is no ground to hold it back; 0 watches for harm alone.
    sticky : bool
        Callers stay with their version: only the first event of each counts.
    """

    def __init__(self, name: str, margin: float, negligible_fraction: float, sticky: bool = False) -> None:
        self.name = name
        self.ratio = RateRatio(margin)
        self._rare = RareEvents(negligible_fraction) if negligible_fraction else None
        self._first = FirstEvents() if sticky else None
        self._sights = FirstSights()
        self.units = 0

    def update(self, keys: Sequence[str], arms: BoolArray, share: float, happened: BoolArray) -> None:
        """Take requests in their order, each once: their units, their arms (True: candidate), the events.

        Parameters
        ----------
        share : float
            Of the requests that the candidate gets, from 0 to 1, in this step.
        """
        shares = np.full(len(arms), share)
        if self._first is None:
            self.ratio.update(arms[happened], shares[happened])
            new = np.ones(len(arms), dtype=np.bool_)
            self.units += len(arms)
        else:
            self.ratio.update(*self._first.update(keys, arms, shares, happened))
            new = self._sights.update(keys)
            self.units = self._first.units
        if self._rare is not None:
            self._rare.update(happened[new & arms])

    def update_pairs(self, stable: BoolArray, shadow: BoolArray) -> None:
        """Take requests that both versions got: whether the event happened in each of the two.

        Requests in which both or neither had it say nothing of the ratio; of the others each is a coin, as in
        McNemar's test. Where b of them are the shadow's alone and c the stable version's alone, a ratio of
        rates of `margin` or more makes b / c at least as large.
        """
        differ = stable != shadow
        self.ratio.update(shadow[differ], 0.5)
        if self._rare is not None:
            self._rare.update(shadow)
        self.units += len(shadow)

    def update_counts(self, requests: tuple[int, int], events: tuple[int, int], share: float) -> None:
        """Take an interval of which only counts are known: of (stable, candidate)."""
        self.ratio.update_counts(events[1], events[0], share)
        if self._rare is not None:
            self._rare.update_counts(requests[1], min(events[1], requests[1]))
        self.units += sum(requests)

    def evidence(self, alpha: float) -> Evidence:
        """Return what is known now."""
        ratio = self.ratio
        safe = None if self._rare is None else either(ratio.safe.log_peak, self._rare.mixture.log_peak)
        low, high = ratio.interval(alpha) if ratio.events else (float("nan"), float("nan"))
        estimate = ratio.estimate if ratio.events else float("nan")
        return Evidence(self.name, ratio.harm.log_peak, safe, self.units, estimate, low, high)
