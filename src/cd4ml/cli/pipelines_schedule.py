"""`cd4ml pipelines schedule`: recurring runs on a Kubeflow Pipelines server."""

from __future__ import annotations

from typing import Annotated

import typer

from cd4ml.cli.console import emit, note
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

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
_Schedule = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Its name or id, see `list`.")]


@app.command()
def create(  # noqa: PLR0913, PLR0917 - each is an option
    name: Name,
    host: Host = "",
    cron: Annotated[str, typer.Option(help="5 fields, or 6 with seconds first; UTC.")] = "",
    every: Annotated[str, typer.Option(help="An interval instead, such as 30m, 6h or 1d.")] = "",
    catchup: Annotated[bool, typer.Option("--catchup", help="Make up for runs that were missed.")] = False,
    max_concurrency: Annotated[int, typer.Option(min=1, max=10, help="Runs under way at once.")] = 1,
    start: Annotated[str, typer.Option(help="No run before this moment (RFC 3339).")] = "",
    end: Annotated[str, typer.Option(help="No run after it.")] = "",
    schedule_name: Annotated[
        str, typer.Option("--name", help="Pipeline, problem and branch by default.")
    ] = "",
    argument: Set = None,
    image: Image = "",
    problem: ProblemReference = "",
    namespace: Namespace = "",
    experiment: Experiment = "",
    service_account: ServiceAccount = "",
    commit: Commit = "",
    branch: Branch = "",
    allow_dirty: AllowDirty = False,
    as_json: Json = False,
) -> None:
    """Let a pipeline run again and again, in the version of this commit.

    A schedule of the same name is replaced, so that the command can be part of every deployment; one that is
    as it is wanted stays.

    Example: cd4ml pipelines schedule create training --host http://localhost:8888 --cron "0 6 * * *"
    """
    from cd4ml.adapters.kubeflow import remote_schedules as schedules
    from cd4ml.steps.submit import check, named_for_branch, place

    interval = schedules.seconds(every) if every else 0
    when = schedules.When(cron, interval, catchup, max_concurrency, start, end)
    options = {"experiment": experiment, "name": schedule_name, "service_account": service_account}
    origin = {"commit": commit, "branch": branch, "allow_dirty": allow_dirty}
    server = open_server(host, namespace)
    with wish(name, argument, image, problem, runs=True, **options, **origin) as wanted:
        _, git = check(wanted)
        order = place(server, named_for_branch(wanted, git.branch))
    made, replaced = schedules.create(server, order, when)
    for one in replaced:
        note(f"replaced schedule {one}")
    emit(
        made.to_dict(), as_json, [f"{made.name}: {made.when}, version {order.version.name}", made.schedule_id]
    )


@app.command("list")
def list_schedules(host: Host = "", namespace: Namespace = "", as_json: Json = False) -> None:
    """List the recurring runs of a server.

    Example: cd4ml pipelines schedule list --host http://localhost:8888
    """
    from cd4ml.adapters.kubeflow import remote_schedules as schedules

    found = schedules.list_schedules(open_server(host, namespace))
    rows = [(one.name, one.status.lower(), one.when, one.schedule_id) for one in found]
    emit(
        [one.to_dict() for one in found], as_json, table(("name", "status", "when", "id"), rows, shown=whole)
    )


@app.command()
def pause(schedule: _Schedule, host: Host = "", namespace: Namespace = "") -> None:
    """Stop a schedule from starting runs.

    Example: cd4ml pipelines schedule pause training-main --host http://localhost:8888
    """
    _changed("pause", schedule, host, namespace)


@app.command()
def resume(schedule: _Schedule, host: Host = "", namespace: Namespace = "") -> None:
    """Let a schedule that was paused start runs again.

    Example: cd4ml pipelines schedule resume training-main --host http://localhost:8888
    """
    _changed("resume", schedule, host, namespace)


@app.command()
def delete(schedule: _Schedule, host: Host = "", namespace: Namespace = "") -> None:
    """Remove a schedule; the runs that it has started stay.

    Example: cd4ml pipelines schedule delete training-main --host http://localhost:8888
    """
    _changed("delete", schedule, host, namespace)


def _changed(verb: str, schedule: str, host: str, namespace: str) -> None:
    from cd4ml.adapters.kubeflow import remote_schedules as schedules

    done = {"pause": schedules.pause, "resume": schedules.resume, "delete": schedules.delete}[verb]
    found = done(open_server(host, namespace), schedule)
    note(f"{verb}d {found.name} ({found.schedule_id})")
