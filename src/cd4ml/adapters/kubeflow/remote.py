"""Runs on a Kubeflow Pipelines server: start one, never twice; look at it, stop it, list what is there."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cd4ml.adapters.kubeflow.remote_client import Server, equals, refused
from cd4ml.adapters.kubeflow.remote_versions import Version
from cd4ml.errors import ServiceError, UsageError

__all__ = [
    "ENDED",
    "PAUSES_SECONDS",
    "Order",
    "Run",
    "Task",
    "cancel",
    "experiment_id",
    "list_pipelines",
    "list_runs",
    "list_versions",
    "look",
    "pipeline_of",
    "start",
]

ENDED = frozenset({"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"})
"""The states that a run does not leave."""

_LOST = frozenset({"FAILED", "CANCELED", "CANCELING"})
PAUSES_SECONDS = (0.5, 2.0, 5.0)
"""Before each look for a run whose answer was lost: the server may still be at it."""


@dataclass(frozen=True)
class Order:
    """What is to be run.

    Attributes
    ----------
    version : Version
        Of the pipeline, as `publish` gave it.
    arguments : mapping of str to JSON value
        Checked by `check_arguments`. Secrets do not belong here.
    experiment, name : str
        What groups runs in the dashboard, and the run's name.
    service_account : str
        Kubernetes service account of the tasks; "" for the server's own choice.
    """

    version: Version
    arguments: Mapping[str, object]
    experiment: str
    name: str
    service_account: str = ""


@dataclass(frozen=True)
class Task:
    """One task of a run; `pods` are those that may have its log, the likeliest first."""

    name: str
    state: str
    error: str = ""
    pods: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """A run as the server tells it; `adopted` says that it was there before it was asked for."""

    run_id: str
    name: str
    state: str
    url: str
    experiment_id: str
    created_at: str = ""
    error: str = ""
    tasks: tuple[Task, ...] = ()
    adopted: bool = False

    @property
    def ended(self) -> bool:
        """Whether its state is the last one."""
        return self.state in ENDED

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        tasks = [{"name": one.name, "state": one.state, "error": one.error} for one in self.tasks]
        keys = ("run_id", "name", "state", "url", "experiment_id", "created_at", "error", "adopted")
        return {key: getattr(self, key) for key in keys} | {"tasks": tasks}


def start(
    server: Server, order: Order, submission: str = "", pauses_seconds: Sequence[float] = PAUSES_SECONDS
) -> Run:
    """Start a run; a lost answer does not start it twice.

    Each run carries an id in its description. When an answer is lost the run is looked for by it before it is
    asked for again. With a `submission` of the caller's own the same order finds its run later too, unless
    that has failed: a CI job that died and is started again goes on where it was.

    Raises
    ------
    UsageError
        When the server refuses the order.
    ServiceError
        When it cannot be reached, refuses the caller or fails.
    """
    key = _key(order, submission or uuid.uuid4().hex)
    group = experiment_id(server, order.experiment)
    found = _adopted(server, group, key) if submission else None
    for attempt in (1, 2):
        if found is not None:
            break
        try:
            made = server.ask(server.client.runs.run_service_create_run, run=_body(order, group, key))
            return _run(server, made)
        except ServiceError as error:
            found = None if refused(error) else _looked_for(server, group, key, pauses_seconds)
            if found is None and (attempt == 2 or refused(error)):
                raise
    assert found is not None
    return found


def look(server: Server, run_id: str) -> Run:
    """Return a run with its tasks; NotFoundError when the server has none of that id."""
    found = server.ask(server.client.runs.run_service_get_run, run_id)
    return _run(server, found)


def pipeline_of(server: Server, run_id: str) -> dict[str, Any] | None:
    """Return the compiled pipeline of a run, as the server has it; None for a run without a version."""
    found = server.ask(server.client.runs.run_service_get_run, run_id)
    named = found.pipeline_version_reference
    if not named or not named.pipeline_version_id:
        return None
    call = server.client.pipelines.pipeline_service_get_pipeline_version
    said = server.ask(call, named.pipeline_id, named.pipeline_version_id).pipeline_spec or {}
    pipeline = dict(said.get("pipeline_spec", said))
    return pipeline if "root" in pipeline else None


def cancel(server: Server, run_id: str) -> Run:
    """Ask the server to stop a run, unless it has ended; return it as it was found."""
    found = look(server, run_id)
    if not found.ended and found.state != "CANCELING":
        server.ask(server.client.runs.run_service_terminate_run, run_id)
    return found


def experiment_id(server: Server, name: str, make: bool = True) -> str:
    """Return the id of an experiment, made when there is none; "" when there is none and it is not made."""
    import kfp_server_api

    api = server.client.experiments
    for attempt in (1, 2):
        options = {"namespace": server.namespace, "filter": equals(display_name=name)}
        listed = server.pages(api.experiment_service_list_experiments, "experiments", **options)
        found = next((str(one.experiment_id) for one in listed if one.display_name == name), "")
        if found or not make:
            return found
        body = kfp_server_api.V2beta1Experiment(display_name=name, namespace=server.namespace or None)
        try:
            made = server.ask(api.experiment_service_create_experiment, experiment=body)
            return str(made.experiment_id)
        except (UsageError, ServiceError):
            if attempt == 2:  # the first time another job may have made it meanwhile, or the answer was lost
                raise
    raise AssertionError("the second attempt returns or raises")


def list_runs(server: Server, experiment: str = "", limit: int = 20) -> list[Run]:
    """Return the latest runs, of one experiment or of all, the newest first."""
    options: dict[str, Any] = {"sort_by": "created_at desc"}
    if experiment:
        group = experiment_id(server, experiment, make=False)
        if not group:
            return []
        options["experiment_id"] = group
    elif server.namespace:
        options["namespace"] = server.namespace
    listed = server.pages(server.client.runs.run_service_list_runs, "runs", **options)
    return [_run(server, one) for one, _ in zip(listed, range(limit), strict=False)]


def list_pipelines(server: Server) -> list[dict[str, str]]:
    """Return the pipelines of a server, by name."""
    call = server.client.pipelines.pipeline_service_list_pipelines
    listed = server.pages(call, "pipelines", namespace=server.namespace)
    found = [{"name": str(one.display_name), "pipeline_id": str(one.pipeline_id)} for one in listed]
    return sorted(found, key=lambda one: one["name"])


def list_versions(server: Server, pipeline_id: str, limit: int = 20) -> list[dict[str, str]]:
    """Return the latest versions of a pipeline, the newest first."""
    call = server.client.pipelines.pipeline_service_list_pipeline_versions
    options = {"pipeline_id": pipeline_id, "sort_by": "created_at desc"}
    listed = server.pages(call, "pipeline_versions", **options)
    return [
        {
            "name": str(one.display_name),
            "version_id": str(one.pipeline_version_id),
            "created_at": _time(one.created_at),
            "description": one.description or "",
        }
        for one, _ in zip(listed, range(limit), strict=False)
    ]


def _key(order: Order, submission: str) -> str:
    said = [submission, order.version.version_id, dict(order.arguments), order.experiment, order.name]
    return "cd4ml-" + hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:24]


def _body(order: Order, group: str, key: str) -> Any:
    import kfp_server_api

    return kfp_server_api.V2beta1Run(
        experiment_id=group,
        display_name=order.name,
        description=f"version {order.version.name}; submission {key}",
        pipeline_version_reference=kfp_server_api.V2beta1PipelineVersionReference(
            pipeline_id=order.version.pipeline_id, pipeline_version_id=order.version.version_id
        ),
        runtime_config=kfp_server_api.V2beta1RuntimeConfig(parameters=dict(order.arguments)),
        service_account=order.service_account or None,
    )


def _looked_for(server: Server, group: str, key: str, pauses_seconds: Sequence[float]) -> Run | None:
    """Return the run of a submission whose answer was lost, as soon as the server has it."""
    for pause in pauses_seconds:
        time.sleep(pause)
        found = _adopted(server, group, key)
        if found is not None:
            return found
    return None


def _adopted(server: Server, group: str, key: str) -> Run | None:
    """Return the run of this submission that has not failed."""
    wanted = {"operation": "IS_SUBSTRING", "key": "description", "stringValue": key}
    options = {"experiment_id": group, "filter": json.dumps({"predicates": [wanted]})}
    for one in server.pages(server.client.runs.run_service_list_runs, "runs", **options):
        if key in (one.description or "") and one.state not in _LOST:
            return replace(_run(server, one), adopted=True)
    return None


def _run(server: Server, found: Any) -> Run:
    details = getattr(found, "run_details", None)
    return Run(
        run_id=str(found.run_id),
        name=str(found.display_name),
        state=str(found.state or "PENDING"),
        url=f"{server.host}/#/runs/details/{found.run_id}",
        experiment_id=str(found.experiment_id),
        created_at=_time(found.created_at),
        error=_said(found),
        tasks=tuple(_tasks(details.task_details or () if details else ())),
    )


def _tasks(rows: Any) -> Iterator[Task]:
    for row in rows:
        executor = row.executor_detail
        jobs = [executor.main_job, *(executor.failed_main_jobs or ())] if executor else []
        pods = [row.pod_name, *jobs, *(child.pod_name for child in row.child_tasks or ())]
        told = tuple(dict.fromkeys(str(pod) for pod in pods if pod))
        yield Task(str(row.display_name), str(row.state or "PENDING"), _said(row), told)


def _said(row: Any) -> str:
    return " ".join(str((row.error and row.error.message) or "").split())


def _time(moment: Any) -> str:
    return moment.isoformat() if moment else ""
