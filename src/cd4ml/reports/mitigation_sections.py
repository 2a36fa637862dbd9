"""What each treatment against bias costs in accuracy and does to the gap, and which one was taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from cd4ml.reports.drawing import CHARACTER, WIDTH, Canvas, Scale, axes, shorten
from cd4ml.reports.figures import nothing
from cd4ml.reports.formats import count, dash, finite, number, words
from cd4ml.reports.metric_view import MetricView, estimate_of, estimates
from cd4ml.reports.page import STATUS_SIGNS, Cell, Estimate, Figure, Grid, Section, Status

__all__ = ["mitigation"]

Json = Mapping[str, Any]
_PARTS = (("folds", "on the folds"), ("holdout", "on the holdout"))


@dataclass(frozen=True)
class _Point:
    """A treatment on some rows: its gap in limits of the policy, and a metric."""

    number: int
    name: str
    gap: float
    metric: float
    chosen: bool


def mitigation(found: Json | None) -> Section | None:
    """Return the frontier of treatments; None where none was tried.

    Parameters
    ----------
    found : mapping or None
        mitigation.json.
    """
    entries: Sequence[Json] = (found or {}).get("treatments") or []
    if found is None or not entries:
        return None
    section = Section("mitigation", "Mitigation of bias")
    chosen = next((one for one in entries if one.get("chosen")), None)
    if chosen is not None:
        section.intro.append(f"Taken: {_label(chosen)}. The rule: {found.get('rule')}.")
    names = [name for name in _metrics(entries) if any(_value(one, "folds", name) for one in entries)]
    for name in names[:2]:
        section.figures.append(_figure(entries, MetricView(name)))
    section.tables.append(_table(entries, names))
    section.tables += _groups(chosen)
    section.outro.append(
        "The gap is the largest of any measure, column and crossing that may reject the model, as a multiple "
        "of what the policy allows. Treatments were chosen on the folds alone."
    )
    return section


def _label(entry: Json) -> str:
    return str(entry.get("label") or words(entry.get("name")))


def _metrics(entries: Sequence[Json]) -> list[str]:
    """Return the metrics that were measured, accuracy first."""
    found = [str(name) for one in entries for name in (one.get("folds") or {}).get("metrics") or {}]
    return sorted(dict.fromkeys(found), key=lambda name: name != "accuracy")


def _value(entry: Json, part: str, metric: str) -> Any:
    return ((entry.get(part) or {}).get("metrics") or {}).get(metric)


def _gap(entry: Json, part: str) -> float | None:
    """Return the largest gap as a multiple of its limit."""
    gap: Json = (entry.get(part) or {}).get("gap") or {}
    value, limit = finite(gap.get("value")), finite(gap.get("limit"))
    return None if value is None or not limit else value / limit


def _figure(entries: Sequence[Json], view: MetricView) -> Figure:
    numbers = {id(one): index for index, one in enumerate(entries, 1)}
    points: dict[str, list[_Point]] = {}
    for part, _ in _PARTS:
        points[part] = []
        for one in entries:
            gap, value = _gap(one, part), estimate_of(_value(one, part, view.name))
            if gap is not None and value is not None:
                chosen = bool(one.get("chosen"))
                points[part].append(_Point(numbers[id(one)], _label(one), gap, value, chosen))
    title = f"{view.title} against the largest gap"
    note = (
        "One number a treatment, as in the table; round: on the folds, square: on the holdout. Left of the "
        f"line the gap is allowed; {view.direction}."
    )
    return Figure(_frontier(points["folds"], points["holdout"], title, view), title, note)


def _frontier(folds: Sequence[_Point], holdout: Sequence[_Point], label: str, view: MetricView) -> Markup:
    """Draw metric over gap; what is one treatment is joined by a line."""
    every = [*folds, *holdout]
    if not every:
        return nothing(label)
    canvas = Canvas(300, label)
    y = Scale.over([one.metric for one in every], 250, 34, room=0.12)
    left = 12 + max(len(said) for _, said in y.ticks(4)) * CHARACTER
    x = Scale.over([0.0, 1.0, *(one.gap for one in every)], left, WIDTH - 16, room=0.06)
    axes(canvas, x, y, ("largest gap, in limits of the policy", view.axis))
    canvas.line(x(1.0), y.end, x(1.0), y.start, "r")
    canvas.text(min(x(1.0) + 5, WIDTH - 60), y.end + 10, "limit", "m")
    seen = {one.number: one for one in folds}
    for one in holdout:
        if one.number in seen:
            first = seen[one.number]
            canvas.line(x(first.gap), y(first.metric), x(one.gap), y(one.metric), "a")
    for points, part, square in ((folds, "folds", False), (holdout, "holdout", True)):
        for one in points:
            said = f"{one.number} {one.name}, {part}: gap {number(one.gap)}, {number(one.metric)}"
            role = "f2" if one.chosen else "f0"
            canvas.dot(x(one.gap), y(one.metric), role, said, radius=5, square=square)
    marks = [(x(one.gap), y(one.metric)) for one in every]
    named = [*folds, *(one for one in holdout if one.number not in seen)]
    _numbers(canvas, [(one, (x(one.gap), y(one.metric))) for one in named], marks, x(1.0))
    return canvas.svg()


def _numbers(
    canvas: Canvas,
    points: Sequence[tuple[_Point, tuple[float, float]]],
    marks: Sequence[tuple[float, float]],
    limit: float,
) -> None:
    """Write each treatment's number beside its mark, where neither marks nor other numbers stand."""
    boxes = [_Box(across - 6, down - 6, across + 6, down + 6) for across, down in marks]
    boxes.append(_Box(limit - 1, 0, limit + 40, 46))
    for one, (across, down) in points:
        said = f"{one.number}" + (" taken" if one.chosen else "")
        width = len(said) * CHARACTER
        places = [
            (across + dx, down + dy) for dy in (5, -9, 18, -22, 31) for dx in (9, -9 - width, -width / 2)
        ]
        found = next((place for place in places if _free(place, width, boxes, canvas.width)), None)
        if found is not None:
            canvas.text(*found, said, "m", title=shorten(one.name, 60))
            boxes.append(_Box.around(found, width))


