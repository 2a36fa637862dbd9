"""The page of a snapshot: what its columns hold, what is missing, what stands out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from cd4ml.reports.data_sections import anomalies, table_rows
from cd4ml.reports.figures import Dot, dots, heatmap, histogram
from cd4ml.reports.formats import count, dash, day, finite, flatten, moment, number, percent, short_id, words
from cd4ml.reports.page import Figure, Grid, Section, Status, pairs, render

__all__ = ["profile_page"]

Json = Mapping[str, Any]
CATEGORIES_SHOWN = 10


def profile_page(profile: Json, validation: Json, manifest: Json) -> str:
    """Return the page of a snapshot from its profile.json, validation.json and manifest.json.

    Parameters
    ----------
    profile : mapping
        `{"tables": {NAME: {"rows", "columns": {NAME: {"type", "nulls", ...}}, "correlations", "gaps"}}}`.
        A column may have `histogram` (`edges`, `counts`) and `top` (`value`, `rows`); its other scalars are
        shown as they are.
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
    section.tables = pairs("Manifest", manifest)
    return section


def _table(name: str, table: Json) -> list[Section]:
    """Return the overview of a table and the distributions of its columns."""
    columns: Mapping[str, Json] = table.get("columns") or {}
    rows = finite(table.get("rows"))
    overview = Section(f"table-{name}", words(name).capitalize(), part="Table")
    overview.intro.append(f"{count(rows)} rows, {len(columns)} columns.")
    overview.tables = _overview(name, columns, rows) + _gaps(table.get("gaps"))
    found = _correlations(table.get("correlations"))
    if found:
        overview.figures.append(found)
    shapes = Section(f"columns-{name}", f"Columns of {words(name)}", absent="no distributions were taken.")
    for column, one in columns.items():
        picture = _distribution(str(column), one)
        if picture is not None:
            shapes.figures.append(Figure(picture, _caption(str(column), one, rows)))
    return [overview, shapes] if shapes.figures else [overview]


def _nulls(one: Json, rows: float | None) -> str:
    nulls = finite(one.get("nulls"))
    share = finite(one.get("null_fraction"))
    if share is None and nulls is not None and rows:
        share = nulls / rows
    return f"{count(nulls)} ({percent(share)})" if nulls is not None else percent(share)


def _scalars(one: Json) -> dict[str, str]:
    """Return the scalar facts of a column, also those of its nested mappings, as texts."""
    skip = ("type", "nulls", "null_fraction", "histogram", "top", "description")
    kept = {name: value for name, value in one.items() if name not in skip}
    return {name.split(".")[-1]: _fact(value) for name, value in flatten(kept) if value is not None}


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


def _gaps(gaps: object) -> list[Grid]:
    """Return stretches of time without rows."""
    if isinstance(gaps, Mapping):
        return pairs("Gaps in time", gaps)
    rows = [[_fact(value) for _, value in flatten(gap)] for gap in gaps] if isinstance(gaps, list) else []
    if not rows or not isinstance(gaps, list):
        return []
    head = tuple(words(name) or "gap" for name, _ in flatten(gaps[0]))
    return [Grid("Gaps in time", head, rows, frozenset(head))]


def _correlations(found: object) -> Figure | None:
    """Draw correlations given as `columns` and `values`, or as a mapping of mappings."""
    if not isinstance(found, Mapping) or not found:
        return None
    if "columns" in found:
        names, values = list(found["columns"]), found.get("values") or found.get("matrix") or []
    else:
        names = list(found)
        values = [[(found[a] or {}).get(b) for b in names] for a in names]
    if len(names) < 2 or len(values) != len(names):
        return None
    svg = heatmap([str(name) for name in names], values, label="Correlations of numeric columns")
    return Figure(
        svg, "Correlations of numeric columns: blue positive, orange negative, strong colours strong."
    )


def _distribution(column: str, one: Json) -> Markup | None:
    shape = one.get("histogram")
    if isinstance(shape, Mapping) and shape.get("counts"):
        label = f"Distribution of {column}"
        return histogram(shape.get("edges") or [], shape["counts"], label=label, unit=column, height=190)
    top: Sequence[Any] = one.get("top") or []
    rows = [Dot(*_category(item)) for item in top][:CATEGORIES_SHOWN]
    return dots(rows, label=f"Most frequent values of {column}", axis=f"rows by {column}") if rows else None


def _category(item: Any) -> tuple[str, float | None]:
    """Read a frequent value, written as a mapping or as a pair."""
    if isinstance(item, Mapping):
        n = next((item[key] for key in ("rows", "n", "count") if key in item), None)
        return str(item.get("value")), finite(n)
    return str(item[0]), finite(item[1])


def _caption(column: str, one: Json, rows: float | None) -> str:
    outliers = finite(one.get("outliers"))
    said = f"{column} ({one.get('type', 'unknown type')}), nulls: {_nulls(one, rows)}"
    said += f", outliers: {dash(int(outliers))}" if outliers is not None else ""
    return f"{said}. {one['description']}" if one.get("description") else f"{said}."
