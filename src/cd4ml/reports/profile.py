"""The page of a snapshot: what its columns hold, what is missing, what stands out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from cd4ml.reports.data_sections import anomalies, table_rows
from cd4ml.reports.figures import Dot, dots, heatmap, histogram
from cd4ml.reports.formats import (
    count,
    counted,
    day,
    days,
    finite,
    moment,
    number,
    percent,
    short_id,
    slug,
    stretch,
    words,
)
from cd4ml.reports.page import Cell, Figure, Grid, Section, Status, pairs, render

__all__ = ["profile_page"]

Json = Mapping[str, Any]
CATEGORIES_SHOWN = 10
_FACTS = ("distinct", "min", "median", "mean", "max", "std")


def profile_page(profile: Json, validation: Json, manifest: Json) -> str:
    """Return the page of a snapshot from its profile.json, validation.json and manifest.json.

    Parameters
    ----------
    profile : mapping
        As `cd4ml.tables.profile.profile_tables` makes it.
    """
    sections = [_contract(validation)]
    for name, table in (profile.get("tables") or {}).items():
        sections += _table(str(name), table)
    if len(sections) == 1:
        sections.append(Section("tables", "Tables", absent="no profile was made."))
    sections.append(_identity(manifest))
    refused = validation.get("refused")
    decision = None
    if validation:
        word, said = ("fail", "Refused by its contract") if refused else ("pass", "Accepted by its contract")
        decision = (Status(word), said)
    title = f"Snapshot {short_id(manifest.get('id'))}".strip()
    name = words(validation.get("problem") or manifest.get("problem") or "")
    return render(title, [], sections, decision=decision, kicker=f"Data profile · {name}".rstrip(" ·"))


def _contract(validation: Json) -> Section:
    section = Section("contract", "Contract", absent="the snapshot has no validation.")
    section.tables = table_rows(validation) + anomalies(validation)
    if validation and not validation.get("anomalies"):
        section.intro.append("No anomalies were found.")
    return section


def _identity(manifest: Json) -> Section:
    section = Section("identity", "Identity", absent="the snapshot has no manifest.")
    chosen = {key: value for key, value in manifest.items() if not isinstance(value, Mapping | list)}
    if isinstance(manifest.get("code"), Mapping):
        chosen["code"] = manifest["code"]
    section.tables = pairs("Snapshot", chosen)
    section.tables += pairs("Manifest as recorded", manifest, folded="The whole manifest")
    return section


def _table(name: str, table: Json) -> list[Section]:
    """Return the overview of a table and the distributions of its columns."""
    columns: Mapping[str, Json] = table.get("columns") or {}
    rows = finite(table.get("rows"))
    overview = Section(f"table-{slug(name)}", words(name).capitalize(), part="Table")
    overview.intro.append(f"{count(rows)} rows, {counted(len(columns), 'column')}.")
    if table.get("sampled"):
        overview.intro.append(
            f"Distributions are of {count(table.get('rows_profiled'))} rows, evenly spread."
        )
    said, holes = _gaps(table.get("time"), table.get("gaps") or [])
    overview.intro += said
    overview.tables = _overview(name, columns, rows) + holes
    found = _correlations(table.get("correlations"))
    if found:
        overview.figures.append(found)
    shapes = Section(
        f"columns-{slug(name)}", f"Columns of {words(name)}", absent="no distributions were taken."
    )
    for column, one in columns.items():
        picture = _distribution(str(column), one)
        if picture is not None:
            shapes.figures.append(Figure(picture, str(column), _note(one, rows)))
    return [overview, shapes] if shapes.figures else [overview]


def _nulls(one: Json, rows: float | None) -> str:
    nulls = finite(one.get("nulls"))
    return f"{count(nulls)} ({percent(nulls / rows)})" if nulls is not None and rows else count(nulls)


def _scalars(one: Json) -> dict[str, str]:
    """Return the facts of a column that fit in a table, as texts."""
    kept = {name: one[name] for name in _FACTS if one.get(name) is not None}
    if (outliers := _outliers(one)) is not None:
        kept["outliers"] = outliers
    return {name: _fact(value) for name, value in kept.items()}


def _outliers(one: Json) -> int | None:
    """Return the number of outliers, given alone or with their limits."""
    found = one.get("outliers")
    rows = finite(found.get("rows") if isinstance(found, Mapping) else found)
    return None if rows is None else int(rows)


def _fact(value: object) -> str:
    return day(value) if moment(value) else number(value)


def _overview(name: str, columns: Mapping[str, Json], rows: float | None) -> list[Grid]:
    facts = {column: _scalars(one) for column, one in columns.items()}
    names = list(dict.fromkeys(fact for one in facts.values() for fact in one))
    cells = [
        [str(c), str(one.get("type") or "–"), _nulls(one, rows), *(facts[c].get(n, "–") for n in names)]
        for c, one in columns.items()
    ]
    head = ("column", "type", "nulls", *map(words, names))
    return [Grid(f"Columns of {words(name)}", head, cells, frozenset({"column", "type"}))] if cells else []


def _gaps(found: object, holes: Sequence[Json]) -> tuple[list[str], list[Grid]]:
    """Say how many steps of the calendar have no row, and list the first holes."""
    if not isinstance(found, Mapping):
        return [], []
    step = stretch(found.get("step_seconds"))
    step = step if step[:1].isdigit() else f"one {step}"
    span = " to ".join(days([found.get("first"), found.get("last")]))
    missing, expected = count(found.get("missing_steps")), count(found.get("expected_steps"))
    said = (
        f"From {span} by {found.get('column')} in steps of {step}: {missing} of {expected} steps have no row"
    )
    said += (
        f"; the longest gap is {count(longest)} steps."
        if (longest := found.get("longest_gap_steps"))
        else "."
    )
    rows: list[list[Cell]] = [[day(gap.get("after")), count(gap.get("steps"))] for gap in holes]
    head, folded = ("after", "steps without a row"), f"The first gaps ({len(rows)})"
    return [said], [Grid("Gaps in time", head, rows, frozenset({"after"}), folded)] if rows else []


def _correlations(found: object) -> Figure | None:
    """Draw the correlations of `columns`, given as the rows of `matrix`."""
    if not isinstance(found, Mapping):
        return None
    names, values = list(found.get("columns") or []), list(found.get("matrix") or [])
    if len(names) < 2 or len(values) != len(names):
        return None
    svg = heatmap([str(name) for name in names], values, label="Correlations of numeric columns")
    return Figure(
        svg,
        "Correlations of numeric columns",
        "Blue: positive; orange: negative; the stronger, the darker. Columns bear the numbers of the rows.",
    )


def _distribution(column: str, one: Json) -> Markup | None:
    shape = one.get("histogram")
    if isinstance(shape, Mapping) and shape.get("counts"):
        label = f"Distribution of {column}"
        edges, counts = _bars(one, shape.get("edges") or [], shape["counts"])
        return histogram(edges, counts, label=label, unit=column, height=190)
    top: Sequence[Sequence[Any]] = one.get("top") or []
    rows = [Dot(str(value), finite(n)) for value, n in top[:CATEGORIES_SHOWN]]
    label = f"Most frequent values of {column}"
    return dots(rows, label=label, axis=f"rows by {column}", within=[0.0]) if rows else None


def _bars(one: Json, edges: Sequence[Any], counts: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return one bar a whole number where a bin of integers holds at most one; other bins as they are."""
    low, high = finite(one.get("min")), finite(one.get("max"))
    if one.get("type") != "integer" or low is None or high is None or high - low + 1 > len(counts):
        return edges, counts
    first = math.floor(low)
    bars = [0.0] * (math.floor(high) - first + 1)
    for start, n in zip(edges, counts, strict=False):
        place = min(math.ceil((finite(start) or 0.0) - 1e-9) - first, len(bars) - 1)
        bars[max(place, 0)] += finite(n) or 0.0
    return [first - 0.5 + index for index in range(len(bars) + 1)], bars


def _note(one: Json, rows: float | None) -> str:
    outliers = _outliers(one)
    said = f"{one.get('type', 'unknown type')}, nulls: {_nulls(one, rows)}"
    said += f", outliers: {outliers:,}" if outliers is not None else ""
    if len(one.get("top") or []) > CATEGORIES_SHOWN:
        said += f", the {CATEGORIES_SHOWN} most frequent of {count(one.get('distinct'))} values"
    return f"{said}. {one['description']}." if one.get("description") else f"{said}."
