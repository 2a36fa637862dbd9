"""Tables and small pictures in plain text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

__all__ = ["cell", "sparkline", "table", "whole"]

_BARS = "▁▂▃▄▅▆▇█"
_CELL_CHARACTERS = 40


def cell(value: Any) -> str:
    """Return a value in short: 4 significant digits, "-" for nothing, long text with an ellipsis."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())
    return text if len(text) <= _CELL_CHARACTERS else text[: _CELL_CHARACTERS - 1] + "…"


def whole(value: Any) -> str:
    """Return a value in one line, not shortened: an id must be whole to be of use."""
    return "-" if value is None or value == "" else " ".join(str(value).split())


def table(
    headers: Sequence[str], rows: Iterable[Sequence[Any]], shown: Callable[[Any], str] = cell
) -> list[str]:
    """Return the lines of a table whose columns are aligned; `shown` makes the text of a value."""
    cells = [[*headers], *([shown(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def sparkline(values: Sequence[float]) -> str:
    """Return one bar a value, from the lowest to the highest; equal values give bars of half height."""
    low, high = min(values), max(values)
    if low == high:
        return _BARS[3] * len(values)
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in values)
