"""A surface for small charts as inline SVG: text stays text, colours are the page's (light and dark).

Coordinates are CSS pixels of a figure WIDTH wide; the page scales it to its column. Classes instead of
colours let `templates/style.css` decide how a line looks, so that one figure serves both colour schemes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from markupsafe import Markup, escape

from cd4ml.reports.formats import number

__all__ = ["CHARACTER", "ROW", "WIDTH", "Canvas", "Scale", "Tick", "axes", "shorten", "spread", "time_ticks"]

WIDTH = 440.0
CHARACTER = 7.4
"""Generous width of one character of the figures' 13 px text."""
ROW = 16.0
"""Least distance of two lines of text."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
Tick = tuple[float, str]
"""A place on an axis and its text."""


def shorten(text: str, characters: int, *, middle: bool = False) -> str:
    """Cut a text to so many characters, the last an ellipsis; `middle` keeps the end of the text as well."""
    if len(text) <= characters:
        return text
    tail = max(0, characters - 1) // 2 if middle else 0
    return text[: max(1, characters - 1 - tail)].rstrip() + "…" + text[len(text) - tail :]


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


@dataclass(frozen=True)
class Scale:
    """A linear map of values onto pixels; an empty range maps to its middle."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, *, room: float = 0.04) -> Scale:
        """Span the values with some room on both sides, and a unit around a single value."""
        low, high = min(values), max(values)
        if low == high:
            low, high = low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5)
        extra = (high - low) * room
        return cls(low - extra, high + extra, start, end)

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        if self.high <= self.low:
            return (self.start + self.end) / 2
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def clamped(self, value: float) -> float:
        """Return the pixel of a value, or of the nearest end of the range."""
        return self(min(max(value, self.low), self.high))

    def ticks(self, wanted: int = 5) -> list[Tick]:
        """Return at most about `wanted` round values within the range, with their texts."""
        span = self.high - self.low
        if span <= 0:
            return [(self.low, number(self.low))]
        rough = span / wanted
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * unit for unit in (1, 2, 5, 10) if power * unit >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        largest = max(abs(first), abs(last)) * step
        return [(index * step, tick_text(index * step, step, largest)) for index in range(first, last + 1)]


def tick_text(value: float, step: float, largest: float = 0.0) -> str:
    """Write a tick with the digits that its step needs, in thousands or more where the largest needs them."""
    if value == 0:
        return _decimals(0.0, step) if step >= 1e-4 and largest < 1e4 else "0"
    for least, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if max(abs(value), step, largest) >= least:
            return _decimals(value / unit, step / unit) + letter
    if step < 1e-4:
        digits = max(0, math.floor(math.log10(abs(value) / step) + 1e-9) + 1)
        return f"{value:.{digits}e}".replace("-", "−")
    return _decimals(value, step)


def _decimals(value: float, step: float) -> str:
    return f"{value:,.{max(0, math.ceil(-math.log10(step) - 1e-9))}f}".replace("-", "−")


