"""The model card in words: card.json as parts with texts, points and tables, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["CardPart", "CardTable", "card_markdown", "card_parts"]

Json = Mapping[str, Any]


@dataclass(frozen=True)
class CardTable:
    """A table; each row has as many cells as the head."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class CardPart:
    """A part of the card: texts, points, a table, and what is said after it. Names stand in backquotes."""

    key: str
    title: str
    texts: Sequence[str] = ()
    points: Sequence[str] = ()
    table: CardTable | None = None
    after: Sequence[str] = ()


def card_parts(card: Json) -> list[CardPart]:
    """Return the parts of card.json in their order; groups only where the problem names sensitive columns."""
    return [
        _model(card["model"]),
        _use(card),
        _data(card["data"]),
        _split(card["split"]),
        _metrics(card["metrics"]),
        _slices(card["slices"]),
        *([_groups(card["groups"])] if card["groups"]["columns"] else []),
        _features(card["features"]),
        CardPart("limits", "Limits", points=card["limits"]),
        _origin(card["origin"]),
    ]


def card_markdown(card: Json) -> str:
    """Return card.md."""
    lines = [f"# {card['name']}", "", card["description"] or "The problem has no description.", ""]
    for part in card_parts(card):
        lines += [f"## {part.title}", ""]
        for text in part.texts:
            lines += [text, ""]
        if part.points:
            lines += [*(f"- {point}" for point in part.points), ""]
        if part.table is not None:
            lines += [_row(part.table.head), "|" + "---|" * len(part.table.head)]
            lines += [*map(_row, part.table.rows), ""]
        for text in part.after:
            lines += [text, ""]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _interval(value: Json | None) -> str:
    if value is None or value.get("estimate") is None:
        return "not defined"
    low, high = value.get("low"), value.get("high")
    bounds = "" if low is None or high is None else f" ({_number(low)} to {_number(high)})"
    return f"{_number(value['estimate'])}{bounds}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _what(model: Json) -> str:
    if model["task"] == "classification":
        return f"the probability that `{model['target']}` is `{model['positive']}`"
    return f"`{model['target']}`"


def _model(model: Json) -> CardPart:
    rows = [
        ["Predicts", _what(model)],
        ["Owner", model["owner"] or "not declared"],
        ["Model", f"{model['family']}, loss {model['loss']}"],
        ["Parameters", ", ".join(f"{key} {value}" for key, value in sorted(model["parameters"].items()))],
    ]
    if model["transform"] != "none":
        rows.append(["Fitted on", f"{model['transform']} of the target; predictions are on its own scale"])
    if model["quantile"] is not None:
        rows.append(["Second output", f"quantile {model['quantile']:.4g} of the target, for orders"])
    return CardPart("model", "Model", table=CardTable("What it is", ("what", "is"), rows))


def _use(card: Json) -> CardPart:
    model, use = card["model"], card["use"]
    ahead = f", {use['horizon']} ahead" if use["horizon"] else ""
    strange = {
        "refuse": "A text or an entity that training did not see is refused.",
        "bucket": "A text that training did not see is taken for a rare one.",
    }[use["unknown"]]
    points = [
        f"For {model['owner'] or 'its owner (none is declared)'}: {_what(model)} for each row of"
        f" {_names(use['facts'])}{ahead}.",
        "A caller sends the fields in contract.json; a row that breaks it is refused by the field's name."
        f" {strange}",
        "Not for another target or population than the one described below"
        + (f", and not further ahead than {use['horizon']}." if use["horizon"] else "."),
    ]
    if use["sensitive"]:
        points.append(
            "Where decisions about people follow from it, look first at the groups by"
            f" {_names(use['sensitive'])} below."
        )
    return CardPart("use", "Intended use", points=points)


def _data(data: Json) -> CardPart:
    rows = [[one["name"], one["role"], one["source"], one["description"]] for one in data["tables"]]
    table = CardTable("Tables", ("table", "role", "source", "description"), rows)
    after = []
    if counts := data["rows"]:
        left_out = "".join(f"; {n:,} left out by `{rule}`" for rule, n in sorted(counts["filtered"].items()))
        after = [f"{counts['in']:,} rows of facts{left_out}; {counts['used']:,} were used."]
    return CardPart("data", "Data", [f"Snapshot `{data['snapshot']}`."], table=table, after=after)


