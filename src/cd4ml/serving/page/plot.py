"""The plot of the last weeks and the forecast, and the bars of contributions, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cd4ml.serving.page.markup import Markup, tag
from cd4ml.serving.page.words import label, number

__all__ = ["bar", "history_plot"]

_WIDTH, _HEIGHT = 440.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 12.0, 26.0, 26.0
_CHARACTER = 7.4
_MOST_NAME = 22
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class _Frame:
    """Times and values to pixels."""

    begin: datetime
    end: datetime
    low: float
    high: float

    def x(self, time: datetime) -> float:
        whole = (self.end - self.begin).total_seconds() or 1.0
        return _LEFT + (time - self.begin).total_seconds() / whole * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        whole = (self.high - self.low) or 1.0
        return _HEIGHT - _BOTTOM - (value - self.low) / whole * (_HEIGHT - _TOP - _BOTTOM)


def history_plot(
    history: Mapping[str, Any], when: str, prediction: float, interval: Mapping[str, float] | None
) -> Markup:
    """Return the plot.

    Parameters
    ----------
    history : mapping
        `of`, `times` and `values` of `:explain`.
    when : str
        The time of the forecast; "" puts it one step behind the history.
    """
    times = [datetime.fromisoformat(text) for text in history["times"]]
    values: list[float | None] = list(history["values"])
    step = timedelta(seconds=float(history["step_seconds"]))
    at = datetime.fromisoformat(when) if when else times[-1] + step
    ends = [interval["low"], interval["high"]] if interval else []
    known = [value for value in values if value is not None]
    low = min(0.0, *known, prediction, *ends)
    ticks = _ticks(low, max(*known, prediction, *ends, low + 1e-9))
    room = max(at - times[0], step) * 0.03
    frame = _Frame(times[0], at + room, ticks[0], ticks[-1])
    parts = [*_grid(frame, ticks), *_dates(frame, times[0], at)]
    parts += _line(frame, times, values)
    parts += _forecast(frame, at, prediction, interval)
    parts += _legend(label(str(history["of"])), interval)
    title = f"{history['of']}: the last weeks and the forecast"
    said = _said(times, known, at, prediction, interval)
    return tag(
        "svg",
        tag("title", title, id="plot-title"),
        tag("desc", said, id="plot-said"),
        *parts,
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
        role="img",
        aria_labelledby="plot-title plot-said",
        class_="plot",
    )


def _said(
    times: Sequence[datetime],
    known: Sequence[float],
    at: datetime,
    prediction: float,
    interval: Mapping[str, float] | None,
) -> str:
    span = f"From {_day(times[0])} to {_day(times[-1])} "
    if known:
        mean = sum(known) / len(known)
        span += f"between {number(min(known))} and {number(max(known))}, on average {number(mean)}. "
    else:
        span += "nothing is known. "
    text = f"{span}The forecast for {_day(at)} is {number(prediction)}"
    if interval:
        text += f", with an interval from {number(interval['low'])} to {number(interval['high'])}"
    return text + "."


def _ticks(low: float, high: float) -> list[float]:
    """Return round values from below `low` to above `high`."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * unit for unit in (1, 2, 2.5, 5, 10) if power * unit >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def _grid(frame: _Frame, ticks: Sequence[float]) -> list[Markup]:
    parts = []
    for value in ticks:
        y = frame.y(value)
        parts.append(_rule(_LEFT, y, _WIDTH - _RIGHT, y, "grid"))
        parts.append(_text(_LEFT - 6, y + 4, number(value), "end"))
    return parts


def _dates(frame: _Frame, begin: datetime, at: datetime) -> list[Markup]:
    """Return the days below the axis, as many as there is room for; the forecast's own is always there."""
    y, wide = _HEIGHT - 6, _CHARACTER * 7
    last = min(frame.x(at), _WIDTH - _RIGHT - wide / 2 + 8)
    parts = [_text(last, y, _day(at), "middle", "strong")]
    days = max(1, (at - begin).days)
    every = next(unit for unit in (7, 14, 28, 56, 112, 224, 10**6) if days / unit <= 5)
    place = begin
    while frame.x(place) < last - wide:
        x = max(frame.x(place), _LEFT + wide / 2 - 14)
        parts.append(_text(x, y, _day(place), "middle"))
        parts.append(
            _rule(frame.x(place), frame.y(frame.low), frame.x(place), frame.y(frame.low) + 4, "axis")
        )
        place += timedelta(days=every)
    return parts


def _line(frame: _Frame, times: Sequence[datetime], values: Sequence[float | None]) -> list[Markup]:
    """Return the history; where nothing is known the line breaks."""
    parts, run = [], list[str]()
    for time, value in zip((*times, times[-1]), (*values, None), strict=True):
        if value is not None:
            run.append(f"{frame.x(time):.1f} {frame.y(value):.1f}")
        elif run:
            begin = "M" + "L".join(run)
            parts.append(tag("path", d=begin if len(run) > 1 else f"{begin}h1", class_="sales"))
            run = []
    return parts


def _forecast(
    frame: _Frame, at: datetime, prediction: float, interval: Mapping[str, float] | None
) -> list[Markup]:
    x, parts = frame.x(at), []
    if interval:
        low, high = frame.y(interval["low"]), frame.y(interval["high"])
        parts.append(_rule(x, low, x, high, "interval"))
        parts += [_rule(x - 5, y, x + 5, y, "interval") for y in (low, high)]
    parts.append(tag("circle", cx=f"{x:.1f}", cy=f"{frame.y(prediction):.1f}", r="5", class_="forecast"))
    return parts


def _legend(of: str, interval: Mapping[str, float] | None) -> list[Markup]:
    of = of if len(of) <= _MOST_NAME else of[: _MOST_NAME - 1] + "…"
    second = _LEFT + 24 + len(of) * _CHARACTER + 22
    words = f"forecast, {interval['level']:.0%} interval" if interval else "forecast"
    return [
        _rule(_LEFT, 10, _LEFT + 18, 10, "sales"),
        _text(_LEFT + 24, 14, of, "start"),
        tag("circle", cx=f"{second:.1f}", cy="10", r="5", class_="forecast"),
        _text(second + 11, 14, words, "start"),
    ]


def _day(time: datetime) -> str:
    text = f"{time.day} {_MONTHS[time.month - 1]}"
    return text if not (time.hour or time.minute) else f"{text} {time:%H:%M}"


def _rule(x1: float, y1: float, x2: float, y2: float, role: str) -> Markup:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return tag("line", class_=role, **{name: f"{value:.1f}" for name, value in ends.items()})


def _text(x: float, y: float, said: str, anchor: str, role: str | None = None) -> Markup:
    return tag("text", said, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=role)


def bar(share: float) -> Markup:
    """Return a bar from the middle to the left (below 0) or the right; 1 is the whole half."""
    wide = max(0.5, 50 * min(1.0, abs(share)))
    x = 50 - wide if share < 0 else 50.0
    role = "less" if share < 0 else "more"
    return tag(
        "svg",
        tag("line", x1="50", x2="50", y1="0", y2="8", class_="axis"),
        tag("rect", x=f"{x:.2f}", y="1", width=f"{wide:.2f}", height="6", class_=role),
        viewBox="0 0 100 8",
        preserveAspectRatio="none",
        aria_hidden="true",
        class_="bar",
    )
