"""The model card: who it is for, what it learnt from, how good it is, where it ends.

References
----------
.. [1] Mitchell et al., 2019, Model Cards for Model Reporting, FAT*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cd4ml.domain.metrics import METRICS
from cd4ml.problem import Problem, duration_text

__all__ = ["write_card"]

Json = Mapping[str, Any]
_MOST_SLICES = 8
_MOST_FEATURES = 10
_FEW_ROWS = 30


def write_card(
    problem: Problem,
    metrics: Json,
    lineage: Json,
    bias: Json | None = None,
    *,
    data: Json | None = None,
    evaluation: Json | None = None,
) -> str:
    """Return card.md.

    Parameters
    ----------
    metrics, lineage, bias
        The bundle's metrics.json, lineage.json and bias.json.
    data
        dataset.json: `rows`, `split` and `clusters`.
    evaluation
        evaluation.json: `holdout`, `slices` and `importances`.
    """
    lines = [f"# {problem.name}", "", problem.description or "The problem has no description.", ""]
    lines += _model(problem, lineage)
    lines += _use(problem)
    lines += _data(problem, lineage, data or {})
    lines += _split(problem, data or {})
    lines += _quality(problem, metrics, evaluation or {})
    lines += _slices(problem, evaluation or {})
    lines += _groups(problem, bias)
    lines += _features(lineage, evaluation or {})
    lines += _limits(problem, evaluation or {})
    lines += _origin(lineage)
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(_cell(cell) for cell in head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows), ""]


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


def _what(problem: Problem) -> str:
    if problem.task == "classification":
        return f"the probability that `{problem.target.column}` is `{problem.target.positive}`"
    return f"`{problem.target.column}`"


def _model(problem: Problem, lineage: Json) -> list[str]:
    model = lineage["model"]
    rows = [
        ["Predicts", _what(problem)],
        ["Owner", problem.owner or "not declared"],
        ["Model", f"{model['family']}, loss {model['loss']}"],
        ["Parameters", ", ".join(f"{key} {value}" for key, value in sorted(model["parameters"].items()))],
    ]
    if model["transform"] != "none":
        rows.append(["Fitted on", f"{model['transform']} of the target; predictions are on its own scale"])
    if lineage["quantile_model"]:
        quantile = f"quantile {lineage['quantile_model']['quantile']:.4g} of the target, for orders"
        rows.append(["Second output", quantile])
    return ["## Model", "", *_table(["what", "is"], rows)]


def _use(problem: Problem) -> list[str]:
    ahead = f", {duration_text(problem.horizon)} ahead" if problem.horizon else ""
    strange = {
        "refuse": "A text or an entity that training did not see is refused.",
        "bucket": "A text that training did not see is taken for a rare one.",
    }[problem.serving.unknown]
    lines = [
        f"- For {problem.owner or 'its owner (none is declared)'}: {_what(problem)} for each row of"
        f" {_names(problem.facts)}{ahead}.",
        "- A caller sends the fields in contract.json; a row that breaks it is refused by the field's name."
        f" {strange}",
        "- Not for another target or population than the one described below"
        + (f", and not further ahead than {duration_text(problem.horizon)}." if problem.horizon else "."),
    ]
    if problem.sensitive:
        lines.append(
            f"- Where decisions about people follow from it, look first at the groups by"
            f" {_names(problem.sensitive)} below."
        )
    return ["## Intended use", "", *lines, ""]


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _data(problem: Problem, lineage: Json, data: Json) -> list[str]:
    rows = [
        [
            name,
            "facts" if name in problem.facts else "joined",
            table.query or " ".join(table.file),
            table.description,
        ]
        for name, table in problem.tables.items()
    ]
    lines = [
        "## Data",
        "",
        f"Snapshot `{lineage['snapshot']}`.",
        "",
        *_table(["table", "role", "source", "description"], rows),
    ]
    if counts := data.get("rows"):
        left_out = "".join(f"; {n:,} left out by `{rule}`" for rule, n in sorted(counts["filtered"].items()))
        lines += [f"{counts['in']:,} rows of facts{left_out}; {counts['used']:,} were used.", ""]
    return lines


def _split(problem: Problem, data: Json) -> list[str]:
    split, found = problem.split, data.get("split")
    lines = ["## Split", "", f"By {split.kind}, with {split.folds} folds for the search."]
    if split.gap:
        lines[-1] += f" A gap of {duration_text(split.gap)} is left out before what is judged."
    if not found:
        return [*lines, "", "Its counts were not recorded.", ""]
    parts = {"training": found["train"], "holdout": found["holdout"], "left out": found["unused"]}
    parts |= {f"fold {number}": fold["validation"] for number, fold in enumerate(found["folds"], 1)}
    rows = [
        [name, f"{part['rows']:,}", str(part.get("first", "")), str(part.get("last", ""))]
        for name, part in parts.items()
    ]
    return [*lines, "", *_table(["part", "rows", "from", "to"], rows)]


def _quality(problem: Problem, metrics: Json, evaluation: Json) -> list[str]:
    holdout, baselines = metrics.get("holdout", {}), metrics.get("baselines", {})
    names = [name for name in (problem.metrics.primary, *problem.metrics.also) if name in holdout]
    rows = [
        [
            name,
            _direction(name),
            _interval(holdout[name]),
            *(_interval(b.get(name)) for b in baselines.values()),
        ]
        for name in dict.fromkeys(names)
    ]
    text = f"On the holdout{_extent(evaluation)}, with {problem.metrics.level:.0%} intervals by"
    text += f" {problem.metrics.cluster}. The metric that decides is {problem.metrics.primary}."
    return ["## Metrics", "", text, "", *_table(["metric", "better", "model", *baselines], rows)]


def _direction(name: str) -> str:
    spec = METRICS[name]
    if name in ("bias", "relative_bias"):
        return "near 0"
    return "higher" if spec.higher_is_better else "lower"


def _extent(evaluation: Json) -> str:
    found = evaluation.get("holdout")
    if not found:
        return ""
    when = f" from {found['first']} to {found['last']}" if "first" in found else ""
    return f" ({found['rows']:,} rows in {found['clusters']:,} clusters{when})"


def _slices(problem: Problem, evaluation: Json) -> list[str]:
    primary, columns = problem.metrics.primary, evaluation.get("slices") or {}
    lines = ["## Slices", ""]
    if not columns:
        return [*lines, "No slices were measured.", ""]
    lines += [f"{primary} by slice, the largest {_MOST_SLICES} of each column; all are in slices.json.", ""]
    rows = []
    for column, items in sorted(columns.items()):
        largest = sorted(items, key=lambda item: -int(item["n"]))[:_MOST_SLICES]
        rows += [[column, item["slice"], f"{item['n']:,}", _interval(item[primary])] for item in largest]
    return [*lines, *_table(["column", "slice", "rows", primary], rows)]


def _groups(problem: Problem, bias: Json | None) -> list[str]:
    if not problem.sensitive:
        return []
    lines = ["## Groups", ""]
    found = [row for row in (bias or {}).get("rows", []) if row["column"] in problem.sensitive]
    if not found:
        return [*lines, f"Groups by {_names(problem.sensitive)} were not measured.", ""]
    rows = [
        [row["column"], row["slice"], f"{row['n']:,}", _ratio(row), f"{row['margin']:g}", row["status"]]
        for row in found
    ]
    text = (
        f"How far from perfect {found[0]['metric']} is in a group, over how far it is in all others: 1 is"
        " equal. insufficient_data is no pass."
    )
    return [*lines, text, "", *_table(["column", "group", "rows", "ratio", "margin", "status"], rows)]


def _ratio(row: Json) -> str:
    return _interval({"estimate": row["ratio"], "low": row["low"], "high": row["high"]})


def _features(lineage: Json, evaluation: Json) -> list[str]:
    names = list(lineage["features"])
    lines = ["## Features", "", f"{len(names)} features; their names are in model.json.", ""]
    found = evaluation.get("importances") or []
    if not found:
        return lines
    rows = [
        [item["feature"], _interval({**item, "estimate": item["increase"]})]
        for item in found[:_MOST_FEATURES]
    ]
    lines[-2] += " Those on which it relies most, by how much its error grows when one is shuffled:"
    return [*lines, *_table(["feature", "growth of the error"], rows)]


def _limits(problem: Problem, evaluation: Json) -> list[str]:
    lines = [*problem.assumptions] or ["The problem declares no assumptions."]
    lines.append(
        "It was judged on one holdout: an interval says how far chance moves the number there, not what other"
        " times or other people bring."
    )
    if problem.time is not None:
        lines.append(
            "Features of the past end with the snapshot. The further a request lies behind it, the more of"
            " them are missing."
        )
    lowest = problem.target.min
    if problem.task == "regression" and lowest is not None:
        lines.append(f"Predictions below {lowest:g} are raised to it.")
    small = [
        f"{column} {item['slice']}"
        for column, items in sorted((evaluation.get("slices") or {}).items())
        for item in items
        if item["n"] < _FEW_ROWS
    ]
    if small:
        more = f" and {len(small) - _MOST_SLICES} more" if len(small) > _MOST_SLICES else ""
        named = ", ".join(small[:_MOST_SLICES])
        lines.append(f"Slices of fewer than {_FEW_ROWS} holdout rows say little: {named}{more}.")
    return ["## Limits", "", *(f"- {' '.join(line.split())}" for line in lines), ""]


def _origin(lineage: Json) -> list[str]:
    git = lineage["git"]
    rows = [
        ["Snapshot", lineage["snapshot"]],
        [
            "Commit",
            (git["commit"] or "unknown") + (", with changes that are not in it" if git["dirty"] else ""),
        ],
        ["Problem", lineage["problem_sha256"]],
        ["Code", lineage["code_sha256"]],
        ["Image", lineage["image_digest"] or "none"],
        ["Seeds", ", ".join(str(seed) for seed in lineage["seeds"])],
    ]
    return ["## Origin", "", *_table(["what", "is"], rows)]
