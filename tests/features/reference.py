"""What the features of the past must be, slowly and from their definitions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.features.samples import FIRST

Row = Mapping[str, Any]
Value = float | None


class History:
    """Rows of the shop by definition: a dictionary, no array."""

    def __init__(
        self, rows: Sequence[Row], others: Mapping[str, Sequence[Row]], absent_is_zero: bool
    ) -> None:
        family = {row["item"]: row["family"] for row in others["items"]}
        price = {row["date"]: row["price"] for row in others.get("oil", [])}
        self.absent_is_zero = absent_is_zero
        self.rows = [
            {
                **row,
                "step": (row["date"] - FIRST).days,
                "family": family[row["item"]],
                "price": price.get(row["date"]),
                "log_amount": math.log1p(max(row["amount"], 0)),
                "promoted": float(row["promo"] or 0),
            }
            for row in rows
        ]
        self.last = max(row["step"] for row in self.rows)

    def cell(
        self, of: str, by: Callable[[Row], Any], group: Any, step: int, aggregate: str, own: bool
    ) -> Value:
        """Return the value of a group at a step: its units put together; a unit is an entity in a group."""
        units: dict[Any, list[Row]] = defaultdict(list)
        for row in self.rows:
            if by(row) == group:
                units[(row["store"], row["item"])].append(row)
        found = []
        for members in units.values():
            here = [row[of] for row in members if row["step"] == step]
            known = [value for value in here if value is not None]
            born = min(row["step"] for row in members)
            if known:
                found.append(sum(known) / (len(known) if aggregate == "mean" else 1))
            elif not here and own and self.absent_is_zero and born <= step <= self.last:
                found.append(0.0)
        if not found:
            return None
        return sum(found) / (len(found) if aggregate == "mean" else 1)

    def age(self, by: Callable[[Row], Any], group: Any, step: int, delay: int) -> float:
        steps = [row["step"] for row in self.rows if by(row) == group]
        return float(step - min(steps)) if steps and min(steps) <= step - delay else 0.0


def statistic(name: str, values: Sequence[Value]) -> Value:
    """Return a statistic of the known values."""
    known = sorted(value for value in values if value is not None)
    if name == "count":
        return float(len(known))
    if not known or (name == "std" and len(known) < 2):
        return None
    mean = sum(known) / len(known)
    middle = len(known) // 2
    return {
        "mean": mean,
        "sum": sum(known),
        "min": known[0],
        "max": known[-1],
        "median": known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2,
        "share_nonzero": sum(value != 0 for value in known) / len(known),
        "std": math.sqrt(sum((v - mean) ** 2 for v in known) / (len(known) - 1)) if len(known) > 1 else 0.0,
    }[name]