@dataclass(frozen=True)
class _Box:
    """What must not be written over."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def around(cls, place: tuple[float, float], width: float) -> _Box:
        """Return the box of a text that begins at `place`, with its baseline there."""
        return cls(place[0] - 2, place[1] - 12, place[0] + width + 2, place[1] + 3)

    def meets(self, other: _Box) -> bool:
        """Whether both have a point in common."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def _free(place: tuple[float, float], width: float, boxes: Sequence[_Box], edge: float) -> bool:
    own = _Box.around(place, width)
    return own.left >= 0 and own.right <= edge and not any(own.meets(box) for box in boxes)


def _table(entries: Sequence[Json], names: Sequence[str]) -> Grid:
    head = ["treatment", "taken"]
    columns: list[Sequence[Cell]] = []
    for part, _ in _PARTS:
        if not any(one.get(part) for one in entries):
            continue
        for name in names:
            head.append(f"{MetricView(name).title}, {part}")
            columns.append(estimates([_value(one, part, name) for one in entries]))
        head.append(f"gap, {part}")
        columns.append([_gap_cell((one.get(part) or {}).get("gap") or {}) for one in entries])
    rows: list[list[Cell]] = [
        [
            f"{index} {_label(one)}",
            Status("pass", "taken") if one.get("chosen") else "–",
            *(column[index - 1] for column in columns),
            _where(one),
        ]
        for index, one in enumerate(entries, 1)
    ]
    head.append("where the largest gap is")
    plain = frozenset({"treatment", "taken", head[-1]})
    return Grid("Treatments that were tried", head, rows, plain, stacked=True)


def _gap_cell(gap: Json) -> Cell:
    if finite(gap.get("value")) is None or not gap.get("measure"):
        return "–"
    sign = STATUS_SIGNS["pass" if gap.get("within") else "fail"]
    return Estimate(f"{sign} {number(gap['value'])}", f"of {number(gap.get('limit'))}")


def _where(entry: Json) -> str:
    """Say between which groups the largest gap is; once where folds and holdout agree."""
    said = {}
    for part, name in _PARTS:
        gap: Json = (entry.get(part) or {}).get("gap") or {}
        if gap.get("measure"):
            groups = " and ".join(map(str, gap.get("groups") or []))
            said[name] = f"{words(gap['measure'])} by {gap.get('column')}" + (f": {groups}" if groups else "")
    if len(set(said.values())) <= 1:
        return next(iter(said.values()), "–")
    return "; ".join(f"{name} {text}" for name, text in said.items())


def _groups(chosen: Json | None) -> list[Grid]:
    """Return what the treatment that was taken does to each of its groups, on the holdout where known."""
    if chosen is None:
        return []
    part, said = next(((p, s) for p, s in reversed(_PARTS) if (chosen.get(p) or {}).get("groups")), ("", ""))
    found: Sequence[Json] = (chosen.get(part) or {}).get("groups") or []
    keys = [
        key for key in ("actual", "predicted", "selected", "right", "threshold") if key in (found or [{}])[0]
    ]
    rows: list[list[Cell]] = [
        [str(one.get("group")), count(one.get("n")), *(dash(one.get(key)) for key in keys)] for one in found
    ]
    titles = {"actual": "mean actual", "predicted": "mean predicted", "selected": "called positive",
              "right": "called right", "threshold": "threshold"}  # fmt: skip
    head = ("group", "rows", *(titles[key] for key in keys))
    caption = f"Groups of {_label(chosen)}, {said}"
    return [Grid(caption, head, rows, frozenset({"group"}), stacked=True)] if rows else []
