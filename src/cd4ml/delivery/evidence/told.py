"""Whether the logs are whole: silent, stale, contradictory or unequal ones hold a step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from cd4ml.adapters.access_log import AccessLine
from cd4ml.adapters.event_log import PredictionLine
from cd4ml.delivery.evidence.answers import BALANCE_ALPHA
from cd4ml.delivery.evidence.pairs import GRACE_SECONDS
from cd4ml.domain.sequential.balance import ArmBalance
from cd4ml.domain.sequential.mixture import log_threshold

__all__ = ["SILENT_SECONDS", "GatewayCount", "Told", "Versions"]

SILENT_SECONDS = 60.0
"""A log that lacks what another one has for longer than this is silent."""
_LEAST_SILENT = 20
_CLOCK_SECONDS = 120.0
"""Longer than a request may take: who is older than that, in a log of ends, is from another clock."""
_AHEAD_SECONDS = 60.0


class GatewayCount:
    """Compares how many requests the gateway says that it answered with how many its log tells of."""

    def __init__(self) -> None:
        self._since: tuple[float, int, int] | None = None

    def silent(self, at_seconds: float, counted: int | None, lines: int) -> bool:
        """Return whether requests were counted for long and none was written.

        Parameters
        ----------
        counted : int or None
            By the gateway, since it started; None where it does not say.
        lines : int
            Read from its log so far.
        """
        before = self._since
        if counted is None:
            return False
        if before is None or lines != before[2] or counted < before[1]:
            self._since = (at_seconds, counted, lines)
            return False
        return counted - before[1] >= _LEAST_SILENT and at_seconds - before[0] > SILENT_SECONDS


class Versions:
    """Finds answers that cannot be: of a version or a variant that the step does not have.

    Parameters
    ----------
    versions : mapping
        Variant -> version, as the step wants them.
    """

    def __init__(self, versions: Mapping[str, str], began_seconds: float) -> None:
        self._versions, self._began = versions, began_seconds
        self._found: dict[str, int] = {}

    def take(self, lines: Iterable[AccessLine]) -> None:
        """Take requests of the step."""
        for line in lines:
            if line.variant and line.variant not in self._versions:
                self._note(f"requests went to '{line.variant}', which the step does not have")
            elif line.version and line.answered_by != line.variant:
                self._note(f"answers of '{line.variant}' came from '{line.answered_by}'")
            elif line.version and line.version != self._versions.get(line.variant, line.version):
                wanted = self._versions[line.variant]
                self._note(f"'{line.variant}' answered as version {line.version}; it should be {wanted}")

    def take_events(self, name: str, events: Iterable[PredictionLine]) -> list[PredictionLine]:
        """Take events of a variant's folder, and return those of the step."""
        found = []
        for event in events:
            if event.at_seconds < self._began:
                continue
            if event.variant == name and event.version == self._versions[name]:
                found.append(event)
            elif event.at_seconds > self._began + _CLOCK_SECONDS or event.variant != name:
                # Until then it may have begun before the step, with the version of that time.
                self._note(f"events of '{name}' came from {event.variant} {event.version}")
        return found

    def holds(self) -> tuple[str, ...]:
        """Return what was found, one line a kind."""
        return tuple(f"{what} ({count} times)" for what, count in self._found.items())

    def _note(self, what: str) -> None:
        self._found[what] = self._found.get(what, 0) + 1


class Told:
    """Looks at times and at missing lines of a step's logs.

    Parameters
    ----------
    share : float or None
        Of the canary, where both arms answer callers: then answers without a prediction event have to be
        split as requests are. None where there is one arm.
    """

    def __init__(self, began_seconds: float, share: float | None) -> None:
        self._began, self._share = began_seconds, share
        self._newest = {"access": 0.0, "events": 0.0}
        self._ids: set[str] = set()
        self._waiting: deque[AccessLine] = deque()
        self._missing = ArmBalance()
        self._lost = self._judged = 0
        self._ahead = self._back = 0

    def take(self, lines: Sequence[AccessLine], at_seconds: float) -> None:
        """Take requests of the step in the order of the log."""
        for line in lines:
            self._ahead += line.at_seconds > at_seconds + _AHEAD_SECONDS
            self._newest["access"] = max(self._newest["access"], line.end_seconds)
        self._waiting.extend(line for line in lines if line.status == 200)
        lost = []
        while self._waiting and self._waiting[0].end_seconds + GRACE_SECONDS <= at_seconds:
            line = self._waiting.popleft()
            self._judged += 1
            if line.id not in self._ids:
                self._lost += 1
                lost.append(line.variant == "canary")
        if self._share is not None:
            self._missing.update(np.array(lost, dtype=bool), np.full(len(lost), self._share))

    def take_old(self, line: AccessLine) -> None:
        """Take a request that began before the step and was written after another one of the step."""
        self._back += line.end_seconds < self._began - _CLOCK_SECONDS

    def take_events(self, events: Iterable[PredictionLine]) -> None:
        """Take events of the variants that answer callers."""
        for event in events:
            self._ids.add(event.id)
            self._newest["events"] = max(self._newest["events"], event.at_seconds)

    def holds(self) -> tuple[str, ...]:
        """Return why nothing may be concluded."""
        found = []
        access, events = self._newest["access"], self._newest["events"]
        if events - max(access, self._began) > SILENT_SECONDS:
            found.append("the access log is silent while the model servers tell of predictions")
        if access - max(events, self._began) > SILENT_SECONDS:
            found.append("the prediction events are silent while the gateway tells of requests")
        if self._missing.log_peak >= log_threshold(BALANCE_ALPHA):
            found.append(f"prediction events of one version are missing more often ({self._lost} in all)")
        if self._back:
            found.append(f"the clock went backwards: {self._back} requests are dated long before the step")
        if self._ahead:
            found.append(f"{self._ahead} requests are dated in the future")
        return tuple(found)
