"""After the promotion: the new version's answers against what the old one had on record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cd4ml.adapters.access_log import AccessLine
from cd4ml.delivery.evidence.record import Record
from cd4ml.domain.sequential.bounded_mean import PositiveMean
from cd4ml.domain.sequential.units import FirstSights
from cd4ml.domain.sequential.verdict import Evidence
from cd4ml.problem import Rollout as Policy

__all__ = ["Watched"]

_MOST_LIMIT = 0.95


class Watched:
    """Harm alone: more failures, or slow answers, than the margin allows above the record of the old version.

    The two were not asked at the same time, so that what the day brings is not told apart from what the
    version does. A bound of the record that is high enough, and the margin on it, have to be passed.
    """

    def __init__(self, policy: Policy, record: Record) -> None:
        self._sticky = bool(policy.sticky)
        self._slow_seconds = record.slow_seconds(policy)
        slow = record.most_slow_fraction(self._slow_seconds or 0.0) if self._slow_seconds else 1.0
        least = policy.negligible_fraction
        self._limits = (
            min(max(policy.max_error_ratio * record.most_failures_fraction(), least), _MOST_LIMIT),
            min(max(policy.max_slow_ratio * slow, least), _MOST_LIMIT),
        )
        self._tests = (PositiveMean(1.0), PositiveMean(1.0))
        self._events = [0, 0]
        self._seen = FirstSights()
        self.requests = 0

    def take(self, lines: Sequence[AccessLine]) -> None:
        """Take requests in the order of the log; of a sticky caller the first one counts."""
        keys = [line.unit if self._sticky else line.id for line in lines]
        found = [line for line, new in zip(lines, self._seen.update(keys), strict=True) if new]
        self.requests += len(found)
        slow = self._slow_seconds
        happened = (
            [line.failed for line in found],
            [slow is not None and line.seconds > slow for line in found],
        )
        for index, values in enumerate(happened):
            self._tests[index].update(np.array(values, dtype=np.float64) - self._limits[index])
            self._events[index] += sum(values)

    def evidence(self) -> tuple[Evidence, ...]:
        """Return what is known now."""
        names = ("rate of errors since the promotion", "rate of slow answers since the promotion")
        return tuple(
            Evidence(name, test.mixture.log_peak, None, test.count, count / max(test.count, 1))
            for name, test, count in zip(names, self._tests, self._events, strict=True)
            if self.requests
        )

    def holds(self) -> tuple[str, ...]:
        """Return why nothing may be concluded: never, by itself."""
        return ()

    def doubts(self) -> tuple[str, ...]:
        """Return why nothing may be promoted: it is."""
        return ()
