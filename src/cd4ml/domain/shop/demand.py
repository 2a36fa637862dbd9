"""The mean rate of sales: what a day, a store and a family make of a pair's level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

import numpy as np

from cd4ml.domain.shop.assortment import (
    FAMILIES,
    Assortment,
    BoolArray,
    FloatArray,
    IntArray,
    make_assortment,
)
from cd4ml.domain.shop.calendar import (
    EARTHQUAKE,
    holidays_on,
    is_closed,
    is_work_day,
    payday_lift,
)
from cd4ml.domain.shop.scenarios import (
    DRIFT_FACTOR,
    drift_family,
    promotion_sign,
    with_bias,
)
from cd4ml.domain.shop.spec import ShopSpec, generator

__all__ = [
    "PROMOTIONS_RECORDED_FROM",
    "PROMOTION_DAYS",
    "QUAKE_DAYS",
    "QUAKE_LIFTS",
    "WEEK",
    "Demand",
    "day_effects",
    "make_demand",
]

PROMOTIONS_RECORDED_FROM = date(2014, 4, 1)
PROMOTION_DAYS = 7
PROMOTION_SHARE = 0.10
WEEK = (-0.06, -0.12, -0.08, -0.16, -0.02, 0.22, 0.26)
"""What each day of the week, from Monday, adds to the log rate."""
TREND_PER_YEAR = 0.05
ADVENT_LIFT, ADVENT_CREST, ADVENT_DAYS = 0.35, 357, 8.0
QUAKE_DAYS = 30
QUAKE_DECAY_DAYS = 12.0
QUAKE_LIFTS = {("Manabi", True): 1.0, ("Manabi", False): -0.5, ("", True): 0.35, ("", False): 0.0}
"""What the earthquake adds to the log rate on its first day: (state, or "" for the others; relief goods)."""


def _of_families(name: str) -> FloatArray:
    return np.array([float(getattr(family, name)) for family in FAMILIES])


_SCALES = {name: _of_families(name) for name in ("weekly", "yearly", "crest", "festive", "payday", "relief")}


def _family_effects(when: date) -> FloatArray:
    """Return what the week, the year, the payday and the trend add to each family's log rate (F,)."""
    weekday = 4 if is_work_day(when) else when.weekday()
    day_of_year = when.timetuple().tm_yday
    wave = np.cos(2 * math.pi * (day_of_year - _SCALES["crest"]) / 365.25)
    advent = ADVENT_LIFT * math.exp(-(((day_of_year - ADVENT_CREST) / ADVENT_DAYS) ** 2))
    years = (when - EARTHQUAKE).days / 365.25
    return (
        WEEK[weekday] * _SCALES["weekly"]
        + _SCALES["yearly"] * wave
        + advent * _SCALES["festive"]
        + payday_lift(when) * _SCALES["payday"]
        + TREND_PER_YEAR * years
    )


def _holiday_effects(shop: Assortment, when: date) -> FloatArray:
    """Return what the strongest holiday of a date adds to each store's log rate (S,)."""
    effect = np.zeros(len(shop.stores))
    for row, lift in holidays_on(when):
        for i, store in enumerate(shop.stores):
            if row.locale_name in ("Ecuador", store.state if row.locale == "Regional" else store.city):
                effect[i] = max(effect[i], lift)
    return effect


def _quake_effects(shop: Assortment, when: date) -> FloatArray:
    """Return what the earthquake adds to each store's and family's log rate (S, F)."""
    after = (when - EARTHQUAKE).days
    effect = np.zeros((len(shop.stores), len(FAMILIES)))
    if not 0 <= after < QUAKE_DAYS:
        return effect
    relief = _SCALES["relief"] > 0
    for i, store in enumerate(shop.stores):
        state = "Manabi" if store.state == "Manabi" else ""
        effect[i] = np.where(relief, QUAKE_LIFTS[state, True], QUAKE_LIFTS[state, False])
    return effect * math.exp(-after / QUAKE_DECAY_DAYS)


