"""Parts of a time as numbers, and steps of the calendar.

Days are those of the time as written: no time zone is applied. Null (NaT) gives NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_STEP", "PARTS", "first_step_time", "step_index"]

NO_STEP = -(2**40)
"""The step of a null time: before anything that was ever seen."""

Times = NDArray[np.datetime64]
Numbers = NDArray[np.float64]


def _days(times: Times) -> NDArray[np.int64]:
    return times.astype("datetime64[D]").astype(np.int64)


def _month_start(times: Times, months: int = 0) -> NDArray[np.int64]:
    month = times.astype("datetime64[M]") + np.timedelta64(months, "M")
    return month.astype("datetime64[D]").astype(np.int64)


def _hour(times: Times) -> NDArray[Any]:
    return (times.astype("datetime64[s]").astype(np.int64) // 3600) % 24


def _day_of_week(times: Times) -> NDArray[Any]:
    return (_days(times) + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0


def _day_of_year(times: Times) -> NDArray[Any]:
    year = times.astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    return _days(times) - year + 1


def _week(times: Times) -> NDArray[Any]:
    """ISO 8601: the week belongs to the year of its Thursday."""
    days = _days(times)
    thursday = (days - (days + 3) % 7 + 3).astype("datetime64[D]")
    return (_day_of_year(thursday.astype("datetime64[s]")) - 1) // 7 + 1


def _payday(times: Times) -> NDArray[Any]:
    """Days since the last 15th or last day of a month, whichever is nearer in the past; 0 on such a day."""
    days, start = _days(times), _month_start(times)
    month_end = np.where(days == _month_start(times, 1) - 1, days, start - 1)
    fifteenth = start + 14
    return days - np.where(fifteenth <= days, np.maximum(fifteenth, month_end), month_end)


def _of_known(call: Callable[[Times], NDArray[Any]]) -> Callable[[Times], Numbers]:
    def apply(times: Times) -> Numbers:
        null = np.isnat(times)
        safe = np.where(null, np.datetime64(0, "s"), times)
        return np.where(null, np.nan, call(safe).astype(np.float64))

    return apply


PARTS: dict[str, Callable[[Times], Numbers]] = {
    "hour": _of_known(_hour),
    "day_of_week": _of_known(_day_of_week),
    "day_of_month": _of_known(lambda times: _days(times) - _month_start(times) + 1),
    "day_of_year": _of_known(_day_of_year),
    "week": _of_known(_week),
    "month": _of_known(lambda times: times.astype("datetime64[M]").astype(np.int64) % 12 + 1),
    "year": _of_known(lambda times: times.astype("datetime64[Y]").astype(np.int64) + 1970),
    "weekend": _of_known(lambda times: _day_of_week(times) >= 5),
    "payday": _of_known(_payday),
    "days_to_month_end": _of_known(lambda times: _month_start(times, 1) - 1 - _days(times)),
}
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
