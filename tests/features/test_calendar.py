"""Parts of a time are those of the calendar, and steps are exact."""

import calendar
from datetime import date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.features.calendar import NO_STEP, PARTS, first_step_time, step_index


def _month_end(day):
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def _payday(day):
    found = day
    while found.day != 15 and found != _month_end(found):
        found -= timedelta(days=1)
    return (day - found).days


EXPECTED = {
    "hour": lambda t: t.hour,
    "day_of_week": lambda t: t.weekday(),
    "day_of_month": lambda t: t.day,
    "day_of_year": lambda t: t.timetuple().tm_yday,
    "week": lambda t: t.isocalendar().week,
    "month": lambda t: t.month,
    "year": lambda t: t.year,
    "weekend": lambda t: t.weekday() >= 5,
    "payday": lambda t: _payday(t.date()),
    "days_to_month_end": lambda t: (_month_end(t.date()) - t.date()).days,
}


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.datetimes(datetime(1901, 1, 1), datetime(2099, 12, 31)) | st.dates(date(1960, 1, 1)), min_size=1
    )
)
def test_parts_are_those_of_the_calendar(times):
    whole = [datetime(t.year, t.month, t.day) if not isinstance(t, datetime) else t for t in times]
    array = np.array([np.datetime64(t.replace(microsecond=0), "s") for t in whole])
    assert set(PARTS) == set(EXPECTED)
    for name, part in PARTS.items():
        assert part(array).tolist() == [float(EXPECTED[name](t)) for t in whole], name


def test_every_day_of_some_years_has_the_right_payday_and_week():
    days = [date(2015, 12, 20) + timedelta(days=n) for n in range(1200)]
    array = np.array(days, dtype="datetime64[s]")
    assert PARTS["payday"](array).tolist() == [_payday(day) for day in days]
    assert PARTS["week"](array).tolist() == [day.isocalendar().week for day in days]


def test_parts_of_null_are_null():
    array = np.array(["NaT", "2024-02-29"], dtype="datetime64[s]")
    for part in PARTS.values():
        found = part(array)
        assert np.isnan(found[0])
        assert not np.isnan(found[1])


@pytest.mark.parametrize(
    ("first", "step", "origin"),
    [
        ("2024-02-29T13:45:10", 3600, "2024-02-29T13:00:00"),
        ("2024-02-29T13:45:10", 1800, "2024-02-29T13:30:00"),
        ("2024-02-29T13:45:10", 86400, "2024-02-29T00:00:00"),
        ("2024-02-29T13:45:10", 7 * 86400, "2024-02-29T00:00:00"),
        ("1969-12-31T23:59:59", 3600, "1969-12-31T23:00:00"),
    ],
)
def test_steps_begin_at_the_first_time_floored(first, step, origin):
    times = np.array(["NaT", "2999-01-01", first], dtype="datetime64[s]")
    seconds = first_step_time(times, step)
    assert np.datetime64(seconds, "s") == np.datetime64(origin)
    later = np.datetime64(origin) + np.array([-1, 0, step - 1, step, 5 * step + 1])
    asked = np.append(later, np.datetime64("NaT")).astype("datetime64[s]")
    assert step_index(asked, seconds, step).tolist() == [-1, 0, 0, 1, 5, NO_STEP]
