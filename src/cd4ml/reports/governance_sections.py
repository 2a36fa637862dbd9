"""Who relies on the model, and how often its holdout was looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cd4ml.reports.formats import count, counted, dash, day, finite, number, sentence, words
from cd4ml.reports.page import Cell, Code, Grid, Section, Status, chips

__all__ = ["consumers", "ledger"]

Json = Mapping[str, Any]
_ORDER = {"fail": 0, "warn": 1, "pass": 2}


def consumers(found: Json | None) -> Section | None:
    """Return what breaks for those who call the model; None where nobody asked.

    Parameters
    ----------
    found : mapping or None
        consumers.json.
    """
    if found is None:
        return None
    section = Section("consumers", "Consumers")
    checks: Sequence[Json] = found.get("checks") or []
    if checks:
        said = ", ".join(chips([str(one.get("status")) for one in checks]))
        section.intro.append(f"{counted(len(checks), 'consumer')} told what they send and rely on: {said}.")
        section.tables.append(_consumers(checks))
    else:
        section.intro.append("No consumer has told what it relies on.")
        section.commands.append("cd4ml consumers add CONTRACT")
    section.tables += _findings(checks)
    schema: Json = found.get("schema") or {}
    changes: Sequence[Json] = schema.get("changes") or []
    if schema.get("reason"):
        section.intro.append(sentence(schema["reason"]))
    elif schema.get("status") == "compared" and not changes:
        section.intro.append("Inputs and outputs are those of the champion.")
    section.tables += _changes(changes)
    return section


def _consumers(checks: Sequence[Json]) -> Grid:
    ordered = sorted(
        checks, key=lambda one: (_ORDER.get(str(one.get("status")), 0), str(one.get("consumer")))
    )
    rows: list[list[Cell]] = [
        [
            str(one.get("consumer")),
            Status(str(one.get("status"))),
            str(one.get("owner") or "–"),
            count(one.get("requests")),
            count(len(one.get("fields") or [])),
        ]
        for one in ordered
    ]
    head = ("consumer", "status", "owner", "requests", "fields sent")
    return Grid("Consumers' contracts", head, rows, frozenset({"consumer", "status", "owner"}), stacked=True)


def _findings(checks: Sequence[Json]) -> list[Grid]:
    """Return all that was found, what breaks first; what passes is there when it is unfolded."""
    found = [(str(one.get("consumer")), each) for one in checks for each in one.get("findings") or []]
    found.sort(key=lambda one: (_ORDER.get(str(one[1].get("status")), 0), one[0]))
    rows: list[list[Cell]] = [
        [
            who,
            words(each.get("rule")),
            Status(str(each.get("status"))),
            dash(each.get("measured")),
            dash(each.get("limit")),
            str(each.get("detail") or "–"),
        ]
        for who, each in found
    ]
    broken = [row for row, (_, each) in zip(rows, found, strict=True) if each.get("status") != "pass"]
    head = ("consumer", "what it relies on", "status", "measured", "promised", "what was found")
    plain = frozenset({"consumer", "what it relies on", "status", "what was found"})
    grids = [Grid("What breaks", head, broken, plain, stacked=True)] if broken else []
    folded = f"All {len(rows)} checks of consumers' contracts"
    return [*grids, Grid("Checks", head, rows, plain, folded, stacked=True)] if rows else grids


def _changes(changes: Sequence[Json]) -> list[Grid]:
    rows: list[list[Cell]] = [
        [
            str(one.get("field") or one.get("part")),
            words(one.get("change")),
            Status(
                "pass" if one.get("backward") else "fail", "go on working" if one.get("backward") else "break"
            ),
            "yes" if one.get("forward") else "no",
            str(one.get("detail") or "–"),
        ]
        for one in changes
    ]
    head = ("field", "change", "callers of the champion", "its callers may go back", "what it means")
    return (
        [Grid("Inputs and outputs since the champion", head, rows, frozenset(head), stacked=True)]
        if rows
        else []
    )


def ledger(found: Json | None) -> Section | None:
    """Return how often the holdout was looked at, beside what it bears; None where nobody counted.

    Parameters
    ----------
    found : mapping or None
        ledger.json.
    """
    if found is None:
        return None
    section = Section("ledger", "Looks at the holdout", absent="nobody counted.")
    looks, budget = finite(found.get("looks")), found.get("budget") or {}
    warn, most = finite(budget.get("warn_looks")), finite(budget.get("max_looks"))
    if looks is None or most is None:
        return section
    state = "fail" if looks > most else "warn" if warn is not None and looks > warn else "pass"
    section.status = Status(state, f"{number(looks)} of {count(most)}")
    shared = finite(found.get("inherited")) or 0
    section.intro.append(
        f"Models were scored on these rows {number(looks)} times"
        + (f", {number(shared)} of them on other holdouts that share rows" if shared else "")
        + f". From {count(warn)} looks the verdict warns; {count(most)} are allowed."
    )
    off = finite(found.get("worst_case_bias"))
    if off is not None:
        section.intro.append(
            f"Whoever chases the scores of {count(found.get('size'))} independent units so often could gain "
            f"up to {number(off)} on a scale of 0 to 1 by luck alone."
        )
    section.tables.append(_look(found))
    return section


def _look(found: Json) -> Grid:
    look: Json = found.get("look") or {}
    facts: list[tuple[str, Cell]] = [
        ("holdout", Code(str(found.get("holdout") or "–"))),
        ("rows", count(found.get("rows"))),
        ("first", day(found.get("first")) if found.get("first") else "–"),
        ("last", day(found.get("last")) if found.get("last") else "–"),
        ("this look by", str(look.get("by") or "–")),
        ("at", day(look.get("at")) if look.get("at") else "–"),
        ("model", Code(str(look.get("model") or "–"))),
    ]
    rows: list[list[Cell]] = [[name, value] for name, value in facts if value != "–"]
    return Grid("The holdout and this look", ("what", "is"), rows, frozenset({"what", "is"}))
