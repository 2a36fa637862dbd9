"""Look at everything at once, each thing for a limited time."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence

from cd4ml.domain.checkup import UNREACHABLE, Answer, Finding, fail
from cd4ml.errors import Cd4mlError, UsageError, nearest
from cd4ml.steps.doctor.check import Check, Settings

__all__ = ["AREAS", "checks", "examine", "run_checks"]

AREAS = (
    *("python", "machine", "programs", "containers", "store", "signing"),
    *("pipelines", "cluster", "kserve", "routes", "monitoring", "permissions"),
)
"""In the order in which they are shown."""


def checks(settings: Settings) -> list[Check]:
    """Return all checks, by area in the order of `AREAS`."""
    from cd4ml.steps.doctor.cluster import cluster_checks
    from cd4ml.steps.doctor.containers import container_checks
    from cd4ml.steps.doctor.machine import machine_checks
    from cd4ml.steps.doctor.services import service_checks
    from cd4ml.steps.doctor.store import store_checks

    parts = (machine_checks, container_checks, store_checks, service_checks, cluster_checks)
    found = [check for part in parts for check in part(settings)]
    return sorted(found, key=lambda check: AREAS.index(check.area))


def examine(
    settings: Settings, areas: Sequence[str] = (), report: Callable[[Finding], None] | None = None
) -> list[Finding]:
    """Return what there is and what works, in the order of the areas.

    Parameters
    ----------
    areas : sequence of str
        Only these; all when there are none.
    report : callable, optional
        Called with each finding as it comes.

    Raises
    ------
    UsageError
        If there is no such area.
    """
    for area in areas:
        if area not in AREAS:
            raise UsageError(f"there is no area '{area}'{nearest(area, AREAS)}; there are {', '.join(AREAS)}")
    chosen = [check for check in checks(settings) if not areas or check.area in areas]
    return run_checks(chosen, settings, report)


def run_checks(
    chosen: Sequence[Check], settings: Settings, report: Callable[[Finding], None] | None = None
) -> list[Finding]:
    """Run checks side by side; one that takes too long has failed, and does not keep the others waiting."""
    done: queue.SimpleQueue[tuple[int, Answer, float]] = queue.SimpleQueue()
    began = time.monotonic()

    def run(place: int) -> None:
        start = time.monotonic()
        answer = _answer(chosen[place])
        done.put((place, answer, time.monotonic() - start))

    # kfp's client is quietened by way of sys.stdout: who hangs in it must not take it along.
    stdout = sys.stdout
    for place in range(len(chosen)):
        threading.Thread(target=run, args=(place,), daemon=True).start()
    found: dict[int, Finding] = {}
    end = began + settings.limit_seconds
    while len(found) < len(chosen):
        try:
            place, answer, seconds = done.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        found[place] = _finding(chosen[place], answer, seconds, settings)
        if report:
            report(found[place])
    sys.stdout = stdout
    late = fail(
        f"no answer within {settings.limit_seconds:g} s",
        fix="look whether it hangs, or give it more time: --timeout",
        exit_code=UNREACHABLE,
    )
    for place in range(len(chosen)):
        if place not in found:
            found[place] = _finding(chosen[place], late, time.monotonic() - began, settings)
    return [found[place] for place in range(len(chosen))]


def _finding(check: Check, answer: Answer, seconds: float, settings: Settings) -> Finding:
    return Finding.of(check.area, check.name, answer, settings.use in check.uses, seconds)


def _answer(check: Check) -> Answer:
    try:
        return check.look()
    except Cd4mlError as error:
        said, _, advice = " ".join(str(error).split()).rpartition("; ")
        code = UNREACHABLE if error.exit_code == UNREACHABLE else 2
        return fail(said or advice, fix=check.fix or (advice if said else ""), exit_code=code)
    except Exception as error:  # a check that breaks must not hide the others
        return fail(f"the check broke: {type(error).__name__}: {' '.join(str(error).split())}", fix=check.fix)
