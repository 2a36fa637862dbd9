"""What counts as one observation: a request once, and a sticky caller once, however often they come."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["FirstEvents", "FirstSights"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_MOST_KEYS = 2_000_000


class FirstSights:
    """Lets each key pass once: retries of one request carry its id and count once.

    The oldest keys are forgotten beyond `most` of them; a retry comes soon or never.
    """

    def __init__(self, most: int = _MOST_KEYS) -> None:
        self._seen: dict[str, None] = {}
        self._most = most

    def update(self, keys: Sequence[str]) -> BoolArray:
        """Return which of the keys were not seen before, shape (n,)."""
        new = np.zeros(len(keys), dtype=np.bool_)
        for index, key in enumerate(keys):
            if key not in self._seen:
                new[index] = True
                self._seen[key] = None
        while len(self._seen) > self._most:
            del self._seen[next(iter(self._seen))]
        return new


class FirstEvents:
    """The first event of each sticky unit, and the chance that it is one of the canary's.

    A unit (a user, a shop) stays in its arm, so its events are not independent: only its first one is
    evidence. Units that had their event are at risk no more, and a harmful canary uses its units up faster,
    so the weight alone is not the right chance for the next event. As in a log-rank test it is the share of
    the canary among the units at risk; for a unit that is met for the first time it is the weight. Within
    one weight the number of units of each arm is known; when the weight changes, units move by their
    hash, and until one is met again its arm counts with the probability of having moved.

    References
    ----------
    P. Grünwald, A. Ly, M. Pérez-Ortiz, J. ter Schure, The safe logrank test: error control under continuous
    monitoring with unlimited horizon, 2021, arXiv 2011.06931.
    """

    def __init__(self) -> None:
        self._epoch_of: dict[str, tuple[int, bool]] = {}
        self._done: set[str] = set()
        self._epoch, self._share = 0, -1.0
        self._known = [0, 0]
        """Units at risk that were met since the weight changed: in stable, in canary."""
        self._unmet, self._unmet_in_canary = 0, 0.0
        """Units at risk that were not, and how many of them to expect in the canary."""

    @property
    def units(self) -> int:
        """How many units were met."""
        return len(self._epoch_of) + len(self._done)

    def update(
        self, keys: Sequence[str], in_canary: BoolArray, share: FloatArray, happened: BoolArray
    ) -> tuple[BoolArray, FloatArray]:
        """Take requests in the order of their time and return the events that count.

        Parameters
        ----------
        keys : sequence of str
            The unit of each request, n of them.
        in_canary, happened : bool arrays of shape (n,)
            Its arm, and whether the event (an error, say) happened.
        share : float array of shape (n,)
            The weight of the canary at that time.

        Returns
        -------
        in_canary, share : arrays of shape (m,)
            Of the m <= n events that count, as `RateRatio.update` takes them.
        """
        arms, chances = [], []
        rows = zip(keys, in_canary.tolist(), share.tolist(), happened.tolist(), strict=True)
        for key, arm, weight, event in rows:
            if weight != self._share:
                self._move(weight)
            if key in self._done:
                continue
            known = self._epoch_of.get(key)
            if event:
                arms.append(arm)
                chances.append(weight if known is None else self._canary_among_those_at_risk())
            self._leave(key, known)
            if event:
                self._done.add(key)
                self._epoch_of.pop(key, None)
            else:
                self._known[arm] += 1
                self._epoch_of[key] = (self._epoch, arm)
        return np.array(arms, dtype=np.bool_), np.array(chances, dtype=np.float64)

    def _canary_among_those_at_risk(self) -> float:
        at_risk = sum(self._known) + self._unmet
        return (self._known[1] + self._unmet_in_canary) / at_risk if at_risk else self._share

    def _leave(self, key: str, known: tuple[int, bool] | None) -> None:
        """Take a unit out of where it was counted."""
        if known is None:
            return
        epoch, arm = known
        if epoch == self._epoch:
            self._known[arm] -= 1
        else:
            self._unmet_in_canary *= (self._unmet - 1) / self._unmet
            self._unmet -= 1

    def _move(self, weight: float) -> None:
        """Begin to count anew under another weight: hashes below the weight are the canary's."""
        before, self._share = self._share, weight
        if before < 0:
            return
        in_canary = self._known[1] + self._unmet_in_canary
        in_stable = self._known[0] + self._unmet - self._unmet_in_canary
        if weight >= before:
            joining = (weight - before) / (1 - before) if before < 1 else 0.0
            in_canary += in_stable * joining
        else:
            in_canary *= weight / before
        self._unmet += sum(self._known)
        self._unmet_in_canary = in_canary
        self._known = [0, 0]
        self._epoch += 1
