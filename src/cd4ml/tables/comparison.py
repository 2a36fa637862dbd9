"""A snapshot against another: contract, how many rows, which distributions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cd4ml.domain import distances
from cd4ml.tables.anomalies import Anomaly, table_severity
from cd4ml.tables.compatibility import ContractChange, contract_changes, contract_of

if TYPE_CHECKING:
    from cd4ml.problem import Drift, Problem, RowCount

__all__ = ["Accepted", "changes", "column_distance", "compare_snapshots", "profile_distance"]

_IDENTIFIERS = 0.5
"""A column with more distinct values than this share of its rows names rows; their shares say nothing."""
_SHOWN_VALUES = 5


@dataclass(frozen=True)
class Accepted:
    """What is kept of the last accepted snapshot: its manifest.json and its profile.json."""

    manifest: Mapping[str, Any]
    profile: Mapping[str, Any]


def changes(
    problem: Problem, folder: Path, profile: Mapping[str, Any], before: Accepted
) -> Iterator[Anomaly]:
    """Yield what moved more than the contract allows since the last accepted snapshot.

    Parameters
    ----------
    problem : Problem
    folder : Path
        Holds `<table>.parquet` of the new snapshot.
    profile : mapping
        Profile of the new snapshot.
    before : Accepted
    """
    for change in contract_changes(before.manifest["tables"], contract_of(problem)):
        if change.table in problem.tables and not (change.backward and change.forward):
            yield _incompatible(change)
    for name, table in problem.tables.items():
        old, new = before.profile["tables"].get(name), profile["tables"][name]
        if not old or not old["rows"] or not new["rows"]:
            continue
        yield from _row_change(name, table.rows, old["rows"], new["rows"])
        for column, declared in table.columns.items():
            if column in old["columns"] and old["columns"][column]["type"] == declared.type:
                pair = old["columns"][column], new["columns"][column]
                measured = column_distance(*pair, folder, name, column)
                yield from _too_far(name, column, table.drift, pair, measured)
                if declared.type == "category" and declared.allowed is None:
                    yield from _new_values(name, column, *pair)


def _incompatible(change: ContractChange) -> Anomaly:
    ways = [way for way in ("backward", "forward") if not getattr(change, way)]
    detail = (
        f"the contract changed since the last accepted snapshot ({change.change}:"
        f" {change.old} -> {change.new}); it is not {' and not '.join(ways)} compatible"
    )
    kind = f"SCHEMA_NOT_{ways[0].upper()}_COMPATIBLE"
    return Anomaly(change.table, change.column, kind, "warn", 0, detail, change.old, change.new)


def _row_change(name: str, rule: RowCount, old: int, new: int) -> Iterator[Anomaly]:
    if rule.max_change_fraction is None:
        return
    change = new / old - 1
    if abs(change) > rule.max_change_fraction:
        kind = "COMPARATOR_LOW_NUM_EXAMPLES" if change < 0 else "COMPARATOR_HIGH_NUM_EXAMPLES"
        detail = (
            f"expected at most {rule.max_change_fraction:.0%} more or less than the {old} rows of the last"
            f" accepted snapshot; found {new} ({change:+.0%})"
        )
        severity = table_severity(rule.severity)
        yield Anomaly(name, "", kind, severity, 0, detail, rule.max_change_fraction, round(change, 6))


def column_distance(
    old: Mapping[str, Any], new: Mapping[str, Any], folder: Path, table: str, column: str
) -> tuple[str, float] | None:
    """Return ("l_infinity" or "jensen_shannon", distance) of a column to its old profile, or None.

    Categories and booleans: the largest change of a share. Numbers: the Jensen-Shannon distance (the root of
    the divergence in bits) over the old quantile bins, counted on the new values themselves. 0 means equal.
    """
    bins = old.get("histogram") or {}
    if "quantile_edges" not in bins:
        return profile_distance(old, new)
    counts = _counts_in(folder / f"{table}.parquet", column, bins["quantile_edges"])
    if not counts.sum():
        return None
    return "jensen_shannon", float(np.sqrt(distances.jensen_shannon(bins["quantile_counts"], counts)))


def profile_distance(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, float] | None:
    """Return what `column_distance` does from two profiles alone; numbers are taken for even within a bin."""
    if "top" in old and "top" in new:
        before, after = _counts(old), _counts(new)
        if not before or not after or _names_rows(old):
            return None
        return "l_infinity", distances.category_distances(before, after)["l_infinity"]
    bins = [(profile.get("histogram") or {}) for profile in (old, new)]
    if any("quantile_edges" not in found for found in bins):
        return None
    pairs = [found[key] for found in bins for key in ("quantile_edges", "quantile_counts")]
    return "jensen_shannon", float(np.sqrt(distances.numeric_distances(*pairs)["jensen_shannon"]))


def _names_rows(profile: Mapping[str, Any]) -> bool:
    known = profile["count"] - profile["nulls"]
    return bool(profile["other"] and profile["distinct"] > _IDENTIFIERS * known)


def _counts(profile: Mapping[str, Any]) -> dict[str, int]:
    """Return rows by value; `=` before it keeps a value "other" apart from all the others."""
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


def _too_far(
    table: str,
    column: str,
    drift: Drift,
    pair: tuple[Mapping[str, Any], Mapping[str, Any]],
    measured: tuple[str, float] | None,
) -> Iterator[Anomaly]:
    """Yield anomalies for a distribution and for a share of nulls that moved too far."""
    severity = table_severity(drift.severity)
    measure, distance = measured or ("l_infinity", 0.0)
    limit, kind = {
        "l_infinity": (drift.max_l_infinity, "COMPARATOR_L_INFTY_HIGH"),
        "jensen_shannon": (drift.max_jensen_shannon, "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"),
    }[measure]
    if distance > limit:
        most = _most_moved(*pair) if measure == "l_infinity" else ""
        detail = (
            f"moved from the last accepted snapshot by {distance:.3f} ({measure}{most}); allowed is"
            f" {limit:g}, 0 is equal"
        )
        yield Anomaly(table, column, kind, severity, 0, detail, limit, round(distance, 6))
    before, after = (profile["nulls"] / max(profile["count"], 1) for profile in pair)
    if abs(after - before) > drift.max_l_infinity:
        detail = (
            f"the share of rows without a value moved from {before:.3f} to {after:.3f}; allowed is"
            f" {drift.max_l_infinity:g}"
        )
        moved = round(abs(after - before), 6)
        yield Anomaly(
            table, column, "COMPARATOR_L_INFTY_HIGH", severity, 0, detail, drift.max_l_infinity, moved
        )


def _most_moved(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    before, after = _counts(old), _counts(new)
    shares = {
        name: (before.get(name, 0) / sum(before.values()), after.get(name, 0) / sum(after.values()))
        for name in sorted(before.keys() | after.keys())
    }
    name = max(shares, key=lambda key: abs(shares[key][1] - shares[key][0]))
    return f", most {name.removeprefix('=')!r}: {shares[name][0]:.3f} -> {shares[name][1]:.3f}"


def _new_values(table: str, column: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Anomaly]:
    """Yield a warning for values that the last accepted snapshot, of which all are known, did not have."""
    if old["other"]:
        return
    known = {value for value, _ in old["top"]}
    found = {value: rows for value, rows in new["top"] if value not in known}
    if found:
        shown = ", ".join(repr(value) for value in list(found)[:_SHOWN_VALUES])
        more = f" and {len(found) - _SHOWN_VALUES} more" if len(found) > _SHOWN_VALUES else ""
        detail = f"values that the last accepted snapshot did not have: {shown}{more}"
        kind = "COMPARATOR_NEW_VALUES"
        yield Anomaly(table, column, kind, "warn", sum(found.values()), detail, None, len(found))


def compare_snapshots(first: Accepted, second: Accepted) -> dict[str, Any]:
    """Return what changed from one snapshot to another, from their manifests and profiles alone.

    Returns
    -------
    dict
        "first", "second" (ids); "same" (equal ids); "backward", "forward" (compatibility of the contracts);
        "contract" (a list of ContractChange as dict); "tables": {table: {"rows", "rows_quarantined" (pairs),
        "content" ("same" or "changed"), "columns": {column: {"nulls" (pair), "measure", "distance"}}}}.
        Columns whose nulls and distribution did not change are left out; a distance of 0 means equal.
    """
    old, new = first.manifest, second.manifest
    contract = contract_changes(old["tables"], new["tables"])
    names = [name for name in new["tables"] if name in old["tables"]]
    return {
        "first": old["id"],
        "second": new["id"],
        "same": old["id"] == new["id"],
        "backward": all(change.backward for change in contract),
        "forward": all(change.forward for change in contract),
        "contract": [asdict(change) for change in contract],
        "tables": {name: _compare_table(name, first, second) for name in names},
    }


def _compare_table(name: str, first: Accepted, second: Accepted) -> dict[str, Any]:
    old, new = (one.manifest["tables"][name] for one in (first, second))
    before, after = (one.profile["tables"][name]["columns"] for one in (first, second))
    columns = {}
    for column in after:
        if column not in before or before[column]["type"] != after[column]["type"]:
            continue
        measure, distance = profile_distance(before[column], after[column]) or (None, None)
        nulls = [before[column]["nulls"], after[column]["nulls"]]
        if distance or nulls[0] != nulls[1]:
            columns[column] = {"nulls": nulls, "measure": measure, "distance": distance}
    return {
        "rows": [old["rows"], new["rows"]],
        "rows_quarantined": [old["rows_quarantined"], new["rows_quarantined"]],
        "content": "same" if old["digest"] == new["digest"] else "changed",
        "columns": columns,
    }
