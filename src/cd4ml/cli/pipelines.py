"""`cd4ml pipelines`: the compiled pipelines."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from cd4ml.cli.console import emit, note
from cd4ml.cli.table import table
from cd4ml.errors import UsageError

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
Name = Annotated[
    str, typer.Argument(help="A name from `cd4ml pipelines list`, or the path of a compiled YAML file.")
]
Image = Annotated[
    str, typer.Option(help="Run all tasks in this image, pinned by version or digest; else the compiled one.")
]


@app.command("list")
def list_pipelines(as_json: Json = False) -> None:
    """List the compiled pipelines that come with cd4ml.

    Example: cd4ml pipelines list
    """
    from cd4ml.adapters.kubeflow import names

    emit(names(), as_json, names())


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """Show the parameters of a pipeline, as the dashboard's form asks for them, and the image of its tasks.

    Example: cd4ml pipelines show training
    """
    from cd4ml.adapters.kubeflow.compiled import documents, images, parameters

    pipeline = documents(_file(name))[0]
    found: dict[str, Any] = {
        "name": pipeline["pipelineInfo"]["name"],
        "images": images(pipeline),
        "parameters": {
            key: {"default": one.get("defaultValue"), "description": one.get("description", "")}
            for key, one in sorted(parameters(pipeline).items())
        },
    }
    rows = [(key, one["default"], one["description"]) for key, one in found["parameters"].items()]
    lines = [f"{found['name']}, runs in {', '.join(found['images'])}", ""]
    emit(found, as_json, lines + table(("parameter", "default", "meaning"), rows, shown=_text))


@app.command()
def export(
    name: Name,
    out: Annotated[Path, typer.Option(help="Where to write the YAML.")],
    image: Image = "",
) -> None:
    """Write a compiled pipeline, to be uploaded in the Kubeflow dashboard.

    Example: cd4ml pipelines export training --out training.yaml --image registry.example/cd4ml-python:0.1.0
    """
    from cd4ml.adapters.kubeflow.compiled import with_image
    from cd4ml.adapters.storage.atomic import write_text

    if out.is_dir():
        raise UsageError(f"--out must be a file such as {out / 'pipeline.yaml'}; found a folder")
    file = _file(name)
    write_text(out, with_image(file, image) if image else file.read_text(encoding="utf-8"))
    note(f"wrote {out}")


@app.command()
def submit(
    name: Name,
    host: Annotated[str, typer.Option(help="URL of the Kubeflow Pipelines API.", envvar="KFP_HOST")],
    argument: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE; repeat it.")] = None,
    image: Image = "",
    namespace: Annotated[str, typer.Option(help="The profile's namespace; empty for a single user.")] = "",
    experiment: Annotated[str, typer.Option(help="The experiment's name.")] = "cd4ml",
    service_account: Annotated[str, typer.Option(help="Kubernetes service account of the tasks.")] = "",
    as_json: Json = False,
) -> None:
    """Start a pipeline on Kubeflow and return at once; `--set` gives its parameters, see `show`.

    A token comes from CD4ML_KFP_TOKEN, never from an option. Keys of the store come from a Kubernetes Secret,
    never from a parameter: docs/pipelines.md shows how to make it.

    Example: cd4ml pipelines submit training --host http://localhost:8888 --set problem=bike-demand
    """
    from cd4ml.adapters.kubeflow import submit as start
    from cd4ml.adapters.kubeflow.compiled import arguments_from_text, documents, with_image

    file = _file(name)
    given = arguments_from_text(documents(file)[0], _pairs(argument or []))
    with ExitStack() as stack:
        if image:
            text = with_image(file, image)
            file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / file.name
            file.write_text(text, encoding="utf-8")
        run = start(
            file,
            given,
            host=host,
            namespace=namespace,
            experiment=experiment,
            service_account=service_account,
        )
    emit(run, as_json, [f"started {run['run_id']}", run["url"]])


def _file(name: str) -> Path:
    """Return the YAML of an installed pipeline, or the path that was given."""
    from cd4ml.adapters.kubeflow import package

    return Path(name) if name.endswith((".yaml", ".yml")) else package(name)


def _pairs(items: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in items:
        key, sign, value = item.partition("=")
        if not sign or not key:
            raise UsageError(f"--set takes NAME=VALUE; found '{item}'")
        if key in found:
            raise UsageError(f"--set gives '{key}' twice; give it once")
        found[key] = value
    return found


def _text(value: object) -> str:
    return "-" if value in (None, "") else str(value)
