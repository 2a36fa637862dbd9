"""The stores, the families and the items of the practice shop, and which store lists which item."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cd4ml.domain.shop.spec import ShopSpec, generator

__all__ = [
    "FAMILIES",
    "STORES",
    "TYPE_LEVEL",
    "Assortment",
    "Family",
    "Store",
    "make_assortment",
]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

NOMINAL_DENSITY = 0.75
"""Rows per store, item and day that are assumed when the shop is sized; the count then comes out exactly."""
LISTED_SHARE = 0.75
"""Share of all pairs of a store and an item that a shop of the asked size lists, about."""
TYPE_LEVEL = {"A": 0.45, "B": 0.0, "C": -0.30, "D": 0.10, "E": -0.15}
STORE_SPREAD, CLUSTER_SPREAD, PAIR_SPREAD, ITEM_SPREAD = 0.15, 0.20, 0.30, 0.60
PARETO_SHAPE, PARETO_SCALE, MAX_POPULARITY = 1.6, 1.5, 300.0
NEW_SHARE, LEAVING_SHARE, PARTAKING_SHARE = 0.20, 0.08, 0.85


class Store(NamedTuple):
    """A row of stores.csv."""

    store_nbr: int
    city: str
    state: str
    type: str
    cluster: int


class Family(NamedTuple):
    """A family of items: how many there are and how their demand moves.

    `weekly`, `festive` and `payday` scale the effects that all families share; `yearly` is the amplitude of a
    wave in the log rate with its crest on day `crest` of the year; `promotion` is what a promotion adds to
    the log rate; `dispersion` is the shape k of the gamma noise, whose variance is 1 / k.
    """

    name: str
    items: int
    perishable: bool
    weighed_share: float
    weekly: float
    yearly: float
    crest: int
    festive: float
    payday: float
    promotion: float
    dispersion: float
    relief: bool = False


# fmt: off
_PLACES = (
    ("Quito", "Pichincha", "1D13 2D13 3D8 4D9 6D13 7D8 8D8 9B6 10C15 17C12 18B16 20B6"),
    ("Quito", "Pichincha", "44A5 45A11 46A14 47A14 48A14 49A11"),
    ("Santo Domingo", "Santo Domingo de los Tsachilas", "5D4 16C3 21B6"), ("Cayambe", "Pichincha", "11B6"),
    ("Latacunga", "Cotopaxi", "12C15 13C15"), ("Riobamba", "Chimborazo", "14C7"),
    ("Ibarra", "Imbabura", "15C15"),
    ("Guaranda", "Bolivar", "19C15"), ("Puyo", "Pastaza", "22C7"), ("Ambato", "Tungurahua", "23D9 50A14"),
    ("Guayaquil", "Guayas", "24D1 26D10 28E10 29E10 30C3 32C3 34B6 51A17"),
    ("Salinas", "Santa Elena", "25D1"),
    ("Daule", "Guayas", "27D1"), ("Babahoyo", "Los Rios", "31B10"), ("Quevedo", "Los Rios", "33C3"),
    ("Playas", "Guayas", "35C3"), ("Libertad", "Guayas", "36E10"), ("Cuenca", "Azuay", "37D2 39B6 42D2"),
    ("Loja", "Loja", "38D4"), ("Machala", "El Oro", "40C3 41D4"), ("Esmeraldas", "Esmeraldas", "43E10"),
    ("Manta", "Manabi", "52A11 53D13"), ("El Carmen", "Manabi", "54C3"),
)
FAMILIES = (
    #       name                         items  perish. kg   week  year crest fest. pay  promo  k   relief
    Family("GROCERY I",                   1334, False, 0.0, 1.0, 0.06, 350, 1.0, 1.2, 0.45, 4.0, True),
    Family("BEVERAGES",                    613, False, 0.0, 1.1, 0.14, 60, 1.3, 1.0, 0.60, 4.0, True),
    Family("CLEANING",                     446, False, 0.0, 0.9, 0.04, 10, 0.5, 1.5, 0.50, 3.0, True),
    Family("PRODUCE",                      306, True, 0.7, 1.0, 0.10, 90, 0.7, 0.6, 0.40, 8.0),
    Family("DAIRY",                        242, True, 0.0, 0.9, 0.05, 200, 0.7, 0.9, 0.45, 8.0),
    Family("PERSONAL CARE",                153, False, 0.0, 0.8, 0.05, 350, 0.6, 1.4, 0.55, 3.0, True),
    Family("BREAD/BAKERY",                 134, True, 0.1, 0.6, 0.06, 320, 1.0, 0.5, 0.35, 8.0, True),
    Family("HOME CARE",                    108, False, 0.0, 0.9, 0.05, 350, 0.5, 1.3, 0.50, 3.0),
    Family("DELI",                          91, True, 0.3, 1.1, 0.06, 350, 1.2, 0.8, 0.45, 8.0),
    Family("MEATS",                         84, True, 0.8, 1.4, 0.05, 350, 1.3, 1.0, 0.70, 4.0),
    Family("HOME AND KITCHEN I",            77, False, 0.0, 1.0, 0.15, 350, 1.2, 1.0, 0.60, 3.0),
    Family("LIQUOR,WINE,BEER",              73, False, 0.0, 1.8, 0.15, 350, 1.6, 1.0, 0.60, 3.0),
    Family("FROZEN FOODS",                  55, False, 0.0, 0.9, 0.12, 350, 1.2, 0.9, 0.55, 4.0),
    Family("POULTRY",                       54, True, 0.8, 1.3, 0.05, 350, 1.1, 1.0, 0.60, 4.0),
    Family("HOME AND KITCHEN II",           45, False, 0.0, 1.0, 0.15, 350, 1.2, 1.0, 0.60, 3.0),
    Family("EGGS",                          41, True, 0.0, 0.8, 0.05, 60, 0.7, 0.9, 0.40, 8.0),
    Family("CELEBRATION",                   31, False, 0.0, 1.5, 0.20, 350, 1.6, 0.8, 0.50, 3.0),
    Family("LAWN AND GARDEN",               26, False, 0.0, 1.4, 0.10, 330, 0.4, 0.8, 0.45, 3.0),
    Family("PREPARED FOODS",                26, True, 0.5, 0.9, 0.06, 350, 0.8, 0.7, 0.45, 8.0),
    Family("LADIESWEAR",                    21, False, 0.0, 1.1, 0.15, 350, 1.2, 1.1, 0.55, 3.0),
    Family("LINGERIE",                      20, False, 0.0, 0.9, 0.10, 350, 0.8, 1.1, 0.50, 3.0),
    Family("AUTOMOTIVE",                    20, False, 0.0, 1.1, 0.06, 350, 0.4, 0.9, 0.45, 3.0),
    Family("BEAUTY",                        19, False, 0.0, 0.9, 0.10, 350, 0.8, 1.2, 0.55, 3.0),
    Family("PLAYERS AND ELECTRONICS",       17, False, 0.0, 1.1, 0.20, 350, 1.2, 1.1, 0.60, 3.0),
    Family("SCHOOL AND OFFICE SUPPLIES",    15, False, 0.0, 0.6, 0.60, 245, 0.2, 1.0, 0.60, 3.0),
    Family("GROCERY II",                    14, False, 0.0, 1.1, 0.15, 350, 1.2, 0.9, 0.50, 4.0),
    Family("PET SUPPLIES",                  14, False, 0.0, 0.9, 0.04, 350, 0.3, 1.0, 0.45, 3.0),
    Family("SEAFOOD",                        8, True, 0.7, 1.3, 0.10, 95, 0.9, 0.8, 0.55, 4.0),
    Family("MAGAZINES",                      6, False, 0.0, 0.9, 0.04, 350, 0.4, 0.7, 0.35, 3.0),
    Family("HARDWARE",                       4, False, 0.0, 1.1, 0.05, 350, 0.4, 0.9, 0.45, 3.0),
    Family("HOME APPLIANCES",                1, False, 0.0, 1.1, 0.15, 350, 1.2, 1.1, 0.60, 3.0),
    Family("BABY CARE",                      1, False, 0.0, 0.8, 0.04, 350, 0.4, 1.4, 0.55, 3.0, True),
    Family("BOOKS",                          1, False, 0.0, 0.9, 0.10, 245, 0.6, 0.8, 0.40, 3.0),
)
# fmt: on


def _stores() -> tuple[Store, ...]:
    """Return the 54 stores in the order in which a small shop opens them.

    The order brings Quito, Manabi (the earthquake), Guayaquil (the bias) and each type of store in early.
    """
    found = {}
    for city, state, codes in _PLACES:
        for code in codes.split():
            kind = next(sign for sign in code if sign.isalpha())
            number, cluster = (int(part) for part in code.split(kind))
            found[number] = Store(number, city, state, kind, cluster)
    first = (44, 52, 24, 37, 3, 54, 45, 5, 39, 51, 12, 28, 15, 53, 10, 26)
    return tuple(found[number] for number in (*first, *sorted(set(found) - set(first))))


STORES = _stores()


@dataclass(frozen=True, eq=False)
class Assortment:
    """The shop's stores (S), items (I) and candidate pairs of both (P), by store number, then item number.

    Attributes
    ----------
    stores : tuple of Store
        Ascending by number.
    store_level : ndarray of float, shape (S,)
        What a store adds to the log rate of all of its pairs.
    item_nbr, item_family, item_class : ndarray of int, shape (I,)
        Ascending by number; the family is an index of `FAMILIES`.
    first_day, last_day : ndarray of int, shape (P,)
        Days on which the pair is listed, both inclusive.
    store, item : ndarray of int, shape (P,)
        Indices of `stores` and of the items.
    rank : ndarray of int, shape (P,)
        Order, random, in which pairs are taken into the shop.
    rate : ndarray of float, shape (P,)
        Units a day, before all effects.
    dispersion : ndarray of float, shape (P,)
        Shape k of the gamma noise.
    weighed : ndarray of bool, shape (P,)
        Whether the item is sold by the kilogram.
    partakes : ndarray of bool, shape (P,)
        Whether the store takes part when the item is promoted.
    """

    stores: tuple[Store, ...]
    store_level: FloatArray
    item_nbr: IntArray
    item_family: IntArray
    item_class: IntArray
    first_day: IntArray
    last_day: IntArray
    store: IntArray
    item: IntArray
    rank: IntArray
    rate: FloatArray
    dispersion: FloatArray
    weighed: BoolArray
    partakes: BoolArray


def _size(spec: ShopSpec) -> tuple[int, int]:
    """Return how many stores and how many items a shop of so many rows has."""
    pairs = spec.rows / (spec.days * NOMINAL_DENSITY)
    stores = min(max(round(0.54 * math.sqrt(pairs)), 3), len(STORES))
    return stores, max(math.ceil(pairs / (LISTED_SHARE * stores)), 2)


def _families_of(count: int, rng: np.random.Generator) -> IntArray:
    """Return a family for each of `count` items, in the proportions of `FAMILIES`, in random order."""
    edges = np.cumsum([family.items for family in FAMILIES])
    positions = (np.arange(count) + 0.5) / count * edges[-1]
    return rng.permutation(np.searchsorted(edges, positions, side="right")).astype(np.int64)


def _lifetimes(days: int, count: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Return each item's first and last day; new items come last, as they have the highest numbers."""
    new = rng.binomial(count, NEW_SHARE)
    first = np.zeros(count, dtype=np.int64)
    first[count - new :] = np.sort(rng.integers(max(days // 20, 1), days, size=new))
    last = np.full(count, days - 1, dtype=np.int64)
    leaves = rng.random(count) < LEAVING_SHARE
    leaves[count - new :] = False
    last[leaves] = rng.integers(days // 10, days, size=int(leaves.sum()))
    return first, last


def _cluster_tastes(spec: ShopSpec) -> FloatArray:
    """Return what each cluster (row, by number from 0) adds to each family's log rate."""
    clusters = max(store.cluster for store in STORES) + 1
    return CLUSTER_SPREAD * generator(spec.seed, "clusters").standard_normal((clusters, len(FAMILIES)))


def make_assortment(spec: ShopSpec, pairs: int) -> Assortment:
    """Make the stores, the items and the first `pairs` pairs of the random order.

    The same seed, rows and days give the same shop whatever `pairs` is; a larger number adds pairs.
    """
    store_count, item_count = _size(spec)
    item_count = max(item_count, math.ceil(pairs / store_count))
    stores = tuple(sorted(STORES[:store_count]))
    rng = generator(spec.seed, "assortment")
    level = np.array([TYPE_LEVEL[s.type] for s in stores]) + STORE_SPREAD * rng.standard_normal(store_count)
    family = _families_of(item_count, rng)
    first, last = _lifetimes(spec.days, item_count, rng)
    gap = max(2_000_000 // item_count, 1)
    number = 96_994 + np.cumsum(rng.integers(1, gap + 1, size=item_count))
    tail = PARETO_SCALE * (1 + rng.pareto(PARETO_SHAPE, item_count))
    popularity = np.minimum(tail * np.exp(ITEM_SPREAD * rng.standard_normal(item_count)), MAX_POPULARITY)
    weighed = rng.random(item_count) < np.array([f.weighed_share for f in FAMILIES])[family]
    order = rng.permutation(store_count * item_count)[:pairs]
    cells = np.sort(order)
    rank = np.empty(cells.size, dtype=np.int64)
    rank[np.searchsorted(cells, order)] = np.arange(cells.size)
    store, item = cells // item_count, cells % item_count
    noise = generator(spec.seed, "pairs").standard_normal(store_count * item_count)[cells]
    cluster = np.array([s.cluster for s in stores])
    taste = _cluster_tastes(spec)[cluster[store], family[item]]
    partakes = generator(spec.seed, "partakes").random(store_count * item_count)[cells] < PARTAKING_SHARE
    return Assortment(
        stores=stores,
        store_level=level,
        item_nbr=number,
        item_family=family,
        item_class=1000 + 60 * family + 2 * rng.integers(0, 20, size=item_count),
        first_day=first[item],
        last_day=last[item],
        store=store,
        item=item,
        rank=rank,
        rate=popularity[item] * np.exp(level[store] + taste + PAIR_SPREAD * noise),
        dispersion=np.array([f.dispersion for f in FAMILIES])[family[item]],
        weighed=weighed[item],
        partakes=partakes,
    )
