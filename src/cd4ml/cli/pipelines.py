"""`cd4ml pipelines`: the compiled pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cd4ml.cli.console import emit, note
from cd4ml.cli.pipelines_remote import Limit, Listed, cancel, listed, status, submit
from cd4ml.cli.pipelines_schedule import app as schedules
from cd4ml.cli.pipelines_wish import (
    Host,
    Image,
    Json,
    Name,
    Namespace,
    ProblemReference,
    file_of,
    settings_of,
)
from cd4ml.cli.table import table
from cd4ml.errors import UsageError

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command()(submit)
app.command()(status)
app.command()(cancel)
app.add_typer(schedules, name="schedule", help="Recurring runs: create, list, pause, resume, delete.")


@app.command("list")
def list_pipelines(
    what: Listed = "installed",
    host: Host = "",
    namespace: Namespace = "",
    pipeline: Annotated[str, typer.Option(help="Whose versions.")] = "cd4ml-training",
    experiment: Annotated[str, typer.Option(help="Whose runs; all by default.")] = "",
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """List the compiled pipelines that come with cd4ml, or what a server has of pipelines, versions and runs.

    Example: cd4ml pipelines list runs --host http://localhost:8888
    """
    from cd4ml.adapters.kubeflow import names

    if what == "installed":
        emit(names(), as_json, names())
    else:
        listed(what, host, namespace, pipeline, experiment, limit, as_json)


@app.command()
def show(name: Name, problem: ProblemReference = "", as_json: Json = False) -> None:
    """Show the parameters of a pipeline, as the dashboard's form asks for them, and the image of its tasks.

    With --problem also what each task gets on a cluster.

    Example: cd4ml pipelines show training --problem sales-forecast
    """
    from cd4ml.adapters.kubeflow.compiled import documents, images, parameters
    from cd4ml.adapters.kubeflow.task_settings import with_settings
    from cd4ml.adapters.kubeflow.task_view import HEADERS, effective, rows

    compiled = documents(file_of(name))
    pipeline = compiled[0]
    found: dict[str, Any] = {
        "name": pipeline["pipelineInfo"]["name"],
        "images": images(pipeline),
        "parameters": {
            key: {"default": one.get("defaultValue"), "description": one.get("description", "")}
            for key, one in sorted(parameters(pipeline).items())
        },
    }
    meanings = [(key, one["default"], one["description"]) for key, one in found["parameters"].items()]
    lines = [f"{found['name']}, runs in {', '.join(found['images'])}", ""]
    lines += table(("parameter", "default", "meaning"), meanings, shown=_text)
    settings = settings_of(problem)
    if settings is not None:
        found["tasks"] = effective(with_settings(compiled, settings))
        lines += ["", *table(HEADERS, rows(found["tasks"]), shown=_text)]
    emit(found, as_json, lines)


@app.command()
def export(
    name: Name,
    out: Annotated[Path, typer.Option(help="Where to write the YAML.")],
    image: Image = "",
    problem: ProblemReference = "",
) -> None:
    """Write a compiled pipeline, to be uploaded in the Kubeflow dashboard.

    Example: cd4ml pipelines export training --out training.yaml --problem sales-forecast
    """
    from cd4ml.adapters.kubeflow.task_settings import rendered
    from cd4ml.adapters.storage.atomic import write_text

    if out.is_dir():
        raise UsageError(f"--out must be a file such as {out / 'pipeline.yaml'}; found a folder")
    write_text(out, rendered(file_of(name), settings_of(problem), image))
    note(f"wrote {out}")


def _text(value: object) -> str:
    return "-" if value in (None, "") else str(value)
