"""What each scenario plants, and how large it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cd4ml.domain.shop.assortment import FAMILIES, Assortment
from cd4ml.domain.shop.spec import LAST_DATE, ShopSpec

__all__ = [
    "BIAS_CITY",
    "BIAS_DISPERSION",
    "BIAS_RECORDED_SHARE",
    "BREACHES",
    "DRIFT_FACTOR",
    "FUTURE_DATE",
    "STOCKOUT_SHARE",
    "UNKNOWN_STORE",
    "drift_family",
    "late_noise",
    "planted",
    "promotion_sign",
    "stockout_share",
    "with_bias",
]

BIAS_CITY = "Guayaquil"
BIAS_RECORDED_SHARE = 0.7
"""Share of that city's sales that is recorded."""
BIAS_DISPERSION = 0.8
"""Shape of the gamma noise in that city; elsewhere it is 3 to 8."""
DRIFT_FACTOR = 0.5
LATE_DISPERSION, LATE_SHOCKS = 5.0, 0.4
STOCKOUT_SHARE = {False: 0.05, True: 0.70}
"""Probability, without and with the scenario, that a pair runs out of stock within a fortnight."""
UNKNOWN_STORE = 99
FUTURE_DATE = LAST_DATE.replace(year=2217)
"""A slip of the pen for 2017: later than any day on which the data may be checked."""
BREACHES = {"unknown_store": 3, "duplicate_key": 5, "blank_unit_sales": 4, "future_date": 2}
"""Rows that the scenario `contract-breach` spoils, by kind."""


def drift_family(shop: Assortment) -> int:
    """Return the family that drifts: BEVERAGES, or in a shop too small for it that of the first item."""
    wanted = next(i for i, family in enumerate(FAMILIES) if family.name == "BEVERAGES")
    return wanted if bool((shop.item_family == wanted).any()) else int(shop.item_family[0])


def with_bias(spec: ShopSpec, shop: Assortment) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return each pair's rate and dispersion (P,) after the scenario `bias`."""
    if "bias" not in spec.scenarios:
        return shop.rate, shop.dispersion
    there = np.array([store.city == BIAS_CITY for store in shop.stores])[shop.store]
    rate = np.where(there, shop.rate * BIAS_RECORDED_SHARE, shop.rate)
    return rate, np.where(there, BIAS_DISPERSION, shop.dispersion)


def late_noise(spec: ShopSpec, day: int) -> tuple[float, float]:
    """Return what dispersion and shocks are multiplied by on a day: 1 but for `better-regime`."""
    better = "better-regime" in spec.scenarios and day >= spec.late_day
    return (LATE_DISPERSION, LATE_SHOCKS) if better else (1.0, 1.0)


def promotion_sign(spec: ShopSpec, day: int) -> float:
    """Return 1, or -1 on days on which promotions lower sales (`worse-regime`)."""
    return -1.0 if "worse-regime" in spec.scenarios and day >= spec.late_day else 1.0


def stockout_share(spec: ShopSpec) -> float:
    """Return the probability that a pair runs out of stock within a fortnight."""
    return STOCKOUT_SHARE["stockouts" in spec.scenarios]


def planted(spec: ShopSpec, shop: Assortment) -> dict[str, dict[str, Any]]:
    """Return the truth of each scenario of the spec, as JSON can hold it."""
    late = {"first_date": spec.date_of(spec.late_day).isoformat(), "last_date": LAST_DATE.isoformat()}
    lifts = {family.name: family.promotion for family in FAMILIES}
    stores = [store.store_nbr for store in shop.stores if store.city == BIAS_CITY]
    truth: dict[str, dict[str, Any]] = {
        "better-regime": {**late, "dispersion_factor": LATE_DISPERSION, "shock_factor": LATE_SHOCKS},
        "bias": {
            "city": BIAS_CITY,
            "stores": stores,
            "recorded_share": BIAS_RECORDED_SHARE,
            "dispersion": BIAS_DISPERSION,
        },
        "contract-breach": {
            **BREACHES,
            "unknown_store_is": UNKNOWN_STORE,
            "future_date_is": FUTURE_DATE.isoformat(),
        },
        "drift": {**late, "family": FAMILIES[drift_family(shop)].name, "rate_factor": DRIFT_FACTOR},
        "stockouts": {
            "share_of_pairs_per_fortnight": STOCKOUT_SHARE[True],
            "share_without": STOCKOUT_SHARE[False],
        },
        "worse-regime": {**late, "promotion_log_lift_before": lifts, "promotion_sign_after": -1.0},
    }
    return {name: truth[name] for name in spec.scenarios}
