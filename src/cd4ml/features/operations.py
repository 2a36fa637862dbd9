"""Do what a plan says with columns: derive and join."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cd4ml.errors import DataError, nearest
from cd4ml.features.columns import ColumnLike, ColumnSet
from cd4ml.features.joins import Lookup, apply_join
from cd4ml.features.keys import Cache
from cd4ml.features.layout import Derive, Operation

__all__ = ["require_columns", "run_operations"]


def require_columns(facts: ColumnSet, names: Iterable[str]) -> None:
    """Raise DataError when a column is absent."""
    for name in names:
        if name not in facts:
            raise DataError(f"expected the column '{name}'{nearest(name, facts) or '; it is absent'}")


def run_operations(
    operations: Sequence[Operation], lookups: Sequence[Lookup], facts: ColumnSet, cache: Cache
) -> dict[str, ColumnLike]:
    """Return the facts' columns and the new ones; `cache` belongs to one call over facts of one origin."""
    columns: dict[str, ColumnLike] = dict(facts)
    for operation in operations:
        if isinstance(operation, Derive):
            columns[operation.name] = operation.expression.evaluate(columns)
        else:
            columns.update(apply_join(operation, lookups[operation.index], columns, cache))
    return columns
