"""`cd4ml runs`: what was run, and what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from cd4ml.cli.console import emit, note
from cd4ml.cli.runs_cycle_time import cycle_time
from cd4ml.cli.table import cell, sparkline, table, whole
from cd4ml.errors import UsageError

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Runs: list, show, compare, trend, cycle-time."
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
Branch = Annotated[str | None, typer.Option("--branch", "-b", help="Only runs of this git branch.")]
Problem = Annotated[str | None, typer.Option("--problem", "-p", help="Only runs of this problem.")]


def _store() -> Any:
    from cd4ml.adapters.runs import RunStore
    from cd4ml.adapters.storage import open_store

    return RunStore(open_store())


def _commit(run: Mapping[str, Any]) -> str:
    git = run.get("git") or {}
    commit, changes, _ = str(git.get("commit", "")).partition("+")
    return commit[:8] + ("+changes" if changes or git.get("dirty") else "")


@app.command("list")
def list_runs(
    problem: Problem = None,
    branch: Branch = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List the runs in the store, the newest first.

    Example: cd4ml runs list --problem bike-demand --limit 5
    """
    runs = _store().list(problem, branch, limit)
    rows = [
        (
            run.get("id"),
            run.get("problem"),
            run.get("started"),
            run.get("decision"),
            _commit(run),
            (run.get("git") or {}).get("branch"),
            run.get("seconds"),
        )
        for run in runs
    ]
    headers = ("run", "problem", "started", "decision", "commit", "branch", "seconds")
    nothing = ["no runs; make one with 'cd4ml run PROBLEM', or set CD4ML_STORE to the store that has them"]
    emit(runs, as_json, table(headers, rows) if rows else nothing)


@app.command()
def show(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="An id, its beginning, 'latest' or 'latest@BRANCH'.")
    ] = "latest",
    as_json: Json = False,
) -> None:
    """Show everything that was recorded of one run.

    Example: cd4ml runs show latest
    """
    from cd4ml.adapters.differences import flatten

    found = _store().get(run)
    emit(found, as_json, table(("name", "value"), sorted(flatten(found).items()), whole))


@app.command()
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN RUN...", help="Ids, beginnings of ids, 'latest' or 'latest@BRANCH'."),
    ],
    as_json: Json = False,
) -> None:
    """Show what differs between two runs or more: data, commit, parameters, metrics, decision.

    Example: cd4ml runs compare latest@main latest@trial
    """
    found = _store().compare(runs)
    rows = [(row.name, *row.values) for row in found]
    same = [f"the {len(runs)} runs do not differ, but for their times"]
    emit([asdict(row) for row in found], as_json, table(("what", *runs), rows) if rows else same)


@app.command()
def trend(
    metric: Annotated[str, typer.Argument(help="A metric of the holdout, such as wape.")],
    problem: Annotated[str, typer.Option("--problem", "-p", help="The problem whose runs are looked at.")],
    branch: Branch = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Draw it: write a page to this HTML file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how a metric went from run to run, the oldest first, with its confidence intervals.

    Example: cd4ml runs trend wape --problem sales-forecast --out trend.html
    """
    store = _store()
    points = store.trend(metric, problem, branch)
    if out is not None:
        _draw(store.list(problem, branch), metric, out)
    rows = [
        (point.time, point.commit[:8], point.branch, point.estimate, point.low, point.high)
        for point in points
    ]
    estimates = [point.estimate for point in points]
    line = f"{metric} of {problem}: {sparkline(estimates)}  {cell(min(estimates))} to {cell(max(estimates))}"
    emit(
        [asdict(point) for point in points],
        as_json,
        [line, "", *table(("time", "commit", "branch", metric, "low", "high"), rows)],
    )


app.command("cycle-time")(cycle_time)


def _draw(runs: Sequence[Mapping[str, Any]], metric: str, out: Path) -> None:
    from cd4ml.adapters.storage.atomic import write_text
    from cd4ml.reports.runs import runs_page

    if out.is_dir():
        raise UsageError(f"--out must be a file such as {out / 'trend.html'}; found a folder")
    write_text(out, runs_page(runs, metric))
    note(f"wrote {out}")
