"""What changed since the champion: in the data, in the code, in the parameters and in the problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cd4ml.adapters.differences import Difference, differences
from cd4ml.reports.formats import count, counted, day, finite, number
from cd4ml.reports.page import Cell, Code, Grid, Section

__all__ = ["PAPERS", "changes"]

Json = Mapping[str, Any]
PAPERS = ("lineage", "data", "problem", "versions")
"""The files of a bundle, without `.json`, that tell where it comes from."""
_ID_LENGTH = 32


def changes(papers: Json, champion: Json | None) -> Section:
    """Return what differs between two bundles, one table an axis; what is the same is said so.

    Parameters
    ----------
    papers, champion : mapping
        Name in PAPERS -> content of that file of the bundle; None where there is no champion.
    """
    section = Section("changes", "What changed since the champion", absent="there is no champion yet.")
    if champion is None:
        return section
    axes = {"data": _data, "code": _code, "parameters": _parameters, "problem": _problem}
    same = []
    for name, read in axes.items():
        found = differences([read(champion), read(papers)])
        if found:
            section.tables.append(_table(name, found))
        else:
            same.append(name)
    features = _features(champion, papers)
    section.points += features
    if len(same) == len(axes) and not features:
        section.intro.append("Nothing: data, code, parameters and problem are those of the champion.")
    elif same:
        section.intro.append(f"The same as the champion's: {', '.join(same)}.")
    return section


def _table(name: str, found: list[Difference]) -> Grid:
    rows: list[list[Cell]] = [
        [one.name.replace("_", " "), *(_cell(value) for value in one.values), _move(*one.values)]
        for one in found
    ]
    head = (name, "champion", "this model", "change")
    return Grid(f"Changes in the {name}", head, rows, frozenset(head), stacked=True)


def _cell(value: object) -> Cell:
    if value is None or value in ("", [], ()):
        return "–"
    if isinstance(value, str) and len(value) >= _ID_LENGTH and " " not in value:
        return Code(value[:12] + "…")
    if isinstance(value, list | tuple):
        return ", ".join(number(item) if not isinstance(item, Mapping) else "…" for item in value)
    return number(value)


def _move(before: object, after: object) -> str:
    """Say by how much a number grew; a dash for anything else."""
    old, new = finite(before), finite(after)
    if old is None or new is None:
        return "added" if before is None else "removed" if after is None else "–"
    sign = "+" if new > old else "−"
    share = f" ({sign}{abs(new - old) / abs(old):.1%})" if old else ""
    return f"{sign}{number(abs(new - old))}{share}".replace("%", " %")


def _part(papers: Json, name: str) -> Json:
    found = papers.get(name)
    return found if isinstance(found, Mapping) else {}


def _data(papers: Json) -> dict[str, Any]:
    data, lineage = _part(papers, "data"), _part(papers, "lineage")
    rows, split = _part(data, "rows"), _part(data, "split")
    found: dict[str, Any] = {
        "snapshot": lineage.get("snapshot"),
        "rows_of_facts": rows.get("in"),
        "rows_used": rows.get("used"),
        "clusters": _part(data, "clusters").get("count"),
    }
    found |= {f"left out by {name}": n for name, n in sorted(_part(rows, "filtered").items())}
    for key, said in (("train", "training"), ("holdout", "holdout")):
        part = split.get(key)
        part = part if isinstance(part, Mapping) else {"rows": part}
        found[f"{said}_rows"] = part.get("rows")
        found |= {f"{said}_{end}": day(part[end]) for end in ("first", "last") if part.get(end)}
    return found


def _code(papers: Json) -> dict[str, Any]:
    lineage = _part(papers, "lineage")
    git = _part(lineage, "git")
    return {
        "commit": git.get("commit"),
        "branch": git.get("branch"),
        "uncommitted_changes": git.get("dirty"),
        "code": lineage.get("code_sha256"),
        "lock_of_libraries": lineage.get("lock_sha256"),
        "image": lineage.get("image_digest"),
        "version": dict(_part(papers, "versions")),
    }


def _parameters(papers: Json) -> dict[str, Any]:
    lineage = _part(papers, "lineage")
    model, second = _part(lineage, "model"), _part(lineage, "quantile_model")
    kept = ("family", "loss", "transform", "minimum", "parameters")
    found: dict[str, Any] = {name: model.get(name) for name in kept}
    found["candidate"] = _part(lineage, "parameters").get("name")
    found["seeds"] = lineage.get("seeds")
    found["features"] = len(lineage.get("features") or [])
    return found | {"quantile": {name: second.get(name) for name in (*kept, "quantile")} if second else None}


def _problem(papers: Json) -> dict[str, Any]:
    """Return the problem file without what is no choice of its authors."""
    left_out = ("name", "description", "owner")
    return {name: value for name, value in _part(papers, "problem").items() if name not in left_out}


def _features(champion: Json, papers: Json) -> list[str]:
    before, after = ([*(_part(one, "lineage").get("features") or [])] for one in (champion, papers))
    said = []
    for word, names in (
        ("new", [name for name in after if name not in before]),
        ("gone", [name for name in before if name not in after]),
    ):
        if names:
            more = f" and {count(len(names) - 10)} more" if len(names) > 10 else ""
            said.append(f"{counted(len(names), f'{word} feature')}: {', '.join(names[:10])}{more}.")
    return said
