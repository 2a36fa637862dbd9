"""Predictions with outcomes: the losses of two versions, in the order in which they became known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from cd4ml.adapters.event_log import PredictionLine
from cd4ml.adapters.outcome_log import Outcome
from cd4ml.delivery.evidence.losses import Quality
from cd4ml.domain.sequential.verdict import Evidence

__all__ = ["SETTLE_SECONDS", "Compared", "Loss", "Outcomes", "Predicted"]

SETTLE_SECONDS = 5.0
"""Logs are written within this time: what is older is complete, and has its place in the order."""
_Key = tuple[str, int]


@dataclass(slots=True)
class Predicted:
    """A row that was answered; no more of it than is needed.

    Attributes
    ----------
    slices : tuple of str
        Its values of the policy's slice columns.
    """

    prediction: float
    at_seconds: float
    day: str
    slices: tuple[str, ...]


class Loss(NamedTuple):
    """One labelled row: the losses of the versions that answered it, NaN for one that did not."""

    id: str
    stable: float
    candidate: float
    day: str
    slices: tuple[str, ...]


class Compared(Protocol):
    """What is done with losses."""

    def take(self, losses: Sequence[Loss]) -> None:
        """Take labelled rows in the order in which they became known."""
        ...

    def evidence(self) -> tuple[Evidence, ...]:
        """Return what is known now."""
        ...


class Outcomes:
    """Joins predictions and outcomes by request id and row.

    A row is compared when all that it needs is known and was written `SETTLE_SECONDS` ago, in the order of
    that time. The order is a matter of the logs alone, so that another process that reads them from the
    beginning comes to the same.

    Attributes
    ----------
    began_seconds : float
        When the first row that was compared became known; infinite before.
    duplicates, corrections, early : int
        Outcomes that said the same again; that said something else, of which the last holds; and that are
        of no prediction that is known.
    """

    def __init__(self, quality: Quality, both: bool) -> None:
        self._quality, self._both = quality, both
        self._predicted: tuple[dict[_Key, Predicted], dict[_Key, Predicted]] = ({}, {})
        self._outcomes: dict[_Key, Outcome] = {}
        self._waiting: set[_Key] = set()
        self._used: list[_Key] = []
        self._used_keys: set[_Key] = set()
        self.began_seconds = float("inf")
        self.duplicates = self.corrections = 0
        self.altered = False

    @property
    def known(self) -> int:
        """How many rows have an outcome."""
        return len(self._outcomes)

    @property
    def early(self) -> int:
        """How many outcomes are of no prediction that is known here."""
        return sum(not any(key in arm for arm in self._predicted) for key in self._outcomes)

    def take_events(self, events: Iterable[PredictionLine], candidate: bool, slices: Sequence[str]) -> None:
        """Take predictions of one version; the first one of a row counts."""
        arm = self._predicted[candidate]
        for event in events:
            key = (event.id, event.row)
            if key in arm or event.prediction is None:
                continue
            day = self._quality.day(event.inputs, event.at_seconds)
            values = tuple(str(event.inputs.get(column)) for column in slices)
            arm[key] = Predicted(event.prediction, event.at_seconds, day, values)
            if key in self._outcomes and key not in self._used_keys:
                self._waiting.add(key)

    def take_outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """Take outcomes; the same again changes nothing, another one for the same row corrects it."""
        for outcome in outcomes:
            before = self._outcomes.get(outcome.key)
            if before is None:
                self._outcomes[outcome.key] = outcome
                if any(outcome.key in arm for arm in self._predicted):
                    self._waiting.add(outcome.key)
            elif before.actual == outcome.actual:
                self.duplicates += 1
            else:
                self.corrections += 1
                first = min(before.at_seconds, outcome.at_seconds)
                self._outcomes[outcome.key] = Outcome(*outcome.key, outcome.actual, first)
                self.altered = self.altered or outcome.key in self._used_keys

    def ready(self, at_seconds: float) -> list[Loss]:
        """Return what became known until now and was not returned before."""
        times = [(self._time(key), key) for key in self._waiting]
        # What became known at one time, such as the outcomes of a week, goes by when it was predicted.
        found = sorted(
            (time, self._predicted_at(key), key) for time, key in times if time <= at_seconds - SETTLE_SECONDS
        )
        keys = [key for *_, key in found]
        if found and not self._used:
            self.began_seconds = found[0][0]
        self._waiting.difference_update(keys)
        self._used += keys
        self._used_keys.update(keys)
        return self._losses(keys)

    def again(self) -> list[Loss]:
        """Return all that was returned before, with what it was corrected to."""
        self.altered = False
        return self._losses(self._used)

    def _time(self, key: _Key) -> float:
        found = [arm[key].at_seconds for arm in self._predicted if key in arm]
        if len(found) < (2 if self._both else 1):
            return float("inf")
        return max(*found, self._outcomes[key].at_seconds)

    def _predicted_at(self, key: _Key) -> float:
        return min(arm[key].at_seconds for arm in self._predicted if key in arm)

    def _losses(self, keys: Sequence[_Key]) -> list[Loss]:
        if not keys:
            return []
        actual = np.array([self._outcomes[key].actual for key in keys])
        losses = []
        for arm in self._predicted:
            values = np.array([arm[key].prediction if key in arm else np.nan for key in keys])
            losses.append(self._quality.of(actual, values))
        stable, candidate = losses
        rows = [self._predicted[0].get(key) or self._predicted[1][key] for key in keys]
        return [
            Loss(key[0], float(old), float(new), row.day, row.slices)
            for key, old, new, row in zip(keys, stable, candidate, rows, strict=True)
        ]
