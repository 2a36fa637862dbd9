"""Evidence of a shadow without labels: both versions got the same request, and what became of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

import numpy as np

from cd4ml.adapters.access_log import AccessLine
from cd4ml.adapters.event_log import FailureLine, PredictionLine
from cd4ml.delivery.evidence.answers import BALANCE_ALPHA
from cd4ml.delivery.evidence.units import EventMetric
from cd4ml.domain.sequential.balance import ArmBalance
from cd4ml.domain.sequential.mixture import log_threshold
from cd4ml.domain.sequential.units import FirstSights
from cd4ml.domain.sequential.verdict import Evidence
from cd4ml.problem import Rollout as Policy

__all__ = ["GRACE_SECONDS", "ShadowPairs"]

GRACE_SECONDS = 15.0
"""What a shadow has not answered so long after the caller had its answer is missing."""
_LEAST_SILENT = 20
_TOLERANCE = 1e-3
"""Predictions differ from here on, relative to the larger of 1 and the stable one."""


@dataclass
class _Shadowed:
    """What is known of a request from the model servers."""

    stable_answered: bool = False
    answered_at: float = float("inf")
    failed_at: float = float("inf")
    status: int = 0


class ShadowPairs:
    """Requests of a step in phase shadow, in the order of the gateway's log, once each.

    A shadow fails where its server says so (a status of 500 or more, a prediction that is not finite), and
    refuses where it says 4xx to what the stable version took. What nobody tells of is missing: that is no
    failure, and it holds the step when it is more than the stable version's own log loses.
    """

    def __init__(self, policy: Policy) -> None:
        negligible = policy.negligible_fraction
        self._errors = EventMetric("shadow errors", policy.max_error_ratio, negligible)
        self._refused = EventMetric("requests the shadow refused", policy.max_error_ratio, 0.0)
        self._alpha, self._all = policy.alpha, policy.mirror_percent >= 100
        self._requests, self._missing = FirstSights(), ArmBalance()
        self._waiting: deque[AccessLine] = deque()
        self._known: dict[str, _Shadowed] = {}
        self._predictions: dict[tuple[str, int], list[float | None]] = {}
        self._differ = self._paired = 0
        self._shift = self._size = 0.0
        self._since_a_sign = 0
        self.requests = 0

    def take_events(self, stable: Iterable[PredictionLine], shadow: Iterable[PredictionLine]) -> None:
        """Take predictions of both versions, in any order."""
        for event in stable:
            self._of(event.id).stable_answered = True
            self._pair(event, 0)
        for event in shadow:
            known = self._of(event.id)
            if event.prediction is None:
                known.failed_at, known.status = min(known.failed_at, event.at_seconds), 500
            else:
                known.answered_at = min(known.answered_at, event.at_seconds)
            self._pair(event, 1)

    def take_failures(self, failures: Iterable[FailureLine]) -> None:
        """Take what the shadow's servers say of predictions that failed."""
        for failure in failures:
            known = self._of(failure.id)
            if failure.at_seconds < known.failed_at:
                known.failed_at, known.status = failure.at_seconds, failure.status

    def take(self, lines: Iterable[AccessLine], at_seconds: float) -> None:
        """Take requests, and judge those of which the shadow had time enough to answer."""
        found = [line for line in lines if line.variant == "stable" and not line.gave_up]
        new = self._requests.update([line.id for line in found])
        self._waiting.extend(line for line, first in zip(found, new, strict=True) if first)
        ripe = []
        while self._waiting and self._waiting[0].end_seconds + GRACE_SECONDS <= at_seconds:
            ripe.append(self._waiting.popleft())
        self._judge(ripe)

    def evidence(self) -> tuple[Evidence, ...]:
        """Return what is known now; how predictions moved is for people and decides nothing."""
        nan, paired = float("nan"), self._paired
        share = self._differ / paired if paired else nan
        shift = self._shift / self._size if self._size else nan
        return (
            self._errors.evidence(self._alpha),
            self._refused.evidence(self._alpha),
            Evidence("answers that differ", -inf, None, paired, share),
            Evidence("mean shift of predictions", -inf, None, paired, shift),
        )

    def holds(self) -> tuple[str, ...]:
        """Return why nothing may be concluded."""
        found = []
        if self._since_a_sign >= _LEAST_SILENT and self._all:
            found.append(f"the shadow told nothing of the last {self._since_a_sign} requests")
        if self._all and self._missing.log_peak >= log_threshold(BALANCE_ALPHA):
            found.append("answers of one version are missing more often than those of the other")
        return tuple(found)

    def doubts(self) -> tuple[str, ...]:
        """Return why nothing may be promoted: what is missing holds all of it."""
        return ()

    def _of(self, request: str) -> _Shadowed:
        return self._known.setdefault(request, _Shadowed())

    def _judge(self, lines: list[AccessLine]) -> None:
        rows, lost = [], list[bool]()
        for line in lines:
            known = self._known.pop(line.id, _Shadowed())
            latest = line.end_seconds + GRACE_SECONDS
            failed = known.failed_at <= latest
            told = failed or known.answered_at <= latest
            self._since_a_sign = 0 if told else self._since_a_sign + 1
            if line.status == 200 and known.stable_answered != told:
                lost.append(not told)
            if told:
                status = known.status if failed else 200
                rows.append((line.failed, status >= 500, line.refused, 400 <= status < 500))
        self._missing.update(np.array(lost, dtype=bool), np.full(len(lost), 0.5))
        table = np.array(rows, dtype=bool).reshape(-1, 4)
        self._errors.update_pairs(table[:, 0], table[:, 1])
        self._refused.update_pairs(table[:, 2], table[:, 3])
        self.requests += len(rows)

    def _pair(self, event: PredictionLine, side: int) -> None:
        key = (event.id, event.row)
        both = self._predictions.setdefault(key, [None, None])
        if both[side] is not None or event.prediction is None:
            return
        both[side] = event.prediction
        old, new = both
        if old is None or new is None:
            return
        del self._predictions[key]
        self._paired += 1
        self._differ += abs(new - old) > _TOLERANCE * max(1.0, abs(old))
        self._shift += new - old
        self._size += abs(old)
