"""The charts of the pages: values in, an inline SVG out. Absent and non-finite values are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

from cd4ml.reports.drawing import (
    CHARACTER,
    ROW,
    WIDTH,
    Canvas,
    Scale,
    Tick,
    axes,
    shorten,
    spread,
    time_ticks,
)
from cd4ml.reports.formats import alike, band, count, finite, limits, moment, number

__all__ = [
    "Dot",
    "Part",
    "Series",
    "Strip",
    "curve",
    "dots",
    "heatmap",
    "histogram",
    "lines",
    "nothing",
    "strips",
]

Value = float | None


@dataclass(frozen=True)
class Dot:
    """One row of a dot-and-whisker chart; `mark` 0 is the model, 1 what it is compared with, 2 too small.

    `note` is said on hovering, `tag` is written behind the value. The axis need not reach a `far` one:
    outside of it, it stands at the edge with an arrow.
    """

    label: str
    estimate: Value
    low: Value = None
    high: Value = None
    mark: int = 0
    note: str = ""
    tag: str = ""
    far: bool = False


@dataclass(frozen=True)
class Series:
    """One line over time or over x, with an optional band."""

    name: str
    values: Sequence[Value]
    low: Sequence[Value] = ()
    high: Sequence[Value] = ()


@dataclass(frozen=True)
class Part:
    """A stretch of a strip. `start` and `end` are seconds since 1970, or rows counted from 0."""

    kind: str
    start: float
    end: float
    said: str


@dataclass(frozen=True)
class Strip:
    """A row of a split's picture: a line of text above a bar."""

    label: str
    parts: Sequence[Part]


def nothing(label: str) -> Markup:
    """Return a figure that says that there is nothing to draw."""
    canvas = Canvas(84, f"{label}: nothing to draw")
    canvas.box(0.5, 0.5, WIDTH - 1, 83, "e")
    canvas.text(WIDTH / 2, 47, "Nothing to draw: no values", "m", anchor="middle")
    return canvas.svg()


def dots(
    rows: Sequence[Dot],
    *,
    label: str,
    axis: str,
    reference: tuple[float, str] | None = None,
    within: Sequence[float] = (),
    dashed: Sequence[float] = (),
) -> Markup:
    """Draw estimates as dots with their intervals as whiskers, one row each, the value written at the end.

    The axis reaches over `within` in any case. `dashed` are lines like the reference, without a text; those
    outside of the axis are left out.
    """
    shown = [row for row in rows if finite(row.estimate) is not None]
    if not shown:
        return nothing(label)
    tails = _tails(shown)
    room = min(205.0, max(len(row.label) for row in shown) * CHARACTER + 8)
    near = [row for row in shown if not row.far] or shown
    values = [v for row in near for v in map(finite, (row.estimate, row.low, row.high)) if v is not None]
    values += [*within, reference[0]] if reference else within
    top, bottom = 26.0 if reference else 8.0, (34.0 if reference else 16.0) + 24 * len(shown)
    canvas = Canvas(bottom + 44, label)
    x = Scale.over(values, room + 8, WIDTH - 24 - max(map(len, tails)) * CHARACTER)
    y = Scale(0, len(shown), bottom, top)
    for value, said in x.ticks(4):
        canvas.line(x(value), top, x(value), bottom, "g")
        canvas.text(x(value), bottom + 17, said, "m", anchor="middle")
    canvas.text((x.start + x.end) / 2, bottom + 36, axis, "m", anchor="middle")
    if reference:
        canvas.line(x(reference[0]), top - 4, x(reference[0]), bottom, "r")
        half = len(reference[1]) * CHARACTER / 2
        canvas.text(
            min(max(x(reference[0]), half), WIDTH - half), top - 9, reference[1], "m", anchor="middle"
        )
    for place in (place for place in dashed if x.low <= place <= x.high):
        canvas.line(x(place), top - 4, x(place), bottom, "r")
    for index, row in enumerate(shown):
        height = y(len(shown) - index - 0.5)
        role = "m" if row.mark == 2 else "t"
        said = shorten(row.label, int((room - 8) / CHARACTER + 0.01), middle=True)
        canvas.text(0, height + 4.5, said, role, title=row.label)
        _dot_row(canvas, row, x, height)
        canvas.text(WIDTH, height + 4.5, tails[index], role, anchor="end")
    return canvas.svg()


