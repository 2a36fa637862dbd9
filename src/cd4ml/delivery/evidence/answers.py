"""Evidence of a canary from the gateway's log: errors, refusals, slow answers, and who is missing."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite, nan

import numpy as np

from cd4ml.adapters.access_log import AccessLine
from cd4ml.delivery.evidence.record import LEAST_ANSWERS, SLOW_LEVEL, Record, slow_limit
from cd4ml.delivery.evidence.units import EventMetric
from cd4ml.domain.sequential.balance import ArmBalance
from cd4ml.domain.sequential.mixture import log_threshold
from cd4ml.domain.sequential.quantiles import quantile_interval
from cd4ml.domain.sequential.units import FirstSights
from cd4ml.domain.sequential.verdict import Evidence
from cd4ml.problem import Rollout as Policy

__all__ = ["BALANCE_ALPHA", "Answers"]

BALANCE_ALPHA = 0.001
"""Probability that requests which are split as they should be hold a step."""
_MOST_SECONDS = 200_000


class Answers:
    """What callers got from the stable version and from the canary, each request once.

    Parameters
    ----------
    share : float
        Of the requests that the canary gets, from 0 to 1.
    record : Record
        Of the stable version before the step; an answer is slow above its 99th percentile, unless the policy
        says when. Without enough of a record the stable version's first answers in this step set the limit
        and are not counted.
    """

    def __init__(self, policy: Policy, share: float, record: Record) -> None:
        sticky, negligible = bool(policy.sticky), policy.negligible_fraction
        self._share, self._alpha = share, policy.alpha
        self._sticky = sticky
        self._errors = EventMetric("errors", policy.max_error_ratio, negligible, sticky)
        self._refused = EventMetric("refused requests", policy.max_error_ratio, 0.0, sticky)
        self._slow = EventMetric("slow answers", policy.max_slow_ratio, negligible, sticky)
        self._requests, self._callers = FirstSights(), FirstSights()
        self._split, self._gone = ArmBalance(), ArmBalance()
        self.slow_seconds = record.slow_seconds(policy)
        self._first: list[float] = []
        self._seconds: tuple[list[float], list[float]] = ([], [])
        self.requests = 0

    def take(self, lines: Sequence[AccessLine]) -> None:
        """Take requests that chance placed, in the order of the log."""
        new = self._requests.update([line.id for line in lines])
        found = [line for line, first in zip(lines, new, strict=True) if first]
        self.requests += len(found)
        self._weigh(found)
        answered = [line for line in found if not line.gave_up]
        self._count(self._errors, answered, [line.failed for line in answered])
        self._count(self._refused, answered, [line.refused for line in answered])
        self._time(found)

    def evidence(self) -> tuple[Evidence, ...]:
        """Return what is known now."""
        found = [metric.evidence(self._alpha) for metric in (self._errors, self._slow, self._refused)]
        return (*found, *map(self._quantile, ("stable", "canary"), self._seconds))

    def holds(self) -> tuple[str, ...]:
        """Return why the two arms cannot be compared: the stable version tells too little of itself."""
        limit = log_threshold(BALANCE_ALPHA)
        found = []
        if self._split.many_log_peak >= limit:
            found.append(self._not_split)
        if self._gone.few_log_peak >= limit:
            found.append("callers of the stable version give up more often than those of the canary")
        return tuple(found)

    def doubts(self) -> tuple[str, ...]:
        """Return why the canary looks better than it may be: an overloaded one answers late or never."""
        limit = log_threshold(BALANCE_ALPHA)
        found = []
        if self._split.few_log_peak >= limit:
            found.append(self._not_split)
        if self._gone.many_log_peak >= limit:
            found.append("callers of the canary give up more often than those of the stable version")
        return tuple(found)

    @property
    def _not_split(self) -> str:
        return f"requests are not split as the weight of {100 * self._share:g} % says"

    def _quantile(self, name: str, seconds: Sequence[float]) -> Evidence:
        """Return the 99th percentile of an arm, for people; an end that cannot be told yet is NaN."""
        ends = quantile_interval(seconds, SLOW_LEVEL, self._alpha)
        low, high = (end if isfinite(end) else nan for end in ends)
        estimate = float(np.quantile(seconds, SLOW_LEVEL)) if len(seconds) else nan
        return Evidence(f"seconds of {name}, 99th percentile", -inf, None, len(seconds), estimate, low, high)

    def _weigh(self, lines: Sequence[AccessLine]) -> None:
        keys = (
            self._callers.update([line.unit for line in lines]) if self._sticky else np.ones(len(lines), bool)
        )
        arms = _arms(lines)
        self._split.update(arms[keys], np.full(int(keys.sum()), self._share))
        gone = arms[np.array([line.gave_up for line in lines], dtype=bool)]
        self._gone.update(gone, np.full(len(gone), self._share))

    def _count(self, metric: EventMetric, lines: Sequence[AccessLine], happened: Sequence[bool]) -> None:
        units = [line.unit for line in lines]
        metric.update(units, _arms(lines), self._share, np.array(happened, dtype=bool))

    def _time(self, lines: Sequence[AccessLine]) -> None:
        start = 0
        while self.slow_seconds is None and start < len(lines):
            if lines[start].variant == "stable":
                self._first.append(lines[start].seconds)
            if len(self._first) >= LEAST_ANSWERS:
                self.slow_seconds = slow_limit(self._first)
            start += 1
        rest = lines[start:]
        limit = inf if self.slow_seconds is None else self.slow_seconds
        self._count(self._slow, rest, [line.seconds > limit for line in rest])
        for line in rest:
            arm = self._seconds[line.variant == "canary"]
            if len(arm) < _MOST_SECONDS:
                arm.append(line.seconds)


def _arms(lines: Sequence[AccessLine]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array([line.variant == "canary" for line in lines], dtype=np.bool_)
