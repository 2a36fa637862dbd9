"""The page of a rollout: its phases, the evidence as it grew, and why each decision was taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import log
from typing import TYPE_CHECKING, Any

from cd4ml.reports.drawing import Canvas, Scale, axes, time_ticks
from cd4ml.reports.formats import number, slug
from cd4ml.reports.page import Cell, Code, Fact, Figure, Grid, Section, Status, render

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["rollout_page"]

Point = Mapping[str, Any]
_SIGNS = {"promoted": "pass", "rolled_back": "fail", "aborted": "fail"}
_WORDS = {"rolled_back": "taken back", "verify": "being verified", "approval": "waiting for approval"}
_LEFT, _RIGHT, _TOP, _HEIGHT = 52.0, 428.0, 24.0, 200.0


def rollout_page(found: Mapping[str, Any]) -> str:
    """Return the page of what `steps.rollout.rollout_status` returned."""
    rollout, points = found["rollout"], list(found["trail"])
    candidate, stable = rollout["candidate"]["reference"], rollout["stable"]["reference"]
    phase = rollout["phase"]
    word = _WORDS.get(phase, phase)
    decision = (Status(_SIGNS.get(phase, "warn"), word), f"{candidate} is {word}")
    percent = rollout["history"][-1]["canary_percent"] if rollout["history"] else 0.0
    facts = [
        Fact("answers by the candidate", f"{percent:g} %"),
        Fact("requests in this step", number(found["look"].get("requests", 0))),
        Fact("looked after by", found["controller"] or "nobody"),
    ]
    sections = [_way(rollout, points), *_evidence(found, points), _identity(rollout)]
    lead = [f"{candidate} is to replace {stable}."]
    return render(f"Rollout of {rollout['service']}", lead, sections, decision=decision, facts=facts)


def _way(rollout: Mapping[str, Any], points: Sequence[Point]) -> Section:
    section = Section("way", "What happened")
    rows: list[Sequence[Cell]] = [
        (
            _time(one["at_seconds"]),
            one["phase"],
            f"{one['canary_percent']:g} %",
            one["by"],
            "; ".join(one["reasons"]),
        )
        for one in rollout["history"]
    ]
    head = ("time (UTC)", "phase", "share", "by", "why")
    section.tables.append(Grid("Each decision and its reasons", head, rows, frozenset(head), stacked=True))
    section.points += [f"It waits: {one}" for one in rollout["waiting"]]
    if len(points) > 1:
        svg = _lines(points, [[(one["at_seconds"], one["percent"]) for one in points]], 100.0, "percent")
        section.figures.append(Figure(svg, "Share of the answers", "that the candidate gave."))
    return section


def _evidence(found: Mapping[str, Any], points: Sequence[Point]) -> list[Section]:
    """Return a section a metric, each step's e-values on their way to 1 / alpha."""
    alpha = float(found["policy"].get("alpha", 0.05))
    names = dict.fromkeys(one["name"] for point in points for one in point["evidence"])
    if not names:
        return [Section("evidence", "Evidence", absent="no look has found any yet.")]
    return [_metric(name, points, alpha) for name in names]


def _metric(name: str, points: Sequence[Point], alpha: float) -> Section:
    section = Section(f"metric-{slug(name)}", name.capitalize())
    for key, title in (("harm", "Harm"), ("safe", "No harm")):
        runs = _runs(points, name, key)
        if not any(runs):
            continue
        limit = log(1 / alpha)
        note = f"log e-value; decided at {limit:.3g} (1 / {alpha:g})" + (
            ", shared among the metrics." if key == "harm" else "."
        )
        section.figures.append(Figure(_lines(points, runs, limit, "log e-value", mark=limit), title, note))
    last = next(one for point in reversed(points) for one in point["evidence"] if one["name"] == name)
    known = last["low"] is not None and last["high"] is not None
    interval = f" ({last['low']:.3g} to {last['high']:.3g})" if known else ""
    estimate = "none yet" if last["estimate"] is None else f"{last['estimate']:.3g}{interval}"
    section.intro.append(f"Estimate {estimate} from {last['units']:,} observations.")
    return section


def _runs(points: Sequence[Point], name: str, key: str) -> list[list[tuple[float, float]]]:
    """Return the values of a metric as one line a step: evidence begins anew in each."""
    runs: list[list[tuple[float, float]]] = []
    before: object = None
    for point in points:
        step = (point["phase"], point["step"])
        if step != before:
            runs.append([])
        before = step
        values = [one[key] for one in point["evidence"] if one["name"] == name and one[key] is not None]
        runs[-1] += [(point["at_seconds"], max(value, 0.0)) for value in values]
    return [run for run in runs if run]


def _lines(
    points: Sequence[Point],
    runs: Sequence[Sequence[tuple[float, float]]],
    high: float,
    unit: str,
    mark: float | None = None,
) -> Markup:
    first, last = points[0]["at_seconds"], max(points[-1]["at_seconds"], points[0]["at_seconds"] + 1)
    most = max([high, *(value for run in runs for _, value in run)])
    x = Scale(first, last, _LEFT, _RIGHT)
    y = Scale(0.0, min(most, 4 * high) * 1.05, _HEIGHT - 46, _TOP)
    canvas = Canvas(_HEIGHT, f"{unit} over time, last {runs[-1][-1][1]:.3g}" if runs else unit)
    axes(canvas, x, y, ("time (UTC)", unit), _ticks(first, last))
    if mark is not None:
        canvas.line(_LEFT, y(mark), _RIGHT, y(mark), "limit", f"decided at {mark:.3g}")
    for run in runs:
        if len(run) > 1:
            canvas.path([(x(at), y.clamped(value)) for at, value in run], "l c0")
        at, value = run[-1]
        canvas.dot(x(at), y.clamped(value), "d0", f"{value:.3g} at {_time(at)}")
    return canvas.svg()


def _ticks(first: float, last: float) -> list[tuple[float, str]]:
    if last - first > 6 * 3600:
        return time_ticks(datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC))
    places = [first + (last - first) * part / 4 for part in range(5)]
    return [(at, datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")) for at in places]


def _identity(rollout: Mapping[str, Any]) -> Section:
    section = Section("identity", "What is what")
    rows: list[Sequence[Cell]] = [
        (name, rollout[name]["reference"], rollout[name]["version"], Code(rollout[name]["bundle"]))
        for name in ("candidate", "stable")
    ]
    head = ("role", "model", "version", "bundle")
    section.tables.append(Grid(f"Rollout {rollout['id']}", head, rows, frozenset(head)))
    return section


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
