"""A snapshot against the last accepted one: how many rows, which distributions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cd4ml.domain import distances
from cd4ml.tables.anomalies import Anomaly

if TYPE_CHECKING:
    from cd4ml.problem import Problem

__all__ = ["changes", "column_distance"]


def changes(
    problem: Problem, folder: Path, profile: Mapping[str, Any], before: Mapping[str, Any]
) -> Iterator[Anomaly]:
    """Yield what moved more than the contract allows since the profile `before`.

    Parameters
    ----------
    problem : Problem
    folder : Path
        Holds `<table>.parquet` of the new snapshot.
    profile, before : mapping
        Profiles of the new snapshot and of the last accepted one.
    """
    for name, table in problem.tables.items():
        old, new = before["tables"].get(name), profile["tables"][name]
        if not old or not old["rows"] or not new["rows"]:
            continue
        yield from _row_change(name, table.rows, old["rows"], new["rows"])
        for column, declared in table.columns.items():
            if column not in old["columns"] or old["columns"][column]["type"] != declared.type:
                continue
            measured = column_distance(old["columns"][column], new["columns"][column], folder, name, column)
            if measured is not None:
                yield from _too_far(name, column, table.drift, *measured)


def _row_change(name: str, rule: Any, old: int, new: int) -> Iterator[Anomaly]:
    if rule.max_change_fraction is None:
        return
    change = new / old - 1
    if abs(change) > rule.max_change_fraction:
        kind = "COMPARATOR_LOW_NUM_EXAMPLES" if change < 0 else "COMPARATOR_HIGH_NUM_EXAMPLES"
        detail = (
            f"expected at most {rule.max_change_fraction:.0%} more or less than the {old} rows of the last accepted"
            f" snapshot; found {new} ({change:+.0%})"
        )
        yield Anomaly(name, "", kind, rule.severity, 0, detail, rule.max_change_fraction, round(change, 6))


def column_distance(
    old: Mapping[str, Any], new: Mapping[str, Any], folder: Path, table: str, column: str
) -> tuple[str, float] | None:
    """Return ("l_infinity" or "jensen_shannon", distance) of a column to its old profile; None when it has neither.

    Categories and booleans: the largest change of a share. Numbers: the Jensen-Shannon distance (the root of the
    divergence in bits) over the old quantile bins, counted on the new values themselves.
    """
    if "top" in old and "top" in new:
        before, after = _shares(old), _shares(new)
        if not sum(before.values()) or not sum(after.values()):
            return None
        listed = {name for counts in (before, after) for name in counts}
        if len(listed) > 2 * len(old["top"]) and old["other"]:  # identifiers: shares say nothing
            return None
        return "l_infinity", distances.category_distances(before, after)["l_infinity"]
    bins = old.get("histogram") or {}
    if "quantile_edges" not in bins:
        return None
    counts = _counts_in(folder / f"{table}.parquet", column, bins["quantile_edges"])
    if not counts.sum():
        return None
    return "jensen_shannon", float(np.sqrt(distances.jensen_shannon(bins["quantile_counts"], counts)))


def _shares(profile: Mapping[str, Any]) -> dict[str, int]:
    return {f"={value}": rows for value, rows in profile["top"]} | (
        {"other": profile["other"]} if profile["other"] else {}
    )


def _counts_in(path: Path, column: str, edges: list[float]) -> Any:
    from cd4ml.tables.writer import read_frames

    total = np.zeros(len(edges) - 1, np.int64)
    for frame in read_frames(path, [column]):
        values = frame.get_column(column).drop_nulls().to_numpy().astype(np.float64)
        if len(values):
            total += distances.histogram(values, edges)
    return total


def _too_far(table: str, column: str, drift: Any, measure: str, distance: float) -> Iterator[Anomaly]:
    limit, kind = {
        "l_infinity": (drift.max_l_infinity, "COMPARATOR_L_INFTY_HIGH"),
        "jensen_shannon": (drift.max_jensen_shannon, "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"),
    }[measure]
    if distance > limit:
        detail = f"moved from the last accepted snapshot by {distance:.3f} ({measure}); allowed is {limit:g}, 0 is equal"
        yield Anomaly(table, column, kind, drift.severity, 0, detail, limit, round(distance, 6))
