"""Parts of a time as numbers, and steps of the calendar.

Days are those of the time as written: no time zone is applied. Null (NaT) gives NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_STEP", "PARTS", "first_step_time", "parts_of", "step_index"]

NO_STEP = -(2**40)
"""The step of a null time: before anything that was ever seen."""

Times = NDArray[np.datetime64]
Numbers = NDArray[np.float64]


class _Moments:
    """Times without null, and what several parts are made of."""

    def __init__(self, times: Times) -> None:
        self.times = times
        self.days = times.astype("datetime64[D]").astype(np.int64)
        self._month: NDArray[Any] | None = None

    @property
    def month(self) -> NDArray[Any]:
        """Months, as datetime64[M]."""
        if self._month is None:
            self._month = self.times.astype("datetime64[M]")
        return self._month

    def month_start(self, months: int = 0) -> NDArray[np.int64]:
        month = self.month + np.timedelta64(months, "M") if months else self.month
        return month.astype("datetime64[D]").astype(np.int64)


def _hour(at: _Moments) -> NDArray[Any]:
    return (at.times.astype("datetime64[s]").astype(np.int64) // 3600) % 24


def _day_of_week(at: _Moments) -> NDArray[Any]:
    return (at.days + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0


def _day_of_year(at: _Moments) -> NDArray[Any]:
    year = at.month.astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    return at.days - year + 1


def _week(at: _Moments) -> NDArray[Any]:
    """ISO 8601: the week belongs to the year of its Thursday."""
    thursday = (at.days - (at.days + 3) % 7 + 3).astype("datetime64[D]")
    return (_day_of_year(_Moments(thursday)) - 1) // 7 + 1


def _payday(at: _Moments) -> NDArray[Any]:
    """Days since the last 15th or last day of a month, whichever is nearer in the past; 0 on such a day."""
    days, start = at.days, at.month_start()
    month_end = np.where(days == at.month_start(1) - 1, days, start - 1)
    fifteenth = start + 14
    return days - np.where(fifteenth <= days, np.maximum(fifteenth, month_end), month_end)


_OF_KNOWN: dict[str, Callable[[_Moments], NDArray[Any]]] = {
    "hour": _hour,
    "day_of_week": _day_of_week,
    "day_of_month": lambda at: at.days - at.month_start() + 1,
    "day_of_year": _day_of_year,
    "week": _week,
    "month": lambda at: at.month.astype(np.int64) % 12 + 1,
    "year": lambda at: at.month.astype("datetime64[Y]").astype(np.int64) + 1970,
    "weekend": lambda at: _day_of_week(at) >= 5,
    "payday": _payday,
    "days_to_month_end": lambda at: at.month_start(1) - 1 - at.days,
}


def parts_of(times: Times, names: Iterable[str]) -> list[Numbers]:
    """Return parts of the same times [n], by names of `PARTS`; NaN where the time is null."""
    null = np.isnat(times)
    some = bool(null.any())
    at = _Moments(np.where(null, np.datetime64(0, "s"), times) if some else times)
    found = [_OF_KNOWN[name](at).astype(np.float64) for name in names]
    return [np.where(null, np.nan, values) for values in found] if some else found


def _part(name: str) -> Callable[[Times], Numbers]:
    return lambda times: parts_of(times, [name])[0]


PARTS: dict[str, Callable[[Times], Numbers]] = {name: _part(name) for name in _OF_KNOWN}
"""Part of a time -> float64; `trend` is no part of a time alone and stands elsewhere."""


def first_step_time(times: Times, step_seconds: int) -> int:
    """Return the origin of the calendar in seconds since 1970: the first time, floored to the step.

    Steps of whole days begin at the first day's midnight.
    """
    known = times[~np.isnat(times)].astype("datetime64[s]").astype(np.int64)
    floor = min(step_seconds, 86400)
    return int(known.min()) // floor * floor


def step_index(times: Times, origin_seconds: int, step_seconds: int) -> NDArray[np.int64]:
    """Return floor((time - origin) / step); NO_STEP where the time is null."""
    seconds = times.astype("datetime64[s]").astype(np.int64)
    return np.where(np.isnat(times), NO_STEP, (seconds - origin_seconds) // step_seconds)
