"""The days of Ecuador: holidays, which of them were moved, bridges, paydays.

The holidays of 2012 to 2017 are those of Ecuador's calendar as the Favorita table tells them; those that
return each year are written as rules, the single ones as rows.

References
----------
Corporación Favorita Grocery Sales Forecasting, https://www.kaggle.com/c/favorita-grocery-sales-forecasting
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from typing import NamedTuple

__all__ = [
    "EARTHQUAKE",
    "HOLIDAY_LIFT",
    "LOCALE_SHARE",
    "PAYDAY_LIFTS",
    "Holiday",
    "holiday_table",
    "holidays_on",
    "is_closed",
    "is_work_day",
    "payday_lift",
]

EARTHQUAKE = date(2016, 4, 16)
YEARS = range(2012, 2018)
PAYDAY_LIFTS = (0.18, 0.12, 0.06)
"""What a payday adds to the log rate on the day itself, the next day and the day after."""
HOLIDAY_LIFT = {"Holiday": 0.30, "Transfer": 0.30, "Additional": 0.20, "Bridge": 0.15, "Event": 0.10}
"""What a day of each type adds to the log rate; a Work Day adds nothing but makes a Saturday a weekday."""
LOCALE_SHARE = {"National": 1.0, "Regional": 0.7, "Local": 0.5}
"""The share of that which a holiday of each reach has, in the stores that it reaches."""


class Holiday(NamedTuple):
    """A row of holidays_events.csv."""

    date: date
    type: str
    locale: str
    locale_name: str
    description: str
    transferred: bool


NATIONAL = (
    (1, 1, "Holiday", "Primer dia del ano"),
    (5, 1, "Holiday", "Dia del Trabajo"),
    (5, 24, "Holiday", "Batalla de Pichincha"),
    (8, 10, "Holiday", "Primer Grito de Independencia"),
    (10, 9, "Holiday", "Independencia de Guayaquil"),
    (11, 2, "Holiday", "Dia de Difuntos"),
    (11, 3, "Holiday", "Independencia de Cuenca"),
    (12, 21, "Additional", "Navidad-4"),
    (12, 22, "Additional", "Navidad-3"),
    (12, 23, "Additional", "Navidad-2"),
    (12, 24, "Additional", "Navidad-1"),
    (12, 25, "Holiday", "Navidad"),
    (12, 26, "Additional", "Navidad+1"),
    (12, 31, "Additional", "Primer dia del ano-1"),
)
REGIONAL = (
    (4, 1, "Cotopaxi", "Provincializacion de Cotopaxi"),
    (6, 25, "Imbabura", "Provincializacion de Imbabura"),
    (11, 6, "Santo Domingo de los Tsachilas", "Provincializacion de Santo Domingo"),
    (11, 7, "Santa Elena", "Provincializacion Santa Elena"),
)
LOCAL = (
    (3, 2, "Manta", "Fundacion de Manta"),
    (4, 12, "Cuenca", "Fundacion de Cuenca"),
    (4, 14, "Libertad", "Cantonizacion de Libertad"),
    (4, 21, "Riobamba", "Cantonizacion de Riobamba"),
    (5, 12, "Puyo", "Cantonizacion del Puyo"),
    (6, 23, "Guaranda", "Cantonizacion de Guaranda"),
    (6, 25, "Latacunga", "Cantonizacion de Latacunga"),
    (6, 25, "Machala", "Fundacion de Machala"),
    (7, 3, "El Carmen", "Cantonizacion de El Carmen"),
    (7, 3, "Santo Domingo", "Fundacion de Santo Domingo"),
    (7, 23, "Cayambe", "Cantonizacion de Cayambe"),
    (7, 25, "Guayaquil", "Fundacion de Guayaquil"),
    (8, 5, "Esmeraldas", "Fundacion de Esmeraldas"),
    (8, 15, "Riobamba", "Fundacion de Riobamba"),
    (8, 24, "Ambato", "Fundacion de Ambato"),
    (9, 28, "Ibarra", "Fundacion de Ibarra"),
    (10, 7, "Quevedo", "Cantonizacion de Quevedo"),
    (11, 3, "Cuenca", "Independencia de Cuenca"),
    (11, 10, "Guaranda", "Independencia de Guaranda"),
    (11, 11, "Latacunga", "Independencia de Latacunga"),
    (11, 12, "Ambato", "Independencia de Ambato"),
    (12, 6, "Quito", "Fundacion de Quito"),
    (12, 8, "Loja", "Fundacion de Loja"),
    (12, 22, "Salinas", "Cantonizacion de Salinas"),
)
EASTER = {
    2012: date(2012, 4, 8),
    2013: date(2013, 3, 31),
    2014: date(2014, 4, 20),
    2015: date(2015, 4, 5),
    2016: date(2016, 3, 27),
    2017: date(2017, 4, 16),
}
MOVED = {
    date(2012, 10, 9): date(2012, 10, 12),
    date(2013, 10, 9): date(2013, 10, 11),
    date(2014, 10, 9): date(2014, 10, 10),
    date(2016, 5, 24): date(2016, 5, 27),
    date(2016, 7, 25): date(2016, 7, 24),
    date(2016, 8, 10): date(2016, 8, 12),
    date(2017, 1, 1): date(2017, 1, 2),
    date(2017, 4, 12): date(2017, 4, 13),
    date(2017, 5, 24): date(2017, 5, 26),
    date(2017, 8, 10): date(2017, 8, 11),
    date(2017, 9, 28): date(2017, 9, 29),
    date(2017, 12, 6): date(2017, 12, 8),
}
BRIDGES = (
    (date(2012, 12, 24), "Bridge", "Puente Navidad"),
    (date(2012, 12, 31), "Bridge", "Puente Primer dia del ano"),
    (date(2013, 1, 5), "Work Day", "Recupero puente Navidad"),
    (date(2013, 1, 12), "Work Day", "Recupero puente primer dia del ano"),
    (date(2014, 12, 20), "Work Day", "Recupero Puente Navidad"),
    (date(2014, 12, 26), "Bridge", "Puente Navidad"),
    (date(2015, 1, 2), "Bridge", "Puente Primer dia del ano"),
    (date(2015, 1, 10), "Work Day", "Recupero Puente Primer dia del ano"),
    (date(2016, 11, 4), "Bridge", "Puente Dia de Difuntos"),
    (date(2016, 11, 12), "Work Day", "Recupero Puente Dia de Difuntos"),
)
MATCHES = (date(2014, 6, 12), date(2014, 6, 15), date(2014, 6, 20), date(2014, 6, 25), date(2014, 7, 13))
CLOSED = ((1, 1), (12, 25))


def _nth_weekday(year: int, month: int, weekday: int, count: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (count - 1))


def _celebrated(row: Holiday) -> list[Holiday]:
    """Return the row, and where it was moved also the row of the day on which it was celebrated."""
    if row.type != "Holiday" or row.date not in MOVED:
        return [row]
    moved = row._replace(date=MOVED[row.date], type="Transfer", description=f"Traslado {row.description}")
    return [row._replace(transferred=True), moved]


def _of_year(year: int) -> list[Holiday]:
    def national(when: date, kind: str, description: str) -> Holiday:
        return Holiday(when, kind, "National", "Ecuador", description, False)

    rows = [national(date(year, m, d), kind, text) for m, d, kind, text in NATIONAL]
    rows += [Holiday(date(year, m, d), "Holiday", "Regional", name, s, False) for m, d, name, s in REGIONAL]
    rows += [Holiday(date(year, m, d), "Holiday", "Local", name, s, False) for m, d, name, s in LOCAL]
    rows = [celebrated for row in rows for celebrated in _celebrated(row)]
    easter, mothers = EASTER[year], _nth_weekday(year, 5, 6, 2)
    rows += [national(easter - timedelta(days=n), "Holiday", "Carnaval") for n in (48, 47)]
    rows.append(national(easter - timedelta(days=2), "Holiday", "Viernes Santo"))
    rows.append(national(mothers - timedelta(days=1), "Additional", "Dia de la Madre-1"))
    rows.append(national(mothers, "Event", "Dia de la Madre"))
    if year >= 2014:
        friday = _nth_weekday(year, 11, 3, 4) + timedelta(days=1)
        rows.append(national(friday, "Event", "Black Friday"))
        rows.append(national(friday + timedelta(days=3), "Event", "Cyber Monday"))
    return rows


def _single() -> list[Holiday]:
    rows = [Holiday(when, kind, "National", "Ecuador", text, False) for when, kind, text in BRIDGES]
    rows += [
        Holiday(when, "Event", "National", "Ecuador", "Mundial de futbol Brasil", False) for when in MATCHES
    ]
    for after in range(31):
        text = f"Terremoto Manabi+{after}" if after else "Terremoto Manabi"
        when = EARTHQUAKE + timedelta(days=after)
        rows.append(Holiday(when, "Event", "National", "Ecuador", text, False))
    return rows


@cache
def holiday_table() -> tuple[Holiday, ...]:
    """Return the rows of holidays_events.csv, 2012 to 2017, by date, reach and place."""
    rows = [row for year in YEARS for row in _of_year(year)] + _single()
    return tuple(sorted(rows, key=lambda row: (row.date, row.locale, row.locale_name, row.description)))


@cache
def _by_date() -> dict[date, tuple[Holiday, ...]]:
    days: dict[date, tuple[Holiday, ...]] = {}
    for row in holiday_table():
        days[row.date] = (*days.get(row.date, ()), row)
    return days


def holidays_on(when: date) -> tuple[tuple[Holiday, float], ...]:
    """Return the rows that are celebrated on a date, each with what it adds to the log rate.

    The official date of a holiday that was moved is a day like others; the earthquake's rows have a law of
    their own.
    """
    return tuple(
        (row, HOLIDAY_LIFT[row.type] * LOCALE_SHARE[row.locale])
        for row in _by_date().get(when, ())
        if not row.transferred and row.type != "Work Day" and not row.description.startswith("Terremoto")
    )


def is_work_day(when: date) -> bool:
    """Return whether a Saturday was worked, to make up for a bridge."""
    return any(row.type == "Work Day" for row in _by_date().get(when, ()))


def is_closed(when: date) -> bool:
    """Return whether all stores are closed: on Christmas Day and on New Year's Day."""
    return (when.month, when.day) in CLOSED


def payday_lift(when: date) -> float:
    """Return what wages, paid on the 15th and on the last day of a month, add to the log rate."""
    for after, lift in enumerate(PAYDAY_LIFTS):
        paid = when - timedelta(days=after)
        if paid.day == 15 or (paid + timedelta(days=1)).day == 1:
            return lift
    return 0.0
