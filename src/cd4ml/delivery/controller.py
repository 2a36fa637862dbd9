"""The controller of rollouts: look, decide, write down, act; again and again.

The decision is the domain's. What is added here is that it survives: the state is written by
compare-and-swap before anything is done, so that whoever comes after a crash does what was decided and
decides nothing twice; what is done carries the number of the lease, so that whoever was replaced does
nothing any more. Whatever goes wrong outside holds a rollout where it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Event
from typing import TypeVar

from pydantic import ValidationError

from cd4ml.adapters.audit import AuditLog
from cd4ml.adapters.rollouts import Asked, Lease, RolloutStore, Stored
from cd4ml.delivery.champion import Champion
from cd4ml.delivery.evidence.source import Collected, EvidenceSource
from cd4ml.delivery.plane import DesiredService, ObservedService, Plane
from cd4ml.delivery.trail import grown, point_of
from cd4ml.delivery.verifier import Verified, Verifier
from cd4ml.delivery.wanted import contradictions, desired_of, differences, is_settled, rules_of
from cd4ml.domain.rollout.decide import Command, Seen, Verification, command, decide
from cd4ml.domain.rollout.state import Entry, Phase, Rollout
from cd4ml.domain.rollout.traffic import wanted_traffic
from cd4ml.domain.sequential.verdict import Action, Judgement, judge
from cd4ml.errors import Cd4mlError, IntegrityError, NotFoundError, UsageError
from cd4ml.problem import Rollout as Policy

__all__ = ["LEASE_SECONDS", "Controller"]

LEASE_SECONDS = 30.0
_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_JUDGED = (Phase.SHADOW, Phase.CANARY, Phase.APPROVAL, Phase.WATCH)
_BACK = (Phase.ROLLED_BACK, Phase.ABORTED)


@dataclass(frozen=True)
class _Turn:
    """One look at one rollout: what was read, by whom and when."""

    stored: Stored
    policy: Policy
    fence: int

    @property
    def rollout(self) -> Rollout:
        return self.stored.rollout

    @property
    def desired(self) -> DesiredService:
        return desired_of(self.rollout, self.policy, self.fence)


class Controller:
    """Moves rollouts on.

    Several controllers may run, for the same services too: the lease of a service lets one of them act.

    Parameters
    ----------
    clock : callable
        Returns seconds since 1970; it may jump.
    holder : str
        Names this controller; no two at a time may have the same name.
    lease_seconds : float
        How long nobody else acts for a service after the last look of this one.
    audit : AuditLog, optional
        Told of each decision before it is taken.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - its parts
        self,
        store: RolloutStore,
        plane: Plane,
        evidence: EvidenceSource,
        verifier: Verifier,
        champion: Champion,
        clock: Callable[[], float],
        holder: str,
        lease_seconds: float = LEASE_SECONDS,
        audit: AuditLog | None = None,
    ) -> None:
        self._store, self._plane, self._evidence = store, plane, evidence
        self._verifier, self._champion, self._clock = verifier, champion, clock
        self._holder, self._lease_seconds, self._audit = holder, lease_seconds, audit
        self._leases: dict[str, Lease] = {}
        self._troubles: dict[str, tuple[str, ...]] = {}
        self._gone: set[str] = set()
        self._applied: dict[str, DesiredService] = {}

    def tick(self, service: str) -> Rollout:
        """Look at a service's rollout once, decide, and act.

        Returns
        -------
        Rollout
            As it is written in the store.

        Raises
        ------
        ConflictError
            If another controller has the lease, or wrote first; nothing was done.
        ServiceError
            If the store cannot be reached: what cannot be written down is not done.
        NotFoundError
            If the service never had a rollout.
        """
        stored = self._store.current(service)
        if is_settled(stored.rollout):
            self._let_go(service)
            return stored.rollout
        now = self._clock()
        lease = self._store.acquire(service, self._holder, now, self._lease_seconds)
        self._leases[service] = lease
        # Read again: until the lease was taken somebody else may have moved it.
        stored = self._store.current(service)
        turn = _Turn(stored, _policy(stored), lease.fence)
        if turn.rollout.ended:
            return self._finished(turn)
        asked, holds = self._commanded(turn)
        if asked is not None:
            new, collected, as_wanted = asked, Collected(()), False
        else:
            new, collected, as_wanted = self._look(turn, holds)
        written = self._write(turn, new, collected)
        self._act(replace(turn, stored=written), as_wanted)
        return written.rollout

    def run(
        self,
        stop: Event,
        services: Sequence[str] = (),
        interval_seconds: float = 1.0,
        report: Callable[[str, Rollout | None, str], None] | None = None,
        looked: Callable[[], None] | None = None,
    ) -> None:
        """Look at these services, or at all that have a rollout, until `stop` is set.

        Parameters
        ----------
        report : callable, optional
            Told after each look: the service, its rollout or None, and what went wrong or "".
        looked : callable, optional
            Called when all of them were looked at, each time: whoever is waited for shows that it lives.
        """
        try:
            while not stop.is_set():
                for service in self._services(services):
                    found, wrong = self._ticked(service)
                    if report is not None:
                        report(service, found, wrong)
                if looked is not None:
                    looked()
                stop.wait(interval_seconds)
        finally:
            for service in list(self._leases):
                self._let_go(service)

    def _services(self, services: Sequence[str]) -> Sequence[str]:
        if services:
            return services
        wrong: list[str] = []
        return _attempt("the store", self._store.services, wrong) or ()

    def _ticked(self, service: str) -> tuple[Rollout | None, str]:
        wrong: list[str] = []
        found = _attempt(f"the rollout of '{service}' waits", lambda: self.tick(service), wrong)
        return found, "; ".join(wrong)

    def _let_go(self, service: str) -> None:
        """Give the lease back; where that fails, it ends by itself."""
        lease = self._leases.pop(service, None)
        if lease is not None:
            now = self._clock()
            _attempt("the lease", lambda: self._store.release(service, lease, now), [])

    def _commanded(self, turn: _Turn) -> tuple[Rollout | None, list[str]]:
        """Return the rollout after what people asked since, or None if nobody did; and what holds."""
        holds: list[str] = []
        rollout = turn.rollout
        asked = _attempt(
            "commands cannot be read",
            lambda: self._store.commands(rollout, rollout.commands_taken),
            holds,
        )
        if not asked:
            return None, holds
        for one in asked:
            rollout = replace(_commanded(rollout, one, turn.policy), commands_taken=one.number)
        return rollout, holds

    def _look(self, turn: _Turn, holds: list[str]) -> tuple[Rollout, Collected, bool]:
        """Return the rollout after a look at the world, its evidence, and whether the plane is as wanted."""
        rollout, policy = turn.rollout, turn.policy
        left = _attempt(
            "the champion", lambda: self._champion.follow(rollout, turn.fence), foreign := list[str]()
        )
        foreign += [left] if left else []
        observed = self._observed(rollout.service, holds)
        # What is measured counts from here on: until the plane was asked it may have been another.
        now = self._clock()
        wrong: tuple[str, ...] = ("the plane cannot be seen",)
        if observed is not None:
            wrong = differences(observed, turn.desired)
            holds += contradictions(observed, rollout, turn.desired)
        converged = observed is not None and observed.converged and not wrong
        verified = self._verified(rollout, observed if converged else None, holds)
        collected = self._collected(turn, now)
        holds += collected.holds
        rules = rules_of(policy, rollout.phase)
        judgement = judge(collected.evidence, rules, rollout.elapsed_seconds, collected.doubts)
        if verified.result is Verification.FAILED:
            judgement = Judgement(Action.ROLL_BACK, verified.reasons)
        if judgement.action is not Action.ROLL_BACK:  # an alias must not keep harm where it is
            holds += foreign
        new = decide(rollout, Seen(now, converged, judgement, verified.result, tuple(holds)), policy)
        if not new.paused and not holds and len(new.history) == len(rollout.history):
            troubles = self._troubles.get(rollout.service, ())
            problems = observed.problems if observed is not None else ()
            more = verified.reasons if converged else (*wrong, *problems, *troubles)
            new = replace(new, waiting=tuple(dict.fromkeys((*new.waiting, *more))))
        return new, collected, converged

    def _verified(self, rollout: Rollout, observed: ObservedService | None, holds: list[str]) -> Verified:
        pending = Verified(Verification.PENDING)
        if rollout.phase is not Phase.VERIFY or observed is None:
            return pending
        found = _attempt("the verification", lambda: self._verifier.verify(rollout, observed), holds)
        return found or pending

    def _collected(self, turn: _Turn, now: float) -> Collected:
        rollout = turn.rollout
        if rollout.phase not in _JUDGED or not rollout.converged_at_seconds:
            return Collected(())
        wrong: list[str] = []
        found = _attempt("the evidence", lambda: self._evidence.collect(rollout, turn.policy, now), wrong)
        return found or Collected((), tuple(wrong))

    def _write(self, turn: _Turn, new: Rollout, collected: Collected) -> Stored:
        """Write the next state down, once the audit log was told what is new in it."""
        old = turn.rollout
        entries = new.history[len(old.history) :]
        if wrong := self._told(turn, new, entries):
            if new.phase not in _BACK and not new.paused:
                new = replace(old, seen_at_seconds=new.seen_at_seconds, waiting=(wrong,))
                entries = ()
            _log.warning("%s", wrong)
        try:
            stored = self._store.save(turn.stored, new)
        except Cd4mlError as error:
            if entries and self._audit is not None:
                self._tell(turn, "rollout_not_moved", {"why": str(error)}, "controller", [])
            raise
        for entry in entries:
            _log.info("%s: %s by %s: %s", new.service, entry.phase, entry.by, "; ".join(entry.reasons))
        _attempt("the trail", lambda: self._keep(turn, old, collected), [])
        return stored

    def _told(self, turn: _Turn, new: Rollout, entries: Sequence[Entry]) -> str:
        """Tell the audit log of each entry; return why it could not be told, or ""."""
        wrong: list[str] = []
        for entry in entries if self._audit is not None else ():
            facts = {
                "from": str(turn.rollout.phase),
                "to": str(entry.phase),
                "canary_percent": entry.canary_percent,
                "candidate": new.candidate.version,
                "bundle": new.candidate.bundle,
                "stable": new.stable.version,
                "reasons": list(entry.reasons),
            }
            self._tell(turn, "rollout", facts, entry.by, wrong)
        return "; ".join(wrong)

    def _tell(self, turn: _Turn, kind: str, facts: Mapping[str, object], by: str, wrong: list[str]) -> None:
        at = datetime.fromtimestamp(self._clock(), UTC)
        more = {"rollout": turn.rollout.id, "controller": self._holder, "fence": turn.fence}

        def append() -> None:
            if self._audit is not None:
                self._audit.append(kind, turn.rollout.service, {**facts, **more}, at, by)

        _attempt("the audit log cannot be told", append, wrong)

    def _keep(self, turn: _Turn, rollout: Rollout, collected: Collected) -> None:
        """Keep what this look saw for people."""
        percent = wanted_traffic(rollout, turn.policy)
        share = 100.0 if percent.stable == rollout.candidate else percent.canary_percent
        point = point_of(rollout, collected, share, self._clock())
        self._store.keep(rollout, "look", point)
        trail = grown(self._store.kept(rollout, "trail").get("points", []), point)
        if trail is not None:
            self._store.keep(rollout, "trail", {"points": trail})

    def _act(self, turn: _Turn, as_wanted: bool = False) -> bool:
        """Make what is written down true; tell whether all of it was taken.

        Parameters
        ----------
        as_wanted : bool
            The plane was seen as the rollout wanted it before this look.
        """
        rollout, wrong = turn.rollout, list[str]()
        service, desired = rollout.service, turn.desired
        # A new holder asks at least once, so that the plane knows its fence; a service that somebody removed
        # is not made again.
        if service not in self._gone and not (as_wanted and self._applied.get(service) == desired):
            self._applied.pop(service, None)
            _attempt("the plane", lambda: self._apply(desired), wrong)
        left = _attempt("the champion", lambda: self._champion.follow(rollout, turn.fence), wrong)
        if left:
            _log.warning("%s", left)
        self._troubles[service] = tuple(wrong)
        return not wrong

    def _apply(self, desired: DesiredService) -> None:
        self._plane.apply(desired.service, desired)
        self._applied[desired.service] = desired

    def _observed(self, service: str, wrong: list[str]) -> ObservedService | None:
        """Return what the service is; None, and why in `wrong`, if that cannot be seen."""

        def observe() -> ObservedService:
            try:
                found = self._plane.observe(service)
            except NotFoundError:
                self._gone.add(service)
                raise
            self._gone.discard(service)
            return found

        return _attempt("the plane", observe, wrong)

    def _finished(self, turn: _Turn) -> Rollout:
        """See the end of a rollout through: once the plane is as it wants it, it is left alone."""
        taken = self._act(turn)
        rollout = turn.rollout
        observed = self._observed(rollout.service, [])
        if not taken or observed is None or not observed.converged or differences(observed, turn.desired):
            return rollout
        return self._store.save(
            turn.stored, replace(rollout, converged_at_seconds=self._clock(), waiting=())
        ).rollout