def _tails(rows: Sequence[Dot]) -> list[str]:
    """Return what is written at the end of each row."""
    said = alike([row.estimate for row in rows])
    return [text + (f" ({row.tag})" if row.tag else "") for text, row in zip(said, rows, strict=True)]


def _dot_row(canvas: Canvas, row: Dot, x: Scale, height: float) -> None:
    interval = band((row.low, row.high))
    title = f"{row.label}: {number(row.estimate)}" + (f", interval {interval}" if interval else "")
    title += f" ({row.note})" if row.note else ""
    estimate, low, high = finite(row.estimate), finite(row.low), finite(row.high)
    if low is not None and high is not None:
        canvas.line(x.clamped(low), height, x.clamped(high), height, f"w c{row.mark}", title)
        for end in (low, high):
            if x.low <= end <= x.high:
                canvas.line(x(end), height - 4, x(end), height + 4, f"w c{row.mark}")
    if estimate is not None:
        place = x.clamped(estimate)
        canvas.dot(place, height, f"d{row.mark}", title, radius=4.5, square=row.mark == 1)
        if not x.low <= estimate <= x.high:
            above = estimate > x.high
            arrow, anchor = ("→", "start") if above else ("←", "end")
            canvas.text(place + (7 if above else -7), height + 4.5, arrow, "m", anchor=anchor)


