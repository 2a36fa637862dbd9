"""`cd4ml pipelines submit`, `status`, `cancel` and `list`: runs on a Kubeflow Pipelines server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cd4ml.cli.console import emit, note
from cd4ml.cli.pipelines_progress import Progress, lines
from cd4ml.cli.pipelines_wish import (
    AllowDirty,
    Branch,
    Commit,
    Experiment,
    Host,
    Image,
    Json,
    Name,
    Namespace,
    ProblemReference,
    ServiceAccount,
    Set,
    open_server,
    wish,
)
from cd4ml.cli.table import table, whole
from cd4ml.errors import NotFoundError, nearest

if TYPE_CHECKING:
    from cd4ml.adapters.kubeflow.remote import Run
    from cd4ml.adapters.kubeflow.remote_client import Server

__all__ = ["Limit", "Listed", "cancel", "listed", "status", "submit"]

Limit = Annotated[int, typer.Option(min=1, help="How many at most, the newest first.")]
Listed = Annotated[
    Literal["installed", "pipelines", "versions", "runs"],
    typer.Argument(metavar="[installed|pipelines|versions|runs]", help="All but the first are a server's."),
]
_RunId = Annotated[str, typer.Argument(metavar="RUN", help="The id that `submit` printed.")]
_Timeout = Annotated[float, typer.Option(min=0, help="Seconds to wait; 0 for as long as it takes.")]
_Poll = Annotated[
    float, typer.Option(min=0.01, help="Seconds between two looks.", envvar="CD4ML_POLL_SECONDS")
]
_Wait = Annotated[bool, typer.Option("--wait", help="Wait for its end, and exit as it ended.")]
_Submission = Annotated[
    str,
    typer.Option(
        "--submission",
        help="An id of your own: the same order under the same id is started once, unless it failed.",
        envvar="CD4ML_SUBMISSION",
    ),
]


def submit(  # noqa: PLR0913, PLR0917 - each is an option
    name: Name,
    host: Host = "",
    argument: Set = None,
    image: Image = "",
    problem: ProblemReference = "",
    namespace: Namespace = "",
    experiment: Experiment = "",
    run_name: Annotated[str, typer.Option(help="Of the run; pipeline, problem and commit by default.")] = "",
    service_account: ServiceAccount = "",
    commit: Commit = "",
    branch: Branch = "",
    allow_dirty: AllowDirty = False,
    submission: _Submission = "",
    upload_only: Annotated[
        bool, typer.Option("--upload-only", help="Upload the version, run nothing.")
    ] = False,
    wait: _Wait = False,
    timeout_seconds: _Timeout = 0.0,
    poll_seconds: _Poll = 5.0,
    as_json: Json = False,
) -> None:
    """Upload a pipeline as the version of this commit and start it; `--set` gives its parameters, see `show`.

    The same commit twice makes no second version. With --wait the exit code says how the run ended: 0 done,
    3 a gate rejected, 4 data refused, 5 rolled back, 6 a service cannot be reached, 124 not in time, 1 else.

    A token comes from CD4ML_KFP_TOKEN, a session from CD4ML_KFP_COOKIE, never from an option. Keys of the
    store come from a Kubernetes Secret, never from a parameter.

    Example: cd4ml pipelines submit training --host http://localhost:8888 --set problem=bike-demand --wait
    """
    from cd4ml.adapters.kubeflow.compiled import documents
    from cd4ml.adapters.kubeflow.remote import start
    from cd4ml.steps.submit import place

    options = {"experiment": experiment, "name": run_name, "service_account": service_account}
    origin = {"commit": commit, "branch": branch, "allow_dirty": allow_dirty}
    server = open_server(host, namespace)
    with wish(name, argument, image, problem, runs=not upload_only, **options, **origin) as wanted:
        order = place(server, wanted)
        pipeline = documents(wanted.package)[0]
    version = {**vars(order.version), "experiment": order.experiment}
    verb = "uploaded" if order.version.created else "found"
    note(f"{verb} version {order.version.name} of {order.version.pipeline}")
    if upload_only:
        emit(version, as_json, [order.version.version_id])
        return
    run = start(server, order, submission)
    note(f"{'found' if run.adopted else 'started'} run {run.run_id} in experiment {order.experiment}")
    told = {"version": version, "adopted": run.adopted}
    if not wait:
        emit(run.to_dict() | told, as_json, [f"started {run.run_id}", run.url])
        return
    note(run.url)
    ended = _followed(server, run, pipeline, timeout_seconds, poll_seconds)
    emit(ended.to_dict() | told, as_json, [f"{ended.state.lower()} {ended.run_id}", ended.url])


def status(
    run: _RunId,
    host: Host = "",
    namespace: Namespace = "",
    wait: _Wait = False,
    timeout_seconds: _Timeout = 0.0,
    poll_seconds: _Poll = 5.0,
    as_json: Json = False,
) -> None:
    """Show a run and its tasks; with --wait until it has ended.

    Example: cd4ml pipelines status 5f0c9b2e-3d1a-4b6f-9c58-7a1e0d2b4c66 --host http://localhost:8888 --wait
    """
    from cd4ml.adapters.kubeflow.remote import look, pipeline_of

    server = open_server(host, namespace)
    found = look(server, run)
    if wait:
        found = _followed(server, found, pipeline_of(server, run), timeout_seconds, poll_seconds)
    emit(found.to_dict(), as_json, lines(found))


def cancel(run: _RunId, host: Host = "", namespace: Namespace = "", as_json: Json = False) -> None:
    """Stop a run; one that has ended stays as it is.

    Example: cd4ml pipelines cancel 5f0c9b2e-3d1a-4b6f-9c58-7a1e0d2b4c66 --host http://localhost:8888
    """
    from cd4ml.adapters.kubeflow import remote

    found = remote.cancel(open_server(host, namespace), run)
    said = f"had ended: {found.state.lower()}" if found.ended else "is being stopped"
    emit(
        {"run_id": found.run_id, "state": found.state, "cancelled": not found.ended},
        as_json,
        [f"{run} {said}"],
    )


def listed(
    what: str, host: str, namespace: str, pipeline: str, experiment: str, limit: int, as_json: bool
) -> None:
    """Print what a server has of pipelines, versions of a pipeline, or runs."""
    from cd4ml.adapters.kubeflow.remote import list_pipelines, list_runs, list_versions

    server = open_server(host, namespace)
    if what == "pipelines":
        found: list[dict[str, Any]] = [*list_pipelines(server)]
    elif what == "versions":
        known = {one["name"]: one["pipeline_id"] for one in list_pipelines(server)}
        if pipeline not in known:
            raise NotFoundError(
                f"expected a pipeline of {sorted(known)}, found '{pipeline}'{nearest(pipeline, known)}"
            )
        found = [*list_versions(server, known[pipeline], limit)]
    else:
        found = [
            {
                key: value
                for key, value in run.to_dict().items()
                if key in ("run_id", "name", "state", "created_at")
            }
            for run in list_runs(server, experiment, limit)
        ]
    keys = list(found[0]) if found else []
    emit(
        found,
        as_json,
        table(keys, [[one[key] for key in keys] for one in found], shown=whole) if found else [],
    )


def _followed(
    server: Server,
    run: Run,
    pipeline: Mapping[str, Any] | None,
    timeout_seconds: float,
    poll_seconds: float,
) -> Run:
    from cd4ml.steps.submit import follow

    seconds = {"timeout_seconds": timeout_seconds, "poll_seconds": poll_seconds}
    try:
        return follow(server, run, Progress(), note, pipeline, **seconds)
    except KeyboardInterrupt:
        note(f"run {run.run_id} goes on: `cd4ml pipelines cancel {run.run_id}` stops it")
        raise
