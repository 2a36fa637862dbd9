"""What losses of labelled rows say: of pairs, of two arms, and of the time after the promotion."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt

import numpy as np

from cd4ml.delivery.evidence.labelled import Loss
from cd4ml.domain.sequential.bounded_mean import PositiveMean
from cd4ml.domain.sequential.mean_difference import MeanDifference
from cd4ml.domain.sequential.paired import PairedLoss
from cd4ml.domain.sequential.units import FirstSights
from cd4ml.domain.sequential.verdict import Evidence
from cd4ml.problem import Rollout as Policy

__all__ = ["ArmLosses", "PairLosses", "WatchedLosses"]

_MOST_VALUES = 50
_OTHERS = "other values"
_LATER_DAYS = 2
_LEAST_RECORD = 100
_CAP_LEVEL = 0.99
_DOUBT_DEVIATIONS = 3.3


class _Days:
    """Makes one observation of a day: the means of its rows, once rows of two later days are there.

    `late` counts the rows that came after that; they are left out.
    """

    def __init__(self) -> None:
        self._open: dict[str, list[Loss]] = {}
        self._closed = ""
        self.late = 0

    def take(self, losses: Sequence[Loss]) -> list[Loss]:
        """Return the days that rows close, the earliest first."""
        found = []
        for loss in losses:
            if loss.day <= self._closed:
                self.late += 1
                continue
            self._open.setdefault(loss.day, []).append(loss)
            while len(self._open) > _LATER_DAYS:
                day = min(self._open)
                rows = self._open.pop(day)
                stable = float(np.mean([row.stable for row in rows]))
                candidate = float(np.mean([row.candidate for row in rows]))
                found.append(Loss(day, stable, candidate, day, rows[0].slices))
                self._closed = day
        return found


class _Pairs:
    """One comparison of pairs, of rows or of days."""

    def __init__(self, margin_fraction: float, by_day: bool) -> None:
        self.test = PairedLoss(margin_fraction)
        self._days = _Days() if by_day else None

    def take(self, losses: Sequence[Loss]) -> None:
        found = self._days.take(losses) if self._days else losses
        if found:
            self.test.update(
                np.array([one.stable for one in found]), np.array([one.candidate for one in found])
            )


class PairLosses:
    """Shadow and stable version on the same rows: over all, and for harm in each value of some columns.

    The values of a column share its evidence: the i-th that is met has 1 / (i (i + 1)) of it, so that the
    number of metrics is known beforehand and no value costs the others anything.
    """

    def __init__(self, policy: Policy, name: str, by_day: bool) -> None:
        self._margin, self._by_day, self._name = policy.loss_margin_fraction, by_day, name
        self._required = policy.outcomes == "required"
        self._columns = tuple(policy.slices)
        self._all = _Pairs(self._margin, by_day)
        self._slices: list[dict[str, _Pairs]] = [{} for _ in self._columns]

    def take(self, losses: Sequence[Loss]) -> None:
        """Take labelled pairs."""
        self._all.take(losses)
        for place, known in enumerate(self._slices):
            rows: dict[str, list[Loss]] = {}
            for loss in losses:
                value = loss.slices[place]
                value = value if value in known or len(known) < _MOST_VALUES else _OTHERS
                known.setdefault(value, _Pairs(self._margin, self._by_day))
                rows.setdefault(value, []).append(loss)
            for value, mine in rows.items():
                known[value].take(mine)

    def evidence(self) -> tuple[Evidence, ...]:
        """Return the evidence over all, and that of the worst value of each column."""
        test = self._all.test
        safe = test.safe.log_peak if self._required else None
        found = [Evidence(self._name, test.harm.log_peak, safe, test.pairs, test.estimate)]
        found += map(self._worst, self._columns, self._slices)
        return tuple(found)

    def _worst(self, column: str, known: dict[str, _Pairs]) -> Evidence:
        peaks = {
            value: pairs.test.harm.log_peak - log(place * (place + 1))
            for place, (value, pairs) in enumerate(known.items(), 1)
        }
        if not peaks:
            return Evidence(f"{self._name} by {column}", 0.0, None, 0)
        worst = max(peaks, key=peaks.__getitem__)
        test, peak = known[worst].test, max(peaks[worst], 0.0)
        return Evidence(f"{self._name}, {column}={worst}", peak, None, test.pairs, test.estimate)


class _RecordedLosses:
    """Losses of the stable version from before the step: their cap, their mean, and a bound of that."""

    def __init__(self, losses: Sequence[Loss]) -> None:
        values = np.array([one.stable for one in losses])
        self.enough = len(values) >= _LEAST_RECORD
        if not self.enough:
            return
        self.cap = float(np.quantile(values, _CAP_LEVEL, method="higher"))
        capped = np.minimum(values, self.cap)
        self.mean = float(capped.mean())
        self.most = self.mean + _DOUBT_DEVIATIONS * float(capped.std()) / sqrt(len(capped))
        self.enough = self.cap > 0 and self.mean > 0


class ArmLosses:
    """Stable version and canary on different rows, for harm alone; of a unit its first labelled row counts.

    The loss is capped at the 99th percentile of the stable version's record. Without one nothing is said.
    """

    def __init__(self, policy: Policy, name: str, share: float, record: Sequence[Loss]) -> None:
        self._name, self._share = name, share
        found = _RecordedLosses(record)
        self._test = (
            MeanDifference(found.cap, policy.loss_margin_fraction * found.mean) if found.enough else None
        )
        self._seen, self._count = FirstSights(), 0

    def take(self, losses: Sequence[Loss]) -> None:
        """Take labelled rows; `id` is the unit."""
        new = self._seen.update([one.id for one in losses])
        found = [one for one, first in zip(losses, new, strict=True) if first]
        if self._test is None or not found:
            return
        arms = np.isnan(np.array([one.stable for one in found]))
        values = np.array(
            [one.candidate if arm else one.stable for one, arm in zip(found, arms, strict=True)]
        )
        self._test.update(values, arms, np.full(len(found), self._share))
        self._count += len(found)

    def evidence(self) -> tuple[Evidence, ...]:
        """Return the difference of capped means."""
        if self._test is None:
            return ()
        name = f"{self._name}, difference of the versions"
        return (Evidence(name, self._test.harm.log_peak, None, self._count, self._test.estimate),)


class WatchedLosses:
    """The new version after its promotion against the record of the old one, for harm alone.

    It is harm when the capped mean is certainly larger than that of the record, bounded from above, by more
    than the margin. What the season does to both is not told apart.
    """

    def __init__(self, policy: Policy, name: str, by_day: bool, record: Sequence[Loss]) -> None:
        found = _RecordedLosses(record)
        self._name = name
        self._record = found if found.enough else None
        self._days = _Days() if by_day else None
        self._seen = FirstSights()
        if self._record is not None:
            self._limit = (1 + policy.loss_margin_fraction) * self._record.most
            self._test = PositiveMean(max(self._record.cap, self._limit))
            self._sum = 0.0

    def take(self, losses: Sequence[Loss]) -> None:
        """Take labelled rows of the new version."""
        if self._record is None:
            return
        new = self._seen.update([one.id for one in losses])
        first = [one for one, fresh in zip(losses, new, strict=True) if fresh]
        found = self._days.take(losses) if self._days else first
        values = np.minimum(np.array([one.candidate for one in found]), self._record.cap)
        self._test.update(values - self._limit)
        self._sum += float(values.sum())

    def evidence(self) -> tuple[Evidence, ...]:
        """Return how many times the record's loss the new one is."""
        if self._record is None or not self._test.count:
            return ()
        ratio = self._sum / self._test.count / self._record.mean
        name = f"{self._name} since the promotion"
        return (Evidence(name, self._test.mixture.log_peak, None, self._test.count, ratio),)
