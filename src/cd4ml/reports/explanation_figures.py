"""The charts of explanations: an effect along a feature, and how one prediction comes about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from cd4ml.reports.drawing import CHARACTER, WIDTH, Canvas, Scale, axes, shorten
from cd4ml.reports.figures import Dot, dots, nothing
from cd4ml.reports.formats import count, finite, limits, number

__all__ = ["effect_curve", "effect_levels", "waterfall"]

Json = Mapping[str, Any]


def effect_curve(points: Sequence[Json], *, label: str, titles: tuple[str, str]) -> Markup:
    """Draw the effect of a number with its band; each mark ends a bin of about as many rows."""
    known = [
        (x, y, *limits(one), f"{number(x)}: {number(y)}, {count(one.get('n'))} rows")
        for one in points
        for x, y in [(finite(one.get("at")), finite(one.get("estimate")))]
        if x is not None and y is not None
    ]
    if len(known) < 2:
        return nothing(label)
    canvas = Canvas(250, label)
    heights = [value for _, *three, _ in known for value in three if value is not None]
    y = Scale.over([*heights, 0.0], 200, 30, room=0.08)
    left = 12 + max(len(said) for _, said in y.ticks(4)) * CHARACTER
    x = Scale.over([one[0] for one in known], left, WIDTH - 16, room=0.02)
    axes(canvas, x, y, titles)
    canvas.line(left, y(0), x.end, y(0), "r")
    banded = [(px, low, high) for px, _, low, high, _ in known if low is not None and high is not None]
    if len(banded) > 1:
        edge = [(x(px), y(high)) for px, _, high in banded] + [(x(px), y(low)) for px, low, _ in banded[::-1]]
        canvas.path(edge, "b0", closed=True)
    canvas.path([(x(px), y(py)) for px, py, *_ in known], "l c0")
    for px, py, _, _, said in known:
        canvas.line(x(px), y.start, x(px), y.start - 5, "a")
        canvas.dot(x(px), y(py), "f0", said, radius=2.5)
    return canvas.svg()


def effect_levels(points: Sequence[Json], *, label: str, axis: str) -> Markup:
    """Draw the effect of each category, the highest first."""
    ordered = sorted(points, key=lambda one: -(finite(one.get("estimate")) or 0.0))
    rows = [
        Dot(
            str(one.get("at")),
            finite(one.get("estimate")),
            *limits(one),
            note=f"{count(one.get('n'))} rows",
        )
        for one in ordered
    ]
    return dots(rows, label=label, axis=axis, reference=(0.0, "mean"))


def waterfall(base: object, parts: Sequence[tuple[str, object]], *, label: str, axis: str) -> Markup:
    """Draw how a sum comes about: from the base, each part from where the one before it ended."""
    start = finite(base)
    known = [(said, value) for said, part in parts if (value := finite(part)) is not None]
    if start is None or not known:
        return nothing(label)
    ends = [start]
    for _, value in known:
        ends.append(ends[-1] + value)
    bottom = 34.0 + 24 * (len(known) + 1)
    canvas = Canvas(bottom + 44, label)
    room = min(215.0, max(len(said) for said, _ in known) * CHARACTER + 8)
    x = Scale.over(ends, room + 8, WIDTH - 10 * CHARACTER)
    for value, said in x.ticks(4):
        canvas.line(x(value), 26, x(value), bottom, "g")
        canvas.text(x(value), bottom + 17, said, "m", anchor="middle")
    canvas.text((x.start + x.end) / 2, bottom + 36, axis, "m", anchor="middle")
    canvas.line(x(start), 26, x(start), bottom, "r")
    canvas.text(x(start), 17, f"base {number(start)}", "m", anchor="middle")
    for index, (said, value) in enumerate(known):
        top = 34.0 + 24 * index
        _part(canvas, x, top, room, said, value, ends[index])
    canvas.text(0, bottom - 7, "together", "t")
    canvas.dot(x(ends[-1]), bottom - 11, "d0", f"together: {number(ends[-1])}", radius=4.5)
    canvas.text(WIDTH, bottom - 7, number(ends[-1]), "t", anchor="end")
    return canvas.svg()


def _part(canvas: Canvas, x: Scale, top: float, room: float, said: str, value: float, begin: float) -> None:
    """Draw one bar: blue to the right, orange to the left; the sign is written too."""
    sign = "+" if value > 0 else ""
    shown = f"{sign}{number(value)}"
    low = min(begin, begin + value)
    canvas.text(0, top + 15, shorten(said, int((room - 8) / CHARACTER + 0.01), middle=True), "t", title=said)
    width = x(low + abs(value)) - x(low)
    canvas.box(x(low), top + 4, width, 14, "f0" if value >= 0 else "f1", f"{said}: {shown}")
    canvas.text(WIDTH, top + 15, shown, "t", anchor="end")
