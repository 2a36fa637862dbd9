"""Wait for a run on a Kubeflow Pipelines server, and say why one has failed as if it had failed here."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import cd4ml.errors
from cd4ml.adapters.kubeflow.remote import Run, Task, look
from cd4ml.adapters.kubeflow.remote_client import Server, refused
from cd4ml.errors import (
    Cd4mlError,
    DataError,
    GateRejected,
    NotFoundError,
    RolledBack,
    ServiceError,
    TimedOut,
    UsageError,
)

__all__ = ["Failure", "conclude", "failure", "guards", "shown", "wait"]

_KINDS: dict[int, type[Cd4mlError]] = {
    kind.exit_code: kind
    for kind in (Cd4mlError, UsageError, GateRejected, DataError, RolledBack, ServiceError)
}
_NAMES = "|".join(name for name in cd4ml.errors.__all__ if isinstance(getattr(cd4ml.errors, name), type))
_ERROR = re.compile(rf"(?<![\w.])(?:cd4ml\.errors\.)?({_NAMES}): (.+)")
_LOG_LINES = 40
_UNREACHABLE_SECONDS = 300.0
"""For how long a server may be away before waiting is given up."""


@dataclass(frozen=True)
class Failure:
    """Why a run failed: the error to raise, the task, and the end of its log ("" when it cannot be read)."""

    error: Cd4mlError
    task: str = ""
    log: str = ""


def wait(
    server: Server,
    run_id: str,
    report: Callable[[Run], None],
    timeout_seconds: float = 0.0,
    poll_seconds: float = 5.0,
    patience_seconds: float = _UNREACHABLE_SECONDS,
) -> Run:
    """Look at a run until it has ended; each look is reported.

    Parameters
    ----------
    timeout_seconds : float
        How long to wait; 0 for as long as it takes.
    poll_seconds : float
        Between two looks.
    patience_seconds : float
        For how long the server may be away before that is an error.

    Raises
    ------
    TimedOut
        When the run has not ended in time; it goes on.
    ServiceError
        When the server was away for too long, or refuses the caller.
    """
    started = seen = time.monotonic()
    while True:
        try:
            run = look(server, run_id)
            seen = time.monotonic()
            report(run)
            if run.ended:
                return run
        except ServiceError as error:
            if refused(error) or time.monotonic() - seen > patience_seconds:
                raise
        if timeout_seconds and time.monotonic() - started > timeout_seconds:
            raise TimedOut(
                f"run {run_id} has not ended within {timeout_seconds:g} s; it goes on: look at it with "
                f"`cd4ml pipelines status {run_id} --wait`, or stop it with `cd4ml pipelines cancel {run_id}`"
            )
        time.sleep(poll_seconds)


def guards(pipeline: Mapping[str, Any]) -> dict[str, str]:
    """Return the tasks of a compiled pipeline that only a verdict other than `reject` lets run.

    By the task's id: the name that the dashboard shows.
    """
    tasks = pipeline["root"].get("dag", {}).get("tasks", {})
    conditions = {name: str(one.get("triggerPolicy", {}).get("condition", "")) for name, one in tasks.items()}
    held = [name for name, condition in conditions.items() if condition.endswith("!= 'reject'")]
    return {name: str(tasks[name].get("taskInfo", {}).get("name", name)) for name in held}


def conclude(server: Server, run: Run, pipeline: Mapping[str, Any] | None = None) -> Failure | None:
    """Return why a run that has ended is no success; None when it is one.

    Kubeflow lets a run succeed whose model was rejected: the tasks behind the gate are skipped. With the
    compiled pipeline that is seen, and is a failure here too.
    """
    if run.state not in ("SUCCEEDED", "SKIPPED"):
        return failure(server, run)
    states = {task.name: task.state for task in run.tasks}
    for name, title in guards(pipeline).items() if pipeline else ():
        if not run.tasks:
            text = f"run {run.run_id} succeeded, but the server tells no tasks: whether a gate rejected"
            return Failure(Cd4mlError(f"{text} is unknown; see {run.url}"))
        if not {states.get(name), states.get(title)} & {"SUCCEEDED"}:
            text = f"the model was rejected: '{title}' was skipped in run {run.run_id}"
            return Failure(GateRejected(f"{text}; see its report at {run.url}"), name)
    return None


def failure(server: Server, run: Run) -> Failure:
    """Return why a run failed: by its failed tasks, what the server says of them, and their logs."""
    if run.state == "CANCELED":
        return Failure(Cd4mlError(f"run {run.run_id} was cancelled; see {run.url}"))
    failed = [task for task in run.tasks if task.state == "FAILED"]
    inner = [task for task in failed if _is_shown(task.name)] or failed
    first: Failure | None = None
    for task in inner:
        log = _log(server, run, task)
        found = _of_task(run, task, log)
        if type(found.error) is not Cd4mlError:
            return found
        if first is None or (log and not first.log):
            first = found
    return first or Failure(_typed(run.error, f"run {run.run_id} failed", run.url))


def shown(run: Run) -> list[Task]:
    """Return the tasks of a run that somebody wrote: what Kubeflow adds to run them is left out."""
    return [task for task in run.tasks if _is_shown(task.name)]


def _is_shown(name: str) -> bool:
    return not (name.endswith("-driver") or name in ("root", "executor"))


def _of_task(run: Run, task: Task, log: str) -> Failure:
    said = log if _ERROR.search(log) else task.error or log or run.error
    lines = log.splitlines()
    return Failure(
        _typed(said, f"task {task.name} failed", run.url), task.name, "\n".join(lines[-_LOG_LINES:])
    )


def _typed(text: str, what: str, url: str) -> Cd4mlError:
    """Return the error that a text tells of as the class that it had there: its exit code survives."""
    found = None
    for found in _ERROR.finditer(text):  # noqa: B007 - the last one is the one that was not handled
        pass
    if found is None:
        lines = text.strip().splitlines()
        return Cd4mlError(
            f"{what}: {lines[-1].strip() if lines else 'the server gives no reason'} (see {url})"
        )
    kind = _KINDS[getattr(cd4ml.errors, found[1]).exit_code]
    return kind(f"{what}: {found[2].strip()} (see {url})")


def _log(server: Server, run: Run, task: Task) -> str:
    """Return the log of a task's pod as the API server hands it through; "" when it has none."""
    for pod in task.pods:
        # Argo names a node NAME-NUMBER and its pod, in later versions, NAME-TEMPLATE-NUMBER.
        for name in (pod, re.sub(r"-(\d+)$", r"-system-container-impl-\1", pod)):
            path = f"/apis/v1alpha1/runs/{quote(run.run_id)}/nodes/{quote(name)}/log"
            try:
                text = server.text(path)
            except (ServiceError, UsageError, NotFoundError):
                continue
            if text.strip():
                return text
    return ""
