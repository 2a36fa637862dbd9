"""Which features a column goes into."""

from __future__ import annotations

from cd4ml.features.layout import Derive
from cd4ml.features.plan import FeaturePart, Plan

__all__ = ["holders"]


def holders(plan: Plan, column: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the features that are the column, its past, or an expression over it."""
    parts = [feature.name for feature in plan.features if column in _sources(plan, feature)]
    return tuple(name for name in names if any(name == part or _coded(name, part) for part in parts))


def _coded(name: str, part: str) -> bool:
    """Whether a feature is one of the columns that a one-hot category became."""
    return part.endswith("=") and name.startswith(part)


def _sources(plan: Plan, feature: FeaturePart) -> set[str]:
    """Return the columns of which a feature is made, by expressions and not by joins."""
    if hasattr(feature, "series"):
        start = plan.series[feature.series].of
    elif hasattr(feature, "column"):
        start = feature.column
    else:
        return set()
    found = {start}
    for operation in reversed(plan.layout.operations):
        if isinstance(operation, Derive) and operation.name in found:
            found |= operation.needs
    return found
