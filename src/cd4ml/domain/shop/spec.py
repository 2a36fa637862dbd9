"""What is asked of the practice shop: how many rows, how many days, which seed, what is planted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from cd4ml.errors import NotFoundError, UsageError, nearest

__all__ = [
    "FIRST_DATE",
    "LAST_DATE",
    "LATE_DAYS",
    "MAX_DAYS",
    "MIN_DAYS",
    "SCENARIOS",
    "ShopSpec",
    "generator",
]

FIRST_DATE = date(2013, 1, 1)
LAST_DATE = date(2017, 8, 15)
MAX_DAYS = (LAST_DATE - FIRST_DATE).days + 1
MIN_DAYS = 28
LATE_DAYS = 60
"""Length of the last stretch of days, in which `drift`, `better-regime` and `worse-regime` work."""

SCENARIOS = {
    "better-regime": "noise is lower in the last 60 days",
    "bias": "one city's sales are under-recorded and far noisier",
    "contract-breach": "rows that break the contract: unknown store, duplicate key, blank sales, future date",
    "drift": "one family's demand falls in the last 60 days",
    "stockouts": "shelves are often empty, so that sales are censored",
    "worse-regime": "promotions lower sales in the last 60 days: yesterday's model is harmful",
}


@dataclass(frozen=True, slots=True)
class ShopSpec:
    """A shop to simulate; equal specs give equal bytes.

    Parameters
    ----------
    rows : int
        Rows of train.csv, exactly.
    days : int
        Calendar days, the last of which is 2017-08-15; 28 to 1688.
    seed : int
        At least 0.
    scenarios : tuple of str
        Names out of `SCENARIOS`; order and repetition do not matter.

    Raises
    ------
    UsageError
        A number is out of range.
    NotFoundError
        A scenario has no such name.
    """

    rows: int
    days: int = 730
    seed: int = 0
    scenarios: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not MIN_DAYS <= self.days <= MAX_DAYS:
            raise UsageError(
                f"expected {MIN_DAYS} to {MAX_DAYS} days, found {self.days}: the calendar reaches from "
                f"{FIRST_DATE} to {LAST_DATE}; give another --days"
            )
        if self.rows < self.days:
            raise UsageError(
                f"expected at least one row a day, found {self.rows} rows for {self.days} days: "
                "give more --rows or fewer --days"
            )
        if self.seed < 0:
            raise UsageError(f"expected a seed of 0 or more, found {self.seed}; give another --seed")
        for name in self.scenarios:
            if name not in SCENARIOS:
                known = ", ".join(SCENARIOS)
                raise NotFoundError(
                    f"no scenario is called '{name}'{nearest(name, SCENARIOS)}; the scenarios are {known}"
                )
        object.__setattr__(self, "scenarios", tuple(sorted(set(self.scenarios))))

    @property
    def first_date(self) -> date:
        """The date of day 0."""
        return LAST_DATE - timedelta(days=self.days - 1)

    @property
    def late_day(self) -> int:
        """The day on which the late scenarios begin: 60 days before the end, in a short shop a third."""
        return self.days - min(LATE_DAYS, self.days // 3)

    def date_of(self, day: int) -> date:
        """Return the date of a day, counted from 0."""
        return self.first_date + timedelta(days=day)

    def day_of(self, when: date) -> int:
        """Return the day, counted from 0, of a date within the shop's calendar.

        Raises
        ------
        UsageError
            The shop has no such day.
        """
        if not self.first_date <= when <= LAST_DATE:
            raise UsageError(
                f"expected a date from {self.first_date} to {LAST_DATE}, found {when}; give another date"
            )
        return (when - self.first_date).days


def generator(seed: int, stream: str, block: int = 0) -> np.random.Generator:
    """Return the random numbers of one block of one stream: nothing else has a say in them."""
    key = [seed, *stream.encode(), block]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))