def _policy(stored: Stored) -> Policy:
    try:
        return Policy.model_validate(dict(stored.policy))
    except ValidationError as error:
        raise IntegrityError(
            f"the policy of the rollout {stored.rollout.id} is none: {error.errors()[0]['msg']}"
        ) from error


def _commanded(rollout: Rollout, asked: Asked, policy: Policy) -> Rollout:
    """Return the rollout after a command; one that means nothing is noted and changes nothing."""
    try:
        known = Command(asked.command)
    except ValueError:
        why = f"'{asked.command}' is no command"
    else:
        try:
            return command(rollout, known, asked.by, asked.reason, asked.at_seconds, policy)
        except UsageError as error:
            why = str(error)
    percent = rollout.history[-1].canary_percent if rollout.history else 0.0
    entry = Entry(asked.at_seconds, rollout.phase, percent, asked.by, (f"not taken up: {why}",))
    return replace(rollout, history=(*rollout.history, entry))


def _attempt(what: str, act: Callable[[], _T], wrong: list[str]) -> _T | None:
    """Return what `act` returns; or None, and say in `wrong` what went wrong."""
    try:
        return act()
    except (Cd4mlError, OSError) as error:
        wrong.append(f"{what}: {error}")
    except Exception as error:
        _log.exception("%s", what)
        wrong.append(f"{what}: unexpected {type(error).__name__}: {error}")
    return None
