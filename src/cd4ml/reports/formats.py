"""How values are written for readers: separators, significant digits, and a word for what is absent."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

__all__ = [
    "ABSENT",
    "alike",
    "band",
    "count",
    "counted",
    "dash",
    "day",
    "days",
    "duration",
    "finite",
    "flatten",
    "limits",
    "moment",
    "number",
    "percent",
    "sentence",
    "share_band",
    "short_id",
    "slug",
    "stretch",
    "words",
]

ABSENT = "not measured"


def finite(value: object) -> float | None:
    """Return the value as a float, or None for anything that is no finite number (booleans included)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def number(value: object) -> str:
    """Write a number with four significant digits and thousands separators; other things as they are."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _decimal(value)
    return ABSENT if value is None else str(value)


def _decimal(value: float) -> str:
    if math.isnan(value):
        return ABSENT
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e15 or size < 1e-4:
        return f"{value:.2e}".replace("-", "−")
    decimals = 0 if size >= 1000 else max(0, 3 - math.floor(math.log10(size)))
    text = f"{value:,.{decimals}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")


def alike(values: Sequence[object]) -> list[str]:
    """Write numbers of one column with the same decimals, four digits for the largest; a dash for none."""
    known = [value for value in map(finite, values) if value is not None]
    decimals = _decimals(known)
    return ["–" if (value := finite(one)) is None else _fixed(value, decimals) for one in values]


def _decimals(known: Sequence[float]) -> int:
    size = max(map(abs, known), default=0.0)
    if size >= 1000 or all(value == int(value) for value in known):
        return 0
    return min(6, max(0, 3 - math.floor(math.log10(size))))


def _fixed(value: float, decimals: int) -> str:
    if value == 0 or abs(value) >= 1e15:
        return _decimal(value)
    text = f"{value:,.{decimals}f}"
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def count(value: object) -> str:
    """Write a number of things."""
    known = finite(value)
    return ABSENT if known is None else f"{round(known):,}"


def counted(number_of: int, noun: str) -> str:
    """Write a number of things with the noun in the singular or the plural."""
    return f"{number_of:,} {noun}" + ("" if number_of == 1 else "s")


def dash(value: object) -> str:
    """Write a number, or a dash where none belongs."""
    return "–" if value is None else number(value)


def percent(value: object) -> str:
    """Write a fraction as per cent; a share that is not zero is never written as 0 %."""
    known = finite(value)
    if known is None:
        return ABSENT
    if known == 0:
        return "0 %"
    if abs(known) < 0.0001:
        return "<0.01 %"
    return f"{100 * known:.{2 if abs(known) < 0.1 else 1}f} %".replace("-", "−")


def limits(interval: object) -> tuple[float | None, float | None]:
    """Return (low, high) of an interval written as a pair or with the keys `low` and `high`."""
    if isinstance(interval, Mapping):
        return finite(interval.get("low")), finite(interval.get("high"))
    if isinstance(interval, Sequence) and not isinstance(interval, str) and len(interval) == 2:
        return finite(interval[0]), finite(interval[1])
    return None, None


def band(interval: object) -> str:
    """Write an interval as "low to high", or "" when it has no ends."""
    low, high = limits(interval)
    if low is None and high is None:
        return ""
    return f"{number(-math.inf if low is None else low)} to {number(math.inf if high is None else high)}"


def share_band(interval: object) -> str:
    """Write an interval of fractions in per cent as "low to high", or "" when it lacks an end."""
    low, high = limits(interval)
    return "" if low is None or high is None else f"{percent(low)} to {percent(high)}"


def slug(name: object) -> str:
    """Return a name that may stand in an id; two names that differ stay different."""
    text = str(name)
    safe = re.sub("[^A-Za-z0-9_-]+", "-", text)
    return safe if safe == text else f"{safe.strip('-')}-{zlib.crc32(text.encode()):08x}"


def stretch(seconds: object) -> str:
    """Write a length of time in the largest unit that measures it whole, such as "day" or "4 hours"."""
    known = finite(seconds)
    if known is None:
        return ABSENT
    units = (("week", 604_800), ("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
    name, size = next((one for one in units if known >= one[1] and known % one[1] == 0), units[-1])
    return name if known == size else f"{number(known / size)} {name}s"


def duration(seconds: float) -> str:
    """Write a length of time that was measured, in the largest unit of which there is one: "2.5 h"."""
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if abs(seconds) >= size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} s"


def moment(value: object) -> datetime | None:
    """Read an ISO 8601 text as a time in UTC; None when it is none."""
    if not isinstance(value, str):
        return None
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        return None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def day(value: object) -> str:
    """Write a time without a midnight's zeros."""
    read = moment(value)
    if read is None:
        return ABSENT if value is None else str(value)
    return (
        f"{read:%Y-%m-%d}" if (read.hour, read.minute, read.second) == (0, 0, 0) else f"{read:%Y-%m-%d %H:%M}"
    )


def days(values: Sequence[object]) -> list[str]:
    """Write the times of one column, all with hours and minutes when one of them needs them."""
    read = [moment(value) for value in values]
    timed = any(one is not None and (one.hour or one.minute or one.second) for one in read)
    said = [
        day(value) if one is None or not timed else f"{one:%Y-%m-%d %H:%M}"
        for one, value in zip(read, values, strict=True)
    ]
    return ["–" if value is None else text for text, value in zip(said, values, strict=True)]


def words(name: object) -> str:
    """Turn an identifier into words."""
    return str(name).replace("_", " ").replace("-", " ")


def sentence(text: object) -> str:
    """Write a text with a capital letter and a full stop."""
    said = str(text).strip()
    return f"{said[:1].upper()}{said[1:].rstrip('.')}."


def short_id(value: object) -> str:
    """Cut a long hash to what a person compares."""
    text = "" if value is None else str(value)
    return text if len(text) <= 20 else f"{text[:16]}…"


def flatten(value: object, name: str = "") -> list[tuple[str, Any]]:
    """Return (dotted name, scalar) pairs of nested mappings and lists, in order; empty ones vanish."""
    if isinstance(value, Mapping):
        return [pair for key in value for pair in flatten(value[key], f"{name}.{key}" if name else str(key))]
    if isinstance(value, list | tuple):
        if all(not isinstance(item, Mapping | list | tuple) for item in value):
            return [(name, ", ".join(number(item) for item in value))] if value else []
        return [pair for index, item in enumerate(value) for pair in flatten(item, f"{name}.{index}")]
    return [(name, value)]