def _segments(xs: Sequence[float], ys: Sequence[Value]) -> list[list[tuple[float, float]]]:
    """Split into runs without gaps."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(xs, ys, strict=True):
        known = finite(y)
        if known is None:
            runs.append([])
        else:
            runs[-1].append((x, known))
    return [run for run in runs if run]


def _series(canvas: Canvas, one: Series, index: int, xs: Sequence[float], y: Scale) -> None:
    if one.low and one.high:
        known = [
            (px, finite(low), finite(high))
            for px, low, high in zip(xs, one.low, one.high, strict=True)
            if finite(low) is not None and finite(high) is not None
        ]
        edge = [(px, y(high or 0)) for px, _, high in known] + [
            (px, y(low or 0)) for px, low, _ in known[::-1]
        ]
        if len(known) == 1:
            canvas.line(known[0][0], y(known[0][1] or 0), known[0][0], y(known[0][2] or 0), f"w c{index}")
        elif edge:
            canvas.path(edge, f"b{index}", closed=True)
    for run in _segments(xs, one.values):
        pixels = [(px, y(value)) for px, value in run]
        if len(run) == 1:
            canvas.dot(*pixels[0], f"f{index}", radius=2.5)
        else:
            canvas.path(pixels, f"l c{index}")


def _end_labels(canvas: Canvas, series: Sequence[Series], y: Scale, x: float) -> None:
    """Name each line at its end; the names are kept apart and coloured as their lines."""
    ends = [next((v for v in map(finite, reversed(one.values)) if v is not None), None) for one in series]
    named = [(index, y(end)) for index, end in enumerate(ends) if end is not None]
    places = spread([place for _, place in named], ROW, y.end + 4, y.start - 2)
    for (index, _), place in zip(named, places, strict=True):
        canvas.text(
            x + 6, place + 4.5, shorten(series[index].name, 15), f"n{index}", title=series[index].name
        )


def lines(
    at: Sequence[str],
    series: Sequence[Series],
    *,
    label: str,
    unit: str,
    zero: bool = False,
    points: bool = False,
    reference: tuple[float, str] | None = None,
) -> Markup:
    """Draw values over time; `at` are ISO 8601 texts, or names where they are no times.

    Parameters
    ----------
    zero : bool
        Whether the value axis begins at 0 at the latest.
    points : bool
        Whether each value of the first line gets a mark with its text.
    reference : (value, text), optional
        A dashed line across, with its name at the end.
    """
    series = [one for one in series if any(finite(value) is not None for value in one.values)]
    values = [v for s in series for v in map(finite, (*s.values, *s.low, *s.high)) if v is not None]
    if not values or not at:
        return nothing(label)
    canvas = Canvas(250, label)
    named = [one.name for one in series] if len(series) > 1 else []
    right = WIDTH - 8 - min(15, max(map(len, named), default=1)) * CHARACTER
    fixed = ([0.0] if zero else []) + ([reference[0]] if reference else [])
    y = Scale.over([*values, *fixed], 200, 30, room=0.06)
    if min(values) >= 0 and y.low < 0:
        y = Scale(0, y.high, y.start, y.end)
    left = 12 + max(len(said) for _, said in y.ticks(4)) * CHARACTER
    x, stamps, ticks, title = _along(at, left, right)
    axes(canvas, x, y, (title, unit), ticks)
    if reference:
        canvas.line(left, y(reference[0]), right, y(reference[0]), "r")
        canvas.text(right, y.end - 10, f"dashed: {reference[1]}", "m", anchor="end")
    xs = [x(stamp) for stamp in stamps]
    for index, one in reversed(list(enumerate(series))):
        _series(canvas, one, index, xs, y)
    if points:
        for text, px, value in zip(at, xs, series[0].values, strict=True):
            if (known := finite(value)) is not None:
                canvas.dot(px, y(known), "f0", f"{text}: {number(known)}")
    if named:
        _end_labels(canvas, series, y, right)
    return canvas.svg()


def _along(at: Sequence[str], left: float, right: float) -> tuple[Scale, list[float], list[Tick], str]:
    """Return the scale, the places, the ticks and the title of an axis of times, or of names in order."""
    timed = [time for time in map(moment, at) if time is not None]
    if len(timed) == len(at):
        stamps = [time.timestamp() for time in timed]
        days = dict.fromkeys(f"{one:%Y-%m-%d}" for one in (min(timed), max(timed)))
        ticks = time_ticks(min(timed), max(timed), 4)
        return Scale.over(stamps, left, right, room=0.01), stamps, ticks, "time, " + " to ".join(days)
    stamps = [float(index) for index in range(len(at))]
    ticks = [(0.0, shorten(at[0], 12)), (len(at) - 1.0, shorten(at[-1], 12))]
    return Scale.over(stamps, left, right, room=0.05), stamps, ticks, "in order"


def curve(
    points: Sequence[tuple[Value, Value]],
    *,
    label: str,
    titles: tuple[str, str],
    whiskers: Sequence[object] = (),
    diagonal: str = "",
    unit_square: bool = True,
    marks: Sequence[str] = (),
) -> Markup:
    """Draw y over x as a line; `whiskers` are intervals of y, `marks` the texts of points drawn as dots.

    `diagonal` names the line y = x; `unit_square` fixes both axes to [0, 1].
    """
    known = [(i, finite(x), finite(y)) for i, (x, y) in enumerate(points)]
    kept = [(i, x, y) for i, x, y in known if x is not None and y is not None]
    if not kept:
        return nothing(label)
    canvas = Canvas(300, label)
    both = [v for _, a, b in kept for v in (a, b)]
    if unit_square:
        x, y = Scale(0, 1, 44, WIDTH - 24), Scale(0, 1, 250, 34)
    else:
        y = Scale.over(both, 250, 34)
        left = 12 + max(len(said) for _, said in y.ticks(4)) * CHARACTER
        x = Scale.over(both, left, WIDTH - 24)
    axes(canvas, x, y, titles)
    if diagonal:
        canvas.line(x(x.low), y(x.low), x(x.high), y(x.high), "r")
        canvas.text(x.end - 4, y(x.low) - 8, f"dashed: {diagonal}", "m", anchor="end")
    canvas.path([(x(px), y(py)) for _, px, py in kept], "l c0")
    for index, px, py in kept if marks else []:
        low, high = _limits_at(whiskers, index)
        if low is not None and high is not None:
            canvas.line(x(px), y(max(low, y.low)), x(px), y(min(high, y.high)), "w c0")
        canvas.dot(x(px), y(py), "f0", marks[index])
    return canvas.svg()


def _limits_at(whiskers: Sequence[object], index: int) -> tuple[Value, Value]:
    """Return the interval of a point, or (None, None) when there is none."""
    return limits(whiskers[index]) if index < len(whiskers) else (None, None)


def histogram(
    edges: Sequence[float | str],
    counts: Sequence[Value],
    *,
    label: str,
    unit: str,
    height: float = 230,
    zero: bool = False,
) -> Markup:
    """Draw counts between edges (one more edge than counts; ISO 8601 texts for times); `zero` marks 0."""
    times = [time for time in map(moment, edges) if time is not None]
    places = [time.timestamp() for time in times] if len(times) == len(edges) else list(map(finite, edges))
    known = [
        (a, b, finite(n), i) for i, (a, b, n) in enumerate(zip(places, places[1:], counts, strict=False))
    ]
    bins = [(a, b, n, i) for a, b, n, i in known if a is not None and b is not None and n is not None]
    if not bins or len(edges) != len(counts) + 1 or not any(n for _, _, n, _ in bins):
        return nothing(label)
    canvas = Canvas(height, label)
    y = Scale(0, max(n for _, _, n, _ in bins) * 1.06, height - 50, 30)
    left = 12 + max(len(said) for _, said in y.ticks(4)) * CHARACTER
    x = Scale.over([bins[0][0], bins[-1][1]], left, WIDTH - 16, room=0)
    axes(canvas, x, y, (unit, "rows"), time_ticks(times[0], times[-1]) if times else None)
    for a, b, n, i in bins:
        title = f"{number(edges[i])} to {number(edges[i + 1])}: {count(n)} rows"
        canvas.box(x(a) + 0.5, y(n), max(x(b) - x(a) - 1, 0.8), y(0) - y(n), "f0", title)
    if zero and x.low < 0 < x.high:
        canvas.line(x(0), y.end, x(0), y.start, "r")
        canvas.text(max(x(0), left + 70), y.end - 10, "no error", "m", anchor="middle")
    return canvas.svg()


def strips(rows: Sequence[Strip], *, label: str, timed: bool) -> Markup:
    """Draw how rows are divided: a bar a strip, along time or along the count of rows."""
    parts = [part for row in rows for part in row.parts]
    if not parts:
        return nothing(label)
    low, high = min(part.start for part in parts), max(part.end for part in parts)
    bottom = 44.0 * len(rows) + 32
    canvas = Canvas(bottom + (42 if timed else 12), label)
    x = Scale(low, high, 0, WIDTH)
    _legend(canvas, list(dict.fromkeys(part.kind for part in parts)))
    for index, row in enumerate(rows):
        top = 28 + 44.0 * index
        canvas.text(0, top + 14, shorten(row.label, int(WIDTH / 6.2)), "t", title=row.label)
        for part in row.parts:
            canvas.box(x(part.start), top + 21, x(part.end) - x(part.start), 16, f"p-{part.kind}", part.said)
    if timed:
        ends = [datetime.fromtimestamp(stamp, UTC) for stamp in (low, high)]
        canvas.line(0, bottom, WIDTH, bottom, "a")
        for value, said in time_ticks(ends[0], ends[1]):
            half = len(said) * CHARACTER / 2
            canvas.line(x(value), bottom, x(value), bottom + 4, "a")
            canvas.text(min(max(x(value), half), WIDTH - half), bottom + 18, said, "m", anchor="middle")
    return canvas.svg()


def _legend(canvas: Canvas, kinds: Sequence[str]) -> None:
    """Say on one line which colour is which part."""
    left = 0.0
    for kind in kinds:
        canvas.box(left, 2, 14, 12, f"p-{kind}")
        canvas.text(left + 20, 13, kind, "m")
        left += 38 + len(kind) * CHARACTER


def heatmap(names: Sequence[str], rows: Sequence[Sequence[Value]], *, label: str) -> Markup:
    """Draw a square matrix of values in [-1, 1]; its columns bear the numbers of its rows."""
    if not names:
        return nothing(label)
    numbered = [f"{index} {name}" for index, name in enumerate(names, 1)]
    room = min(160.0, max(map(len, numbered)) * CHARACTER + 8)
    side = min(60.0, (WIDTH - room) / len(names))
    canvas = Canvas(side * len(names) + 22, label)
    for i, name in enumerate(names):
        middle = 20 + (i + 0.5) * side
        said = shorten(numbered[i], int((room - 8) / CHARACTER + 0.01), middle=True)
        if side >= ROW:
            canvas.text(0, middle + 4.5, said, "t", title=name)
            canvas.text(room + (i + 0.5) * side, 13, str(i + 1), "m", anchor="middle", title=name)
        for j, value in enumerate(rows[i]):
            _cell(canvas, (room + j * side, 20 + i * side, side), finite(value), f"{name} and {names[j]}")
    return canvas.svg()


def _cell(canvas: Canvas, where: tuple[float, float, float], value: Value, said: str) -> None:
    """Draw a cell of a matrix, whose colour says the sign and the size of its value."""
    left, top, side = where
    strength = 0 if value is None else min(4, round(abs(value) * 4))
    shade = f"h{'n' if (value or 0) < 0 else 'p'}{strength}"
    canvas.box(left + 1, top + 1, side - 2, side - 2, shade, f"{said}: {number(value)}")
    if value is not None and side >= 30:
        words = f"{value:.2f}".replace("-", "−").replace("0.", ".")
        canvas.text(left + side / 2, top + side / 2 + 4.5, words, f"ht{strength}", anchor="middle")
