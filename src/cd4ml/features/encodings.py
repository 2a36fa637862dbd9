"""Categories as numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cd4ml.features.columns import ColumnLike, as_category
from cd4ml.features.keys import Cache

__all__ = ["Vocabulary", "fit_vocabulary"]


@dataclass(frozen=True)
class Vocabulary:
    """What training saw of a category.

    Parameters
    ----------
    texts : tuple of str
        By descending number of training rows, ties by text; rarer ones than the limit are left out.
    shares : tuple of float
        Share of each among all training rows, nulls included; in (0, 1].
    """

    texts: tuple[str, ...]
    shares: tuple[float, ...]
    _position: dict[str, int] = field(init=False, repr=False, compare=False)
    _values: dict[str, NDArray[np.float64]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_position", {text: code for code, text in enumerate(self.texts)})
        values = {
            "ordinal": np.array([*range(len(self.texts) + 1), np.nan], dtype=np.float64),
            "frequency": np.array([*self.shares, 0.0, np.nan], dtype=np.float64),
        }
        object.__setattr__(self, "_values", values)  # by code; the last one is that of -1

    def codes(self, column: ColumnLike, cache: Cache) -> NDArray[np.int64]:
        """Return 0 for the most frequent text and so on; `len(texts)`: rare or unknown; -1: null."""
        category = as_category(column)
        name = (id(self), id(category.categories))
        table = cache.get(name) if category is column else None
        if table is None:
            found = [self._position.get(text, len(self.texts)) for text in category.categories]
            table = np.array([*found, -1], dtype=np.int64)
            if category is column:  # else the categories live for this call alone
                cache[name] = table
        return table[category.codes]

    def unknown(self, column: ColumnLike) -> list[str]:
        """Return the column's texts that are not in the vocabulary, sorted."""
        category = as_category(column)
        used = np.unique(category.codes[category.codes >= 0])
        return sorted(
            category.categories[code] for code in used if category.categories[code] not in self._position
        )

    def encode(self, column: ColumnLike, encoding: str, cache: Cache) -> NDArray[np.float64]:
        """Return float64 [n, width]: see `docs/features.md` for what null and unknown become."""
        codes = self.codes(column, cache)
        if encoding == "one_hot":
            equal = np.equal(codes[:, None], np.arange(len(self.texts) + 1))
            return equal.astype(np.float64)
        return self._values[encoding][codes][:, None]


def fit_vocabulary(column: ColumnLike, max_categories: int) -> Vocabulary:
    """Count the categories of the training rows."""
    category = as_category(column)
    known = category.codes[category.codes >= 0]
    counts = np.bincount(known, minlength=len(category.categories))
    order = sorted(
        np.flatnonzero(counts).tolist(), key=lambda code: (-int(counts[code]), category.categories[code])
    )
    kept = order[:max_categories]
    total = max(1, len(category))
    return Vocabulary(
        tuple(category.categories[code] for code in kept), tuple(float(counts[code] / total) for code in kept)
    )
