"""The page of runs: how a metric moved, and what differs between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cd4ml.reports.figures import Series, lines
from cd4ml.reports.formats import counted, day, flatten, limits, number, slug, words
from cd4ml.reports.metric_view import MetricView, estimate_of, estimates
from cd4ml.reports.page import Cell, Figure, Grid, Section, Status, chips, render

__all__ = ["runs_page"]

Run = Mapping[str, Any]
_SIGNS = {"accept": "pass", "reject": "fail", "needs_approval": "warn"}
_ALWAYS_DIFFER = {"id", "started", "ended", "seconds", "report"}
COMPARED = 6
"""So many of the newest runs stand side by side in the table of differences."""


def runs_page(runs: Sequence[Run], metric: str) -> str:
    """Return the page of run records (see `cd4ml.adapters.runs.Run`), one section a problem.

    Parameters
    ----------
    runs : sequence of mappings
        In any order; all but `id` may be missing from a record.
    metric : str
        The holdout metric whose trend is drawn.
    """
    view = MetricView(metric)
    ordered = sorted(runs, key=lambda run: (str(run.get("started", "")), str(run.get("id", ""))))
    problems = sorted({str(run.get("problem", "unnamed")) for run in ordered})
    groups = [
        (name, [run for run in ordered if str(run.get("problem", "unnamed")) == name]) for name in problems
    ]
    sections = [_section(name, found, view) for name, found in groups]
    if not sections:
        sections = [Section("runs", "Runs", absent="there are no runs yet; cd4ml run makes one.")]
    lead = [
        f"{counted(len(runs), 'run')} of {counted(len(problems), 'problem')}; {view.title} on the holdout "
        f"({view.direction})."
    ]
    return render("Runs", lead, sections)


def _holdout(run: Run, metric: str) -> Any:
    metrics = run.get("metrics")
    if not isinstance(metrics, Mapping):
        return None
    holdout = metrics.get("holdout", metrics)
    return holdout.get(metric) if isinstance(holdout, Mapping) else None


def _section(name: str, runs: Sequence[Run], view: MetricView) -> Section:
    section = Section(f"problem-{slug(name)}", words(name).capitalize())
    section.intro.append(", ".join(chips([_status(run).said for run in runs])) + ".")
    values = [_holdout(run, view.name) for run in runs]
    pairs = [limits(value) for value in values]
    one = Series(
        view.title,
        [estimate_of(value) for value in values],
        [low for low, _ in pairs],
        [high for _, high in pairs],
    )
    at = [str(run.get("started") or run.get("id")) for run in runs]
    svg = lines(at, [one], label=f"{view.title} of {words(name)} by run", unit=view.axis, points=True)
    section.figures.append(
        Figure(svg, f"{view.title} on the holdout by run", f"{view.description}. The band is its interval.")
    )
    section.tables.append(_table(runs, values, view))
    section.tables += _differences(runs)
    return section


def _status(run: Run) -> Status:
    decision = str(run.get("decision") or "not judged")
    return Status(_SIGNS.get(decision, "skipped"), words(decision))


def _table(runs: Sequence[Run], values: Sequence[Any], view: MetricView) -> Grid:
    rows: list[list[Cell]] = []
    for run, score in zip(reversed(runs), reversed(estimates(values)), strict=True):
        git: Mapping[str, Any] = run.get("git") or {}
        commit, _, dirty = str(git.get("commit") or "").partition("+")
        changed = run.get("changed")
        said = ", ".join(map(str, changed)) if isinstance(changed, list | tuple) else str(changed or "")
        made = [
            str(git.get("branch") or "–"),
            commit[:10] + (" (changed files)" if dirty or git.get("dirty") else "") or "–",
            str(run.get("snapshot") or "–")[:10],
            said or "–",
        ]
        started = day(run.get("started")) if run.get("started") else "–"
        rows.append([str(run.get("id")), _status(run), started, score, *made])
    head = ("run", "decision", "started", view.title, "branch", "commit", "snapshot", "changed")
    return Grid("Runs, the newest first", head, rows, frozenset(head) - {view.title}, stacked=True)


def _differences(runs: Sequence[Run]) -> list[Grid]:
    """Return what differs between the newest runs, one column a run."""
    newest = list(reversed(runs))[:COMPARED]
    if len(newest) < 2:
        return []
    flat = [{name: number(value) for name, value in flatten(run)} for run in newest]
    names = sorted({name for one in flat for name in one} - _ALWAYS_DIFFER)
    rows = [[name, *(one.get(name, "–") for one in flat)] for name in names]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    head = ("value", *(str(run.get("id")) for run in newest))
    caption = f"What differs between the newest {len(newest)} runs"
    return [Grid(caption, head, rows, frozenset(head), caption)] if rows else []
