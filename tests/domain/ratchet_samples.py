"""Pairs of models on the same rows: equal in law, or one worse somewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cd4ml.domain.ratchet import Comparison, Margins, compare
from cd4ml.features.columns import CategoryArray


def groups(codes: Any, name: str = "s") -> CategoryArray:
    found = np.asarray(codes, dtype=np.int32)
    return CategoryArray(found, tuple(f"{name}{number}" for number in range(int(found.max()) + 1)))


@dataclass(frozen=True)
class Pair:
    """Rows of shops and days; errors of both models share the day's shock and most of their noise."""

    y: Any
    challenger: Any
    champion: Any
    shop: CategoryArray
    day: Any
    seed: int

    def compare(self, metric: str = "mae", **more: Any) -> Comparison:
        given = {"slices": {"shop": self.shop}, "cluster": self.day, "seed": self.seed, "resamples": 400}
        return compare(metric, self.y, self.challenger, self.champion, **(given | more))


def draw(seed: int, shops: int = 20, days: int = 28, rows: int = 8) -> Pair:
    """Return two models of equal law; `rows` a shop and day."""
    rng = np.random.default_rng(seed)
    n = shops * days * rows
    day = np.repeat(np.arange(days), shops * rows)
    shop = np.tile(np.repeat(np.arange(shops), rows), days)
    y = 100 * np.exp(rng.normal(0, 0.3, n))
    shock = np.exp(rng.normal(0, 0.3, days))[day]
    shared = rng.normal(0, 10, n)

    def model() -> Any:
        own = np.exp(rng.normal(0, 0.05, days))[day]
        return y + (0.8 * shared + 0.6 * rng.normal(0, 10, n)) * shock * own

    return Pair(y, model(), model(), groups(shop), day, seed)


def worse(pair: Pair, factor: float, shop: int | None = None) -> Pair:
    """Return the pair with more error of the challenger, everywhere or in one shop."""
    chosen = np.ones(pair.y.size, dtype=bool) if shop is None else pair.shop.codes == shop
    error = (pair.challenger - pair.y) * np.where(chosen, factor, 1.0)
    return Pair(pair.y, pair.y + error, pair.champion, pair.shop, pair.day, pair.seed)


NO_MARGIN = Margins(overall=0.0, on_slices=0.0)
