"""`cd4ml pipelines`: the compiled pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cd4ml.cli.console import emit, note
from cd4ml.errors import UsageError

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]


@app.command("list")
def list_pipelines(as_json: Json = False) -> None:
    """List the compiled pipelines that come with cd4ml.

    Example: cd4ml pipelines list
    """
    from cd4ml.adapters.compiled import names

    emit(names(), as_json, names())


@app.command()
def export(
    name: Annotated[str, typer.Argument(help="A name from `cd4ml pipelines list`.")],
    out: Annotated[Path, typer.Option(help="Where to write the YAML.")],
) -> None:
    """Write a compiled pipeline, to be uploaded in the Kubeflow dashboard.

    Example: cd4ml pipelines export training --out training.yaml
    """
    from cd4ml.adapters.compiled import compiled
    from cd4ml.adapters.storage.atomic import write_bytes

    if out.is_dir():
        raise UsageError(f"--out must be a file such as {out / (name + '.yaml')}; found a folder")
    write_bytes(out, compiled(name).read_bytes())
    note(f"wrote {out}")


@app.command()
def submit(
    name: Annotated[str, typer.Argument(help="A name from `cd4ml pipelines list`.")],
    host: Annotated[str, typer.Option(help="URL of the Kubeflow Pipelines API.", envvar="KFP_HOST")],
    argument: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE; repeat it.")] = None,
    namespace: Annotated[str, typer.Option(help="The profile's namespace.")] = "",
    experiment: Annotated[str, typer.Option(help="The experiment's name.")] = "cd4ml",
    as_json: Json = False,
) -> None:
    """Start a compiled pipeline on Kubeflow; a token comes from KF_PIPELINES_TOKEN, never from an option.

    Example: cd4ml pipelines submit training --host https://kubeflow --set problem=bike-demand
    """
    from cd4ml.adapters.compiled import compiled
    from cd4ml.adapters.kubeflow import submit as start

    pairs = [item.partition("=") for item in argument or []]
    wrong = [key for key, sign, _ in pairs if not sign]
    if wrong:
        raise UsageError(f"--set takes NAME=VALUE; found '{wrong[0]}'")
    run = start(compiled(name), {key: value for key, _, value in pairs}, host, namespace, experiment)
    emit(run, as_json, [f"started {run['run_id']}", run["url"]])
