"""What tasks of a pipeline do about a rollout that was started: wait for it, tell of it, end it.

They read and write the store alone; only a controller acts on traffic. So a task can be run again at any
time: what was started is found by its id, and what it waits for is in the store.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cd4ml.errors import RolledBack, ServiceError, UsageError
from cd4ml.steps.rollout_start import OWNER, numbered

if TYPE_CHECKING:
    from cd4ml.adapters.rollouts import RolloutStore, Stored
    from cd4ml.domain.rollout.state import Rollout

__all__ = ["Patience", "await_phase", "conclude", "leave_stable", "write_rollout_page"]

_LOG = logging.getLogger(__name__)


class Patience(NamedTuple):
    """How long a task waits.

    Attributes
    ----------
    wait_seconds : float
        For what it waits for; 0 as long as somebody looks after the rollout.
    silent_seconds : float
        For a sign of life: the controller writes each of its looks into the store.
    look_seconds : float
        From one look to the next.
    """

    wait_seconds: float = 0.0
    silent_seconds: float = 900.0
    look_seconds: float = 5.0


def await_phase(
    service: str,
    rollout: str,
    phase: str,
    store: str,
    page: Path,
    *,
    patience: tuple[float, float, float] = Patience(),
    on_rollback: str = "fail",
) -> tuple[str, dict[str, float]]:
    """Wait until a phase is behind a rollout, or the rollout has ended; keep its page up to date meanwhile.

    Parameters
    ----------
    phase : str
        "verify", "shadow", "canary", "approval" or "watch".
    patience : tuple
        As `Patience` has it.
    on_rollback : {"fail", "tell"}
        What to do about a rollout that was taken back or aborted.

    Returns
    -------
    tuple
        "passed", "rolled_back" or "aborted"; and numbers for a metrics artifact, by name.

    Raises
    ------
    RolledBack
        When it was taken back or aborted, unless that is only to be told.
    ServiceError
        When the time is up, or nobody looks after the rollout. Waiting can be taken up again.
    """
    from cd4ml.domain.rollout.milestones import PASSED, decided_reasons, reached

    if on_rollback not in ("fail", "tell"):
        raise UsageError(f"on_rollback must be 'fail' or 'tell'; got '{on_rollback}'")
    rollouts, began = _rollouts(store), time.monotonic()
    shown: tuple[object, ...] = ()
    for found in _looks(rollouts, service, rollout, Patience(*patience)):
        state = found.rollout
        answer, told = reached(state, phase), (state.phase, state.step, state.paused, state.waiting)
        if told[:3] != shown[:3]:
            _LOG.info("rollout %s%s", rollout, _said(found))
        if answer or told != shown:
            write_rollout_page(service, rollout, store, page)
        shown = told
        if answer:
            break
    if answer != PASSED and on_rollback == "fail":
        why = "; ".join(decided_reasons(state))
        raise RolledBack(
            f"{state.candidate.reference} was not promoted ({state.phase}): {why}. {state.stable.reference}"
            f" serves '{service}'"
        )
    return answer, _numbers(state, time.monotonic() - began)


def _rollouts(store: str) -> RolloutStore:
    from cd4ml.adapters.rollouts import RolloutStore
    from cd4ml.adapters.storage import open_store

    return RolloutStore(open_store(store or None))


def _looks(rollouts: RolloutStore, service: str, rollout: str, patience: Patience) -> Iterator[Stored]:
    """Yield a rollout again and again, until patience is at its end: then raise ServiceError.

    A store that cannot be reached for a while is waited for like a controller that is silent.
    """
    began = alive = time.monotonic()
    found, token, trouble = None, "", ""
    while True:
        try:
            found = rollouts.get(service, rollout)
        except ServiceError as error:
            trouble = f": the store {error}"
        else:
            trouble = ""
            if found.token != token:
                token, alive = found.token, time.monotonic()
            yield found
        now = time.monotonic()
        if 0 < patience.wait_seconds <= now - began:
            raise ServiceError(
                f"the rollout {rollout} of '{service}' has not come so far in {patience.wait_seconds:g} s"
                f"{trouble or _said(found)}; run again to go on waiting"
            )
        if now - alive >= patience.silent_seconds:
            raise ServiceError(
                f"nothing has happened to the rollout {rollout} of '{service}' for"
                f" {patience.silent_seconds:g} s{trouble or _said(found)};"
                " see that its controller runs, and run again"
            )
        time.sleep(patience.look_seconds)


def _said(found: Stored | None) -> str:
    """Return what a rollout was waiting for when somebody looked last, for a message."""
    return (
        "" if found is None else f": {found.rollout.phase}, {'; '.join(found.rollout.waiting) or 'no word'}"
    )


def _numbers(rollout: Rollout, waited_seconds: float) -> dict[str, float]:
    """Return what a metrics artifact shows; a rollout without a history has no seconds."""
    history = rollout.history
    last = max(rollout.seen_at_seconds, history[-1].at_seconds) if history else 0.0
    return {
        "rollout_seconds": last - history[0].at_seconds if history else 0.0,
        "waited_seconds": waited_seconds,
        "canary_percent": history[-1].canary_percent if history else 0.0,
        "steps": float(len(history)),
    }


def conclude(service: str, rollout: str, store: str) -> tuple[str, str, list[str]]:
    """Return how a rollout ended: the decision, the version that serves, and why.

    Returns
    -------
    tuple
        "promoted", "rolled_back" or "aborted"; the number of the version; one line a reason.

    Raises
    ------
    ServiceError
        If it has not ended.
    """
    from cd4ml.domain.rollout.milestones import decided_reasons, serving

    found = _rollouts(store).get(service, rollout).rollout
    if not found.ended:
        raise ServiceError(
            f"expected the rollout {rollout} of '{service}' to have ended; found it in phase"
            f" '{found.phase}'. Wait for it first"
        )
    return str(found.phase), serving(found), list(decided_reasons(found))


def leave_stable(
    service: str,
    model: str,
    version: str,
    store: str,
    *,
    run: str = "",
    patience: tuple[float, float, float] = Patience(wait_seconds=600.0),
) -> str:
    """End the rollout of a version that has not ended, so that the stable version serves; see it through.

    Rollouts of other versions are left alone, those that another run has taken up, and one whose end the
    plane has followed: a second call does nothing.

    Parameters
    ----------
    run : str
        As `start_rollout` was given it; "" is the owner of those that nobody owns.

    Returns
    -------
    str
        "nothing" when there was nothing to wait for, else how it ended: "aborted", or what came first.

    Raises
    ------
    ServiceError
        If no controller took the command up, or the plane did not follow, in time. The command stands in
        the store: the next controller takes it up.
    """
    from cd4ml.delivery.wanted import is_settled

    rollouts = _rollouts(store)
    rollout = _unsettled(rollouts, service, model, version, store)
    if rollout is None or rollouts.kept(rollout, OWNER).get("run", "") != run:
        return "nothing"
    if not rollout.ended:
        _abort(rollouts, rollout)
    for found in _looks(rollouts, service, rollout.id, Patience(*patience)):
        if is_settled(found.rollout):
            break
    return str(found.rollout.phase)


def _unsettled(rollouts: RolloutStore, service: str, model: str, version: str, store: str) -> Rollout | None:
    """Return the rollout of a version unless its end has been seen through; None without one."""
    from cd4ml.adapters.registry import Registry
    from cd4ml.adapters.storage import open_store
    from cd4ml.delivery.wanted import is_settled

    try:
        found = rollouts.current(service).rollout
        own = numbered(Registry(open_store(store or None)), model, version).bundle
    except UsageError:  # no rollout, no such version: then none was started
        return None
    return None if is_settled(found) or found.candidate.bundle != own else found


def _abort(rollouts: RolloutStore, rollout: Rollout) -> None:
    from cd4ml.adapters.actor import current_actor
    from cd4ml.domain.rollout.decide import Command

    left = rollouts.commands(rollout, after=rollout.commands_taken)
    if not any(one.command == Command.ABORT for one in left):
        why = "the pipeline ended before the rollout did"
        rollouts.ask(rollout, Command.ABORT, current_actor() or "pipeline", why, time.time())


def write_rollout_page(service: str, rollout: str, store: str, out: Path) -> None:
    """Write the page of a rollout as the store has it: where it stands, each step, evidence as it grew."""
    from cd4ml.adapters.storage.atomic import write_text
    from cd4ml.reports.rollout_page import rollout_page
    from cd4ml.steps.rollout import rollout_status

    write_text(out, rollout_page(rollout_status(service, rollout, store)))