def day_effects(spec: ShopSpec, shop: Assortment, day: int) -> FloatArray:
    """Return the sum of all effects of a day but promotions on the log rate, shape (S, F)."""
    when = spec.date_of(day)
    effect = _family_effects(when)[None, :] + _holiday_effects(shop, when)[:, None] * _SCALES["festive"]
    effect = effect + _quake_effects(shop, when)
    if "drift" in spec.scenarios and day >= spec.late_day:
        effect[:, drift_family(shop)] += math.log(DRIFT_FACTOR)
    return effect


@dataclass(frozen=True, eq=False)
class Demand:
    """The mean rate of each pair on each day.

    Attributes
    ----------
    spec : ShopSpec
    shop : Assortment
    rate, dispersion : ndarray, shape (P,)
        After the scenarios.
    campaigns : ndarray of bool, shape (I, weeks)
        Whether an item is promoted in a week, counted from the shop's first day.
    cell : ndarray of int, shape (P,)
        Index of a pair's store and family in a raveled (S, F) table.
    lift : ndarray of float, shape (P,)
        What a promotion multiplies the rate by.
    admitted : ndarray of int, shape (P,)
        Day from which on the plan admits the pair into the shop: 0, or later for the pair that makes the rows
        come out exactly, or the number of days for a pair that is left out. It does not touch the draws.
    """

    spec: ShopSpec
    shop: Assortment
    rate: FloatArray
    dispersion: FloatArray
    campaigns: BoolArray
    cell: IntArray
    lift: FloatArray
    admitted: IntArray

    def is_open(self, day: int) -> bool:
        """Return whether the stores are open on a day."""
        return not is_closed(self.spec.date_of(day))

    def listed(self, day: int) -> BoolArray:
        """Return which pairs are in the assortment on a day (P,)."""
        return (self.shop.first_day <= day) & (day <= self.shop.last_day) & (self.admitted <= day)

    def promoted(self, day: int) -> BoolArray:
        """Return which pairs are promoted on a day (P,)."""
        promoted: BoolArray = self.campaigns[self.shop.item, day // PROMOTION_DAYS] & self.shop.partakes
        return promoted

    def means(self, day: int, shocks: FloatArray | None = None) -> FloatArray:
        """Return the mean rate of each candidate pair on a day (P,), in units; 0 where the stores are closed.

        `shocks` (S, F), where given, multiply the rates: with them this is the mean given the day's shocks.
        Pairs that are not listed have a rate, too: draws of the others must not hang on who is listed.
        """
        if not self.is_open(day):
            return np.zeros(self.rate.size)
        table = np.exp(day_effects(self.spec, self.shop, day))
        if shocks is not None:
            table *= shocks
        mean = self.rate * table.ravel()[self.cell]
        promoted = np.flatnonzero(self.promoted(day))
        lift = self.lift[promoted]
        mean[promoted] *= lift if promotion_sign(self.spec, day) > 0 else 1 / lift
        return mean


def make_demand(spec: ShopSpec, pairs: int) -> Demand:
    """Make the demand of a shop of the first `pairs` candidate pairs."""
    shop = make_assortment(spec, pairs)
    rate, dispersion = with_bias(spec, shop)
    weeks = -(-spec.days // PROMOTION_DAYS)
    rng = generator(spec.seed, "campaigns")
    campaigns = rng.random((shop.item_nbr.size, weeks), dtype=np.float32) < PROMOTION_SHARE
    family = shop.item_family[shop.item]
    return Demand(
        spec=spec,
        shop=shop,
        rate=rate,
        dispersion=dispersion,
        campaigns=campaigns,
        cell=shop.store * len(FAMILIES) + family,
        lift=np.exp(_of_families("promotion"))[family],
        admitted=np.zeros(shop.item.size, dtype=np.int64),
    )
