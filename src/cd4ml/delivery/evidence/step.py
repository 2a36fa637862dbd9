"""One step of a rollout on the local plane: its logs, read on as they grow, and what they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cd4ml.adapters.access_log import AccessLine, AccessLog
from cd4ml.adapters.event_log import EventFolder, FailureLog, PredictionLine
from cd4ml.adapters.outcome_log import OutcomeLog
from cd4ml.delivery.evidence.answers import Answers
from cd4ml.delivery.evidence.labelled import SETTLE_SECONDS, Compared, Loss, Outcomes
from cd4ml.delivery.evidence.losses import Quality
from cd4ml.delivery.evidence.pairs import ShadowPairs
from cd4ml.delivery.evidence.quality import ArmLosses, PairLosses, WatchedLosses
from cd4ml.delivery.evidence.record import Record
from cd4ml.delivery.evidence.source import Collected
from cd4ml.delivery.evidence.told import GatewayCount, Told, Versions
from cd4ml.delivery.evidence.watched import Watched
from cd4ml.domain.rollout.state import Phase, Rollout
from cd4ml.domain.rollout.traffic import wanted_traffic
from cd4ml.problem import Rollout as Policy

__all__ = ["Logs", "Step"]

_DAMAGED_FRACTION = 0.01
_LEAST_DAMAGED = 3


@dataclass(frozen=True)
class Logs:
    """Where the logs of a service are.

    Attributes
    ----------
    access : Path
        The gateway's log.
    events : Path
        The folder of the folders of prediction events, one a variant.
    servers : Path
        The folder of the servers' logs, `SERVICE.VARIANT.log`.
    outcomes : Path
        The folder of outcomes.
    """

    access: Path
    events: Path
    servers: Path
    outcomes: Path


class Step:
    """Reads all logs from their beginning and on; what it says is a matter of what they say alone.

    So another process that begins anew says the same, and blocks of any size do.
    """

    def __init__(self, logs: Logs, rollout: Rollout, policy: Policy, quality: Quality) -> None:
        self._rollout, self._policy, self._quality = rollout, policy, quality
        self._began = rollout.converged_at_seconds
        traffic = wanted_traffic(rollout, policy)
        named = {"stable": traffic.stable, "canary": traffic.canary, "shadow": traffic.shadow}
        self._other = "shadow" if traffic.shadow else "canary"
        versions = {name: target.version for name, target in named.items() if target is not None}
        self._share = traffic.canary_percent / 100
        self._access, self._outcome_log = AccessLog(logs.access), OutcomeLog(logs.outcomes)
        self._events = {name: EventFolder(logs.events / name) for name in versions}
        self._failures = FailureLog(logs.servers / f"{rollout.service}.shadow.log")
        self._versions = Versions(versions, self._began)
        splits = rollout.phase in (Phase.CANARY, Phase.APPROVAL)
        self._told, self._count = Told(self._began, self._share if splits else None), GatewayCount()
        self._record = Record()
        self._judge: Answers | Watched | ShadowPairs | None = None
        self._before = Outcomes(quality, both=False)
        self._outcomes = Outcomes(quality, both=rollout.phase is Phase.SHADOW)
        self._losses: Compared | None = None
        self._units: dict[str, str] = {}
        self._lines_began = False  # once a line of the step is met, the record of before is closed
        self._seen_at = 0.0
        self._lines = 0

    def look(self, at_seconds: float, counted: int | None) -> Collected:
        """Read what is new and return what is known.

        Parameters
        ----------
        counted : int or None
            Requests that the gateway says it answered; None where it does not say.
        """
        if at_seconds < self._seen_at - 1.0:
            return Collected((), ("the controller's clock went backwards",))
        self._seen_at = max(at_seconds, self._seen_at)
        # Events first: who answered is told before it is told that a caller was answered.
        for name, folder in self._events.items():
            self._take_events(name, list(folder.read()))
        self._take_requests(at_seconds)
        self._outcomes_until(at_seconds)
        silent = self._count.silent(at_seconds, counted, self._access.lines)
        return self._collected(silent)

    def _take_events(self, name: str, events: list[PredictionLine]) -> None:
        self._lines += len(events)
        if name == "stable":
            old = [one for one in events if one.at_seconds < self._began]
            mine = [one for one in old if one.version == self._rollout.stable.version]
            self._before.take_events(mine, False, ())
        found = self._versions.take_events(name, events)
        watched = self._rollout.phase is Phase.WATCH
        if not (watched and name == "canary"):  # what it replaced is asked by nobody
            self._outcomes.take_events(found, watched or name == self._other, self._policy.slices)
        if name != "shadow":
            self._told.take_events(found)
        if isinstance(judge := self._judged(), ShadowPairs):
            judge.take_events(*((found, ()) if name == "stable" else ((), found)))

    def _take_requests(self, at_seconds: float) -> None:
        mine = [line for line in self._access.read() if line.service == self._rollout.service]
        found, began = [], self._lines_began
        for line in mine:
            if line.at_seconds >= self._began:
                found.append(line)
                began = True
            elif began:
                self._told.take_old(line)
            elif (
                line.by_chance
                and line.variant == "stable"
                and line.version in ("", self._rollout.stable.version)
            ):
                self._record.add(line)
        self._lines_began = began
        self._versions.take(found)
        self._told.take(found, at_seconds)
        self._units.update({line.id: line.unit for line in found if line.by_chance})
        self._judge_requests([line for line in found if line.by_chance and line.variant], at_seconds)

    def _judged(self) -> Answers | Watched | ShadowPairs | None:
        if self._judge is None and self._rollout.phase is Phase.SHADOW:
            self._judge = ShadowPairs(self._policy)
        elif self._judge is None and self._lines_began:
            watched = self._rollout.phase is Phase.WATCH
            self._judge = (
                Watched(self._policy, self._record)
                if watched
                else Answers(self._policy, self._share, self._record)
            )
        return self._judge

    def _judge_requests(self, lines: Sequence[AccessLine], at_seconds: float) -> None:
        judge = self._judged()
        if isinstance(judge, ShadowPairs):
            judge.take_failures(self._failures.read())
            judge.take(lines, at_seconds)
        elif judge is not None:
            judge.take(lines)

    def _outcomes_until(self, at_seconds: float) -> None:
        new = list(self._outcome_log.read())
        self._before.take_outcomes(new)
        self._outcomes.take_outcomes(new)
        if self._outcomes.altered:
            self._losses = None
            self._compare(self._outcomes.again())
        self._compare(self._outcomes.ready(at_seconds))

    def _compare(self, losses: list[Loss]) -> None:
        if not losses:
            return
        if self._losses is None:
            self._losses = self._comparison()
        if self._rollout.phase in (Phase.CANARY, Phase.APPROVAL):
            # The unit is who was placed by chance; what came another way compares nothing.
            losses = [one._replace(id=self._units[one.id]) for one in losses if one.id in self._units]
        self._losses.take(losses)

    def _comparison(self) -> Compared:
        policy, quality, name = self._policy, self._quality, self._quality.loss
        if self._rollout.phase is Phase.SHADOW:
            return PairLosses(policy, name, quality.by_day)
        self._before.ready(self._outcomes.began_seconds + SETTLE_SECONDS)
        record = self._before.again()
        if self._rollout.phase is Phase.WATCH:
            return WatchedLosses(policy, name, quality.by_day, record)
        return ArmLosses(policy, name, self._share, record)

    def _collected(self, silent: bool) -> Collected:
        judge = self._judged()
        shadow = self._rollout.phase is Phase.SHADOW
        losses = self._losses or (self._comparison() if shadow else None)
        holds = [*self._told.holds(), *self._versions.holds(), *self._damage()]
        if silent:
            holds.append("the access log is silent while the gateway counts requests")
        if judge is None:
            return Collected((), tuple(holds))
        holds += judge.holds()
        evidence = (*judge.evidence(), *(losses.evidence() if losses else ()))
        return Collected(evidence, tuple(holds), judge.requests, judge.doubts())

    def _damage(self) -> list[str]:
        found = []
        if self._access.gaps:
            found.append("lines of the access log were lost between two looks")
        damaged = len(self._access.damaged) + sum(len(one.damaged) for one in self._events.values())
        total = self._access.lines + self._lines
        if damaged >= _LEAST_DAMAGED and damaged > _DAMAGED_FRACTION * total:
            found.append(f"{damaged} of {total} lines of the logs are damaged")
        return found