class Canvas:
    """Collects shapes; `svg()` gives the whole figure.

    Parameters
    ----------
    height : float
        In pixels.
    label : str
        What a screen reader says in place of the figure; "" for one that says nothing more than its
        surroundings.
    """

    def __init__(self, height: float, label: str, width: float = WIDTH) -> None:
        self.height = height
        self.width = width
        self.label = label
        self._parts: list[str] = []

    def _add(self, tag: str, attributes: str, role: str, title: str) -> None:
        inner = f"<title>{escape(title)}</title>" if title else ""
        self._parts.append(f'<{tag} class="{role}" {attributes}>{inner}</{tag}>' if inner else
                           f'<{tag} class="{role}" {attributes}/>')  # fmt: skip

    def text(
        self, x: float, y: float, said: str, role: str = "t", *, anchor: str = "start", title: str = ""
    ) -> None:
        """Write text with its baseline at y; `anchor` is start, middle or end."""
        inner = f"<title>{escape(title)}</title>" if title and title != said else ""
        where = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._parts.append(
            f'<text class="{role}" x="{_px(x)}" y="{_px(y)}"{where}>{inner}{escape(said)}</text>'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, role: str, title: str = "") -> None:
        """Draw a straight line."""
        self._add("line", f'x1="{_px(x1)}" y1="{_px(y1)}" x2="{_px(x2)}" y2="{_px(y2)}"', role, title)

    def box(self, x: float, y: float, width: float, height: float, role: str, title: str = "") -> None:
        """Draw a filled rectangle, at least half a pixel wide."""
        size = f'width="{_px(max(width, 0.5))}" height="{_px(max(height, 0))}"'
        self._add("rect", f'x="{_px(x)}" y="{_px(y)}" {size}', role, title)

    def dot(
        self, x: float, y: float, role: str, title: str = "", *, radius: float = 4, square: bool = False
    ) -> None:
        """Draw a round mark, or a square one."""
        if square:
            self.box(x - radius, y - radius, 2 * radius, 2 * radius, role, title)
        else:
            self._add("circle", f'cx="{_px(x)}" cy="{_px(y)}" r="{_px(radius)}"', role, title)

    def path(self, points: Sequence[tuple[float, float]], role: str, *, closed: bool = False) -> None:
        """Join points by straight lines."""
        steps = "L".join(f"{_px(x)} {_px(y)}" for x, y in points)
        self._add("path", f'd="M{steps}{"Z" if closed else ""}"', role, "")

    def svg(self) -> Markup:
        """Return the figure."""
        size = f"0 0 {_px(self.width)} {_px(self.height)}"
        said = f'role="img" aria-label="{escape(self.label)}"' if self.label else 'aria-hidden="true"'
        head = f'<svg {said} viewBox="{size}">'
        return Markup(head + "".join(self._parts) + "</svg>")  # noqa: S704 (each part was escaped when added)


def axes(
    canvas: Canvas, x: Scale, y: Scale, titles: tuple[str, str], x_ticks: list[Tick] | None = None
) -> None:
    """Draw grid, ticks and titles; the y title stands upright above the axis, where it can be read."""
    left, right, top, bottom = x.start, x.end, y.end, y.start
    for value, said in y.ticks(4):
        canvas.line(left, y(value), right, y(value), "g")
        canvas.text(left - 6, y(value) + 4.5, said, "m", anchor="end")
    edge = -1e9
    for value, said in x.ticks() if x_ticks is None else x_ticks:
        centre = min(x(value), canvas.width - len(said) * CHARACTER / 2)
        canvas.line(x(value), bottom, x(value), bottom + 4, "a")
        if centre - len(said) * CHARACTER / 2 > edge:
            canvas.text(centre, bottom + 18, said, "m", anchor="middle")
            edge = centre + len(said) * CHARACTER / 2 + 6
    canvas.line(left, bottom, right, bottom, "a")
    canvas.text(2, top - 10, titles[1], "m")
    canvas.text((left + right) / 2, bottom + 37, titles[0], "m", anchor="middle")


def spread(wanted: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """Move positions apart to at least `least`, within [low, high] as far as they fit; order is kept."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = [0.0] * len(wanted)
    floor = low
    for index in order:
        placed[index] = max(wanted[index], floor)
        floor = placed[index] + least
    ceiling = high
    for index in reversed(order):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - least
    return placed


def _month(index: int) -> datetime:
    return datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)


def time_ticks(first: datetime, last: datetime, wanted: int = 5) -> list[Tick]:
    """Return round times between two, as (seconds since 1970, text)."""
    hours = (last - first).total_seconds() / 3600
    if hours > 24 * 28 * wanted / 2:
        start, stop = first.year * 12 + first.month - 1, last.year * 12 + last.month - 1
        step = next((s for s in (1, 2, 3, 6, 12, 24, 60, 120) if (stop - start) / s <= wanted), 1200)
        marks = [_month(i) for i in range(-(-start // step) * step, stop + 1, step) if i >= 12]
        texts = [f"{_MONTHS[m.month - 1]} {m.year}" if step < 12 else str(m.year) for m in marks]
    else:
        step = next((s for s in (1, 3, 6, 12, 24, 48, 168, 336) if hours / s <= wanted), 672)
        midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
        marks = [midnight + timedelta(hours=step * i) for i in range(int(hours / step) + 26)]
        texts = [f"{m.day} {_MONTHS[m.month - 1]}" + ("" if step >= 24 else f" {m:%H:%M}") for m in marks]
    pairs = zip(marks, texts, strict=True)
    return [(mark.timestamp(), said) for mark, said in pairs if first <= mark <= last]
