"""The model card: who it is for, how good it is, where it ends.

References
----------
.. [1] Mitchell et al., 2019, Model Cards for Model Reporting, FAT*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cd4ml.problem import Problem, duration_text

__all__ = ["write_card"]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows), ""]


def _interval(value: Mapping[str, Any]) -> str:
    low, high = value.get("low"), value.get("high")
    bounds = "" if low is None or high is None else f" ({low:.4g} to {high:.4g})"
    return f"{value['estimate']:.4g}{bounds}"


def write_card(
    problem: Problem,
    metrics: Mapping[str, Any],
    lineage: Mapping[str, Any],
    bias: Mapping[str, Any] | None = None,
) -> str:
    """Return card.md.

    Parameters
    ----------
    metrics, lineage, bias
        The bundle's metrics.json, lineage.json and bias.json.
    """
    lines = [f"# {problem.name}", ""]
    lines += [problem.description, ""] if problem.description else []
    lines += _model(problem, lineage)
    lines += _quality(problem, metrics)
    lines += _fairness(problem, bias)
    lines += [
        "## Limitations",
        "",
        *(f"- {text}" for text in problem.assumptions or ["None was declared."]),
        "",
    ]
    lines += _origin(lineage)
    return "\n".join(lines)


def _model(problem: Problem, lineage: Mapping[str, Any]) -> list[str]:
    model = lineage["model"]
    target = problem.target.column
    if problem.task == "classification":
        target = f"probability that {target} is {problem.target.positive}"
    rows = [["Predicts", target]]
    if problem.horizon:
        rows.append(["Ahead", duration_text(problem.horizon)])
    rows += [
        ["Owner", problem.owner or "not declared"],
        ["Model", f"{model['family']}, loss {model['loss']}"],
        ["Features", str(len(lineage["features"]))],
        ["Parameters", ", ".join(f"{key} {value}" for key, value in sorted(model["parameters"].items()))],
    ]
    if lineage["quantile_model"]:
        rows.append(["Second output", f"quantile {lineage['quantile_model']['quantile']:.4g}, for orders"])
    return _table(["", ""], rows)


def _quality(problem: Problem, metrics: Mapping[str, Any]) -> list[str]:
    holdout: Mapping[str, Any] = metrics.get("holdout", {})
    baselines: Mapping[str, Any] = metrics.get("baselines", {})
    names = [name for name in (problem.metrics.primary, *problem.metrics.also) if name in holdout]
    rows = [
        [
            name,
            _interval(holdout[name]),
            *(_interval(b[name]) if name in b else "" for b in baselines.values()),
        ]
        for name in dict.fromkeys(names)
    ]
    level = f"{problem.metrics.level:.0%}"
    title = f"On the holdout, with {level} intervals by {problem.metrics.cluster}. "
    title += f"The metric that decides is {problem.metrics.primary}."
    return ["## Quality", "", title, "", *_table(["metric", "model", *baselines], rows)]


def _fairness(problem: Problem, bias: Mapping[str, Any] | None) -> list[str]:
    if not problem.sensitive:
        return []
    counts: dict[str, int] = {}
    for row in (bias or {}).get("rows", []):
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    found = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "not measured"
    return ["## Groups", "", f"Compared by {', '.join(problem.sensitive)}: {found}. See bias.json.", ""]


def _origin(lineage: Mapping[str, Any]) -> list[str]:
    rows = [
        ["Snapshot", lineage["snapshot"]],
        [
            "Commit",
            (lineage["git"]["commit"] or "unknown") + (", changed" if lineage["git"]["dirty"] else ""),
        ],
        ["Problem", lineage["problem_sha256"]],
        ["Seeds", ", ".join(str(seed) for seed in lineage["seeds"])],
    ]
    return ["## Origin", "", *_table(["", ""], rows)]
