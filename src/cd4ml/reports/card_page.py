"""The model card as a page: the words of card.md, with pictures of its intervals."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cd4ml.models.card_text import CardPart, CardTable, card_parts
from cd4ml.reports.figures import Dot, dots
from cd4ml.reports.formats import count, words
from cd4ml.reports.metric_view import MetricView, estimate_of, interval_dot
from cd4ml.reports.page import Cell, Fact, Figure, Grid, Section, Status, render

__all__ = ["card_facts", "card_page", "card_sections"]

Json = Mapping[str, Any]
_STATUSES = {"pass", "fail", "warn", "insufficient_data"}
_SHOWN = 15


def card_page(card: Json) -> str:
    """Return card.json as self-contained HTML; the same card gives the same text."""
    lead = [card["description"] or "The problem has no description."]
    owner = card["model"]["owner"]
    kicker = "Model card" + (f" · {owner}" if owner else "")
    return render(
        words(card["name"]).capitalize(), lead, card_sections(card), facts=card_facts(card), kicker=kicker
    )


def card_sections(card: Json) -> list[Section]:
    """Return a section for each part of the card."""
    figures = {"slices": _slice_figures, "features": _feature_figures, "metrics": _metric_figures}
    sections = []
    for part in card_parts(card):
        section = _section(part)
        if part.key in figures:
            section.figures += figures[part.key](card[part.key])
        sections.append(section)
    return sections


def card_facts(card: Json) -> list[Fact]:
    """Return the few numbers at the top: the metric that decides, and the rows it was taken on."""
    metrics = card["metrics"]
    view = MetricView(metrics["primary"])
    found = next((one["model"] for one in metrics["scores"] if one["metric"] == view.name), None)
    facts = []
    if found is not None:
        dot = interval_dot("", found)
        span = "" if dot.low is None or dot.high is None else f"{dot.low:.4g} to {dot.high:.4g}; "
        facts.append(Fact(f"{view.title} on the holdout", f"{dot.estimate:.4g}", span + view.direction))
    if metrics["holdout"]:
        facts.append(Fact("Rows of the holdout", count(metrics["holdout"]["rows"])))
    if card["data"]["rows"]:
        facts.append(Fact("Rows used", count(card["data"]["rows"]["used"])))
    facts.append(Fact("Features", count(card["features"]["count"])))
    return facts


def _plain(text: str) -> str:
    return text.replace("`", "")


def _section(part: CardPart) -> Section:
    section = Section(part.key, part.title)
    section.intro += [_plain(text) for text in part.texts]
    section.points += [_plain(point) for point in part.points]
    section.outro += [_plain(text) for text in part.after]
    if part.table is not None and part.table.rows:
        section.tables.append(_grid(part.table))
    return section


def _grid(table: CardTable) -> Grid:
    """Return a table of the card; columns whose cells begin with a digit are numbers."""
    columns = list(zip(*table.rows, strict=True))
    plain = {name for name, cells in zip(table.head, columns, strict=True) if not _are_numbers(cells)}
    rows: list[list[Cell]] = [[_cell(text) for text in row] for row in table.rows]
    return Grid(table.caption, list(table.head), rows, frozenset(plain | {table.head[0]}), stacked=True)


def _are_numbers(cells: Sequence[str]) -> bool:
    said = [text for text in cells if text and text != "not defined"]
    return bool(said) and all(re.match(r"-?[\d.]", text) for text in said)


def _cell(text: str) -> Cell:
    return Status(text, words(text)) if text in _STATUSES else _plain(text) or "–"


def _metric_figures(metrics: Json) -> list[Figure]:
    """Draw the metric that decides beside the baselines."""
    view = MetricView(metrics["primary"])
    found = next((one for one in metrics["scores"] if one["metric"] == view.name), None)
    if found is None or not found["baselines"]:
        return []
    rows = [interval_dot("the model", found["model"])]
    rows += [interval_dot(words(name), value, 1, "baseline") for name, value in found["baselines"].items()]
    label = f"{view.title} of the model and the baselines"
    note = f"{view.description.rstrip('.')}. Round: the model; square: baselines."
    return [Figure(dots(rows, label=label, axis=view.axis), f"{view.title} on the holdout", note)]


def _slice_figures(slices: Json) -> list[Figure]:
    view, figures = MetricView(slices["metric"]), []
    for column in dict.fromkeys(one["column"] for one in slices["rows"]):
        rows = [
            interval_dot(str(one["slice"]), one["value"], note=f"{count(one['n'])} rows")
            for one in slices["rows"]
            if one["column"] == column and estimate_of(one["value"]) is not None
        ]
        if rows:
            title = f"{view.title} by {words(column)}"
            figures.append(Figure(dots(rows, label=title, axis=view.axis), title, "The largest slices."))
    return figures


def _feature_figures(features: Json) -> list[Figure]:
    rows = [
        Dot(str(one["feature"]), one["increase"], one["low"], one["high"])
        for one in features["most_important"][:_SHOWN]
    ]
    if not rows:
        return []
    title = "Growth of the error when a feature is shuffled"
    svg = dots(rows, label=title, axis="growth of the error; 1 is twice as large", reference=(0.0, "no use"))
    return [Figure(svg, title)]
