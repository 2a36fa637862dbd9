"""`cd4ml problem`: use cases as data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cd4ml.cli.console import emit, note
from cd4ml.errors import UsageError

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Problem files: a use case as data.")

Reference = Annotated[str, typer.Argument(help="A shipped name, a path or a URL.", metavar="PROBLEM")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]


@app.command("list")
def list_problems(as_json: Json = False) -> None:
    """List the problems that come with cd4ml.

    Example: cd4ml problem list
    """
    from cd4ml.adapters.problem_files import load, shipped

    found = {name: load(name).description for name in shipped()}
    emit(found, as_json, [f"{name:16} {description}" for name, description in found.items()])


@app.command()
def check(problem: Reference, as_json: Json = False) -> None:
    """Check a problem file; name line, key, what was found and the nearest right word.

    Example: cd4ml problem check my-problem.yaml
    """
    from cd4ml.adapters.problem_files import load
    from cd4ml.features.plan import compile_plan

    found = load(problem)
    names = list(compile_plan(found).names)
    told = found.kubernetes.told()
    summary = {"name": found.name, "task": found.task, "tables": sorted(found.tables), "features": names}
    line = f"{problem}: right. {found.task}, {len(found.tables)} tables, {len(names)} features"
    lines = [f"{line}, {len(found.candidates)} candidates"]
    lines += [f"on Kubernetes, {name}: {', '.join(keys)}" for name, keys in told.items()]
    emit({**summary, "kubernetes": told}, as_json, lines)


@app.command()
def show(problem: Reference) -> None:
    """Print a problem with all of its defaults written out, as JSON; of `kubernetes` what was said.

    Example: cd4ml problem show sales-forecast
    """
    from cd4ml.adapters.problem_files import dumps, load

    typer.echo(dumps(load(problem), kubernetes=True), nl=False)


@app.command()
def schema() -> None:
    """Print the JSON Schema of problem files, for editors.

    With the YAML extension of an editor, begin a file with
    `# yaml-language-server: $schema=problem.schema.json`.

    Example: cd4ml problem schema > problem.schema.json
    """
    from cd4ml.problem import Problem

    emit(Problem.model_json_schema(), as_json=True)


@app.command()
def init(
    sample: Annotated[Path, typer.Argument(help="A CSV, CSV.gz or Parquet file with a header.")],
    target: Annotated[str, typer.Option(help="The column to predict.")],
    time: Annotated[str, typer.Option(help="The date or timestamp column of a forecast.")] = "",
    entity: Annotated[
        list[str] | None, typer.Option(help="A column that tells series apart; repeat it.")
    ] = None,
    horizon: Annotated[str, typer.Option(help="How far ahead a forecast looks, e.g. 7d.")] = "7d",
    out: Annotated[Path | None, typer.Option(help="Where to write; standard output by default.")] = None,
) -> None:
    """Draft a problem file from a sample: types, nulls, features and baselines to begin with.

    Example: cd4ml problem init sales.csv --target units --time day --entity shop --out sales.yaml
    """
    from cd4ml.adapters.problem_files import loads
    from cd4ml.adapters.storage.atomic import write_text
    from cd4ml.tables.draft import draft_problem

    text = draft_problem(sample, target, time, entity or [], horizon)
    loads(text, origin=str(out or "the draft"))
    if out is None:
        typer.echo(text, nl=False)
        return
    if out.exists():
        raise UsageError(f"{out} exists; give another name or remove it")
    write_text(out, text)
    note(f"wrote {out}. Next: read it, then `cd4ml run {out} --data {sample.parent} --out out`")
