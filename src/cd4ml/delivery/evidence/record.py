"""What the stable version had on record before a step: how often it failed, how long it took."""

from __future__ import annotations

from collections import deque

import numpy as np
from scipy.stats import beta

from cd4ml.adapters.access_log import AccessLine
from cd4ml.problem import Rollout as Policy

__all__ = ["LEAST_ANSWERS", "SLOW_LEVEL", "Record", "slow_limit"]

LEAST_ANSWERS = 200
"""From so many answers on a 99th percentile is one."""
SLOW_LEVEL = 0.99
_MOST_ANSWERS = 20_000
_DOUBT = 0.001


class Record:
    """The last answers of the stable version before the step began."""

    def __init__(self) -> None:
        self.seconds: deque[float] = deque(maxlen=_MOST_ANSWERS)
        self._failed: deque[bool] = deque(maxlen=_MOST_ANSWERS)

    def add(self, line: AccessLine) -> None:
        """Take one of its answers, or an answer that it owes."""
        self.seconds.append(line.seconds)
        self._failed.append(line.failed)

    def slow_seconds(self, policy: Policy) -> float | None:
        """Return above what an answer is slow; None while nothing tells."""
        return policy.slow_seconds or slow_limit(self.seconds)

    def most_failures_fraction(self) -> float:
        """Return an upper bound of its rate of failures, right with probability 0.999; 1 for unknown."""
        return _most(sum(self._failed), len(self._failed))

    def most_slow_fraction(self, limit_seconds: float) -> float:
        """Return the same of answers that took longer than a limit."""
        return _most(sum(one > limit_seconds for one in self.seconds), len(self.seconds))


def slow_limit(seconds: deque[float] | list[float]) -> float | None:
    """Return the 99th percentile of enough answers, or None."""
    if len(seconds) < LEAST_ANSWERS:
        return None
    return float(np.quantile(np.asarray(seconds), SLOW_LEVEL, method="higher"))


def _most(events: int, requests: int) -> float:
    """Return the upper end of the interval of Clopper and Pearson."""
    return float(beta.ppf(1 - _DOUBT, events + 1, requests - events)) if requests > events else 1.0