def _split(split: Json) -> CardPart:
    text = f"By {split['kind']}, with {split['folds']} folds for the search."
    if split["gap"]:
        text += f" A gap of {split['gap']} is left out before what is judged."
    if not split["parts"]:
        return CardPart("split", "Split", [text, "Its counts were not recorded."])
    rows = [
        [part["part"], f"{part['rows']:,}", part["first"] or "", part["last"] or ""]
        for part in split["parts"]
    ]
    return CardPart("split", "Split", [text], table=CardTable("Parts", ("part", "rows", "from", "to"), rows))


def _metrics(metrics: Json) -> CardPart:
    baselines = list(dict.fromkeys(name for one in metrics["scores"] for name in one["baselines"]))
    rows = [
        [
            one["metric"],
            one["better"],
            _interval(one["model"]),
            *(_interval(one["baselines"].get(name)) for name in baselines),
        ]
        for one in metrics["scores"]
    ]
    text = f"On the holdout{_extent(metrics['holdout'])}, with {metrics['level']:.0%} intervals by"
    text += f" {metrics['cluster']}. The metric that decides is {metrics['primary']}."
    head = ("metric", "better", "model", *baselines)
    return CardPart(
        "metrics", "Metrics", [text], table=CardTable("Model and baselines on the holdout", head, rows)
    )


def _extent(holdout: Json | None) -> str:
    if not holdout:
        return ""
    when = f" from {holdout['first']} to {holdout['last']}" if "first" in holdout else ""
    return f" ({holdout['rows']:,} rows in {holdout['clusters']:,} clusters{when})"


def _slices(slices: Json) -> CardPart:
    if not slices["rows"]:
        return CardPart("slices", "Slices", ["No slices were measured."])
    metric = slices["metric"]
    text = f"{metric} by slice, the largest {slices['most']} of each column; all are in slices.json."
    rows = [[one["column"], one["slice"], f"{one['n']:,}", _interval(one["value"])] for one in slices["rows"]]
    return CardPart(
        "slices",
        "Slices",
        [text],
        table=CardTable("The largest slices", ("column", "slice", "rows", metric), rows),
    )


def _groups(groups: Json) -> CardPart:
    rows: Sequence[Json] = groups["rows"]
    if not rows:
        text = f"Groups by {_names(groups['columns'])} were not measured."
        return CardPart("groups", "Groups", [text])
    shown = f"The first {len(rows)} of {groups['of']} comparisons" if groups["of"] > len(rows) else "All"
    text = (
        "What may reject the model, failures first. A ratio of rates of 1 and a ratio of errors of 1 are"
        f" equal, as a difference of 0 is. insufficient_data is no pass. {shown}; bias.json has every row."
    )
    cells = [
        [
            row.get("label") or f"distance of {row['metric']} from perfect",
            row["column"],
            row["slice"],
            _against(str(row.get("against") or "rest")),
            f"{row['n']:,}",
            _interval({"estimate": row["ratio"], "low": row["low"], "high": row["high"]}),
            f"{row['margin']:g}",
            _status(row),
        ]
        for row in rows
    ]
    head = ("measure", "column", "group", "against", "rows", "ratio or difference", "limit", "status")
    return CardPart("groups", "Groups", [text], table=CardTable("What may reject the model", head, cells))


def _against(name: str) -> str:
    return {"rest": "all others", "extremes": "lowest to highest"}.get(name, name.removeprefix("reference:"))


def _status(row: Json) -> str:
    waived = row.get("waived")
    if row["status"] == "waived" and waived:
        return f"waived by {waived['by']} until {waived['until']}: {waived['reason']}"
    return str(row["status"])


def _features(features: Json) -> CardPart:
    text = f"{features['count']} features; their names are in model.json."
    found = features["most_important"]
    if not found:
        return CardPart("features", "Features", [text])
    text += " Those on which it relies most, by how much its error grows when one is shuffled:"
    rows = [[one["feature"], _interval({**one, "estimate": one["increase"]})] for one in found]
    return CardPart(
        "features",
        "Features",
        [text],
        table=CardTable("The features it relies on most", ("feature", "growth of the error"), rows),
    )


def _origin(origin: Json) -> CardPart:
    dirty = ", with changes that are not in it" if origin["dirty"] else ""
    rows = [
        ["Snapshot", origin["snapshot"]],
        ["Commit", (origin["commit"] or "unknown") + dirty],
        ["Problem", origin["problem_sha256"]],
        ["Code", origin["code_sha256"]],
        ["Image", origin["image_digest"] or "none"],
        ["Seeds", ", ".join(str(seed) for seed in origin["seeds"])],
    ]
    return CardPart("origin", "Origin", table=CardTable("Where it comes from", ("what", "is"), rows))
