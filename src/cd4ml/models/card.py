"""The model card as data: who it is for, what it learnt from, how good it is, where it ends.

card.json is what a machine reads; card.md and the card's page are written of it (see `card_text`).

References
----------
.. [1] Mitchell et al., 2019, Model Cards for Model Reporting, FAT*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cd4ml.domain.metrics import METRICS
from cd4ml.problem import Problem, duration_text

__all__ = ["CARD_FORMAT", "build_card"]

Json = Mapping[str, Any]
CARD_FORMAT = "1"
_MOST_SLICES = 8
_MOST_FEATURES = 10
_MOST_GROUPS = 20
_FEW_ROWS = 30
_GROUP_KEYS = (
    "metric", "label", "column", "slice", "against", "n", "estimate", "reference", "ratio", "low", "high",
    "margin", "status", "waived",
)  # fmt: skip
_STATUS_ORDER = {"fail": 0, "waived": 1, "warn": 2, "insufficient_data": 3}


def build_card(
    problem: Problem,
    metrics: Json,
    lineage: Json,
    bias: Json | None = None,
    *,
    data: Json | None = None,
    evaluation: Json | None = None,
) -> dict[str, Any]:
    """Return card.json.

    Parameters
    ----------
    metrics, lineage, bias
        The bundle's metrics.json, lineage.json and bias.json.
    data
        dataset.json: `rows`, `split` and `clusters`.
    evaluation
        evaluation.json: `holdout`, `slices` and `importances`.

    Returns
    -------
    dict
        JSON values alone. What was not measured is null or an empty list.
    """
    data, evaluation = data or {}, evaluation or {}
    return {
        "format": CARD_FORMAT,
        "name": problem.name,
        "description": problem.description,
        "model": _model(problem, lineage),
        "use": _use(problem),
        "data": _data(problem, lineage, data),
        "split": _split(problem, data),
        "metrics": _metrics(problem, metrics, evaluation),
        "slices": _slices(problem, evaluation),
        "groups": _groups(problem, bias),
        "features": _features(lineage, evaluation),
        "limits": _limits(problem, evaluation),
        "origin": _origin(lineage),
    }


def _model(problem: Problem, lineage: Json) -> dict[str, Any]:
    model, second = lineage["model"], lineage["quantile_model"]
    return {
        "task": problem.task,
        "target": problem.target.column,
        "positive": problem.target.positive if problem.task == "classification" else None,
        "owner": problem.owner or None,
        "family": model["family"],
        "loss": model["loss"],
        "parameters": dict(model["parameters"]),
        "transform": model["transform"],
        "quantile": second["quantile"] if second else None,
    }


def _use(problem: Problem) -> dict[str, Any]:
    return {
        "facts": list(problem.facts),
        "horizon": duration_text(problem.horizon) if problem.horizon else None,
        "unknown": problem.serving.unknown,
        "sensitive": list(problem.sensitive),
    }


def _data(problem: Problem, lineage: Json, data: Json) -> dict[str, Any]:
    tables = [
        {
            "name": name,
            "role": "facts" if name in problem.facts else "joined",
            "source": table.query or " ".join(table.file),
            "description": table.description,
        }
        for name, table in problem.tables.items()
    ]
    return {"snapshot": lineage["snapshot"], "tables": tables, "rows": data.get("rows")}


def _split(problem: Problem, data: Json) -> dict[str, Any]:
    split, found = problem.split, data.get("split")
    parts: dict[str, Json] = {}
    if found:
        parts = {"training": found["train"], "holdout": found["holdout"], "left out": found["unused"]}
        parts |= {f"fold {number}": fold["validation"] for number, fold in enumerate(found["folds"], 1)}
    rows = [
        {"part": name, "rows": part["rows"], "first": part.get("first"), "last": part.get("last")}
        for name, part in parts.items()
    ]
    gap = duration_text(split.gap) if split.gap else None
    return {"kind": split.kind, "folds": split.folds, "gap": gap, "parts": rows}


def _metrics(problem: Problem, metrics: Json, evaluation: Json) -> dict[str, Any]:
    holdout, baselines = metrics.get("holdout", {}), metrics.get("baselines", {})
    names = [name for name in (problem.metrics.primary, *problem.metrics.also) if name in holdout]
    scores = [
        {
            "metric": name,
            "better": _direction(name),
            "model": holdout[name],
            "baselines": {baseline: scores.get(name) for baseline, scores in baselines.items()},
        }
        for name in dict.fromkeys(names)
    ]
    return {
        "primary": problem.metrics.primary,
        "level": problem.metrics.level,
        "cluster": problem.metrics.cluster,
        "holdout": evaluation.get("holdout"),
        "scores": scores,
    }


def _direction(name: str) -> str:
    if name in ("bias", "relative_bias"):
        return "near 0"
    return "higher" if METRICS[name].higher_is_better else "lower"


def _slices(problem: Problem, evaluation: Json) -> dict[str, Any]:
    primary = problem.metrics.primary
    rows = []
    for column, items in sorted((evaluation.get("slices") or {}).items()):
        largest = sorted(items, key=lambda item: -int(item["n"]))[:_MOST_SLICES]
        rows += [
            {"column": column, "slice": item["slice"], "n": item["n"], "value": item[primary]}
            for item in largest
        ]
    return {"metric": primary, "most": _MOST_SLICES, "rows": rows}


def _groups(problem: Problem, bias: Json | None) -> dict[str, Any]:
    """Return the comparisons that can reject a model, failures first, and how many there were of them."""
    sensitive = set(problem.sensitive)
    found = [row for row in (bias or {}).get("rows", []) if set(row["column"].split(" x ")) <= sensitive]
    told = [row for row in found if _blocks(row)]
    told.sort(key=lambda row: _STATUS_ORDER.get(row["status"], 4))
    rows = [{key: row[key] for key in _GROUP_KEYS if key in row} for row in told[:_MOST_GROUPS]]
    return {"columns": list(problem.sensitive), "rows": rows, "of": len(told)}


def _blocks(row: Json) -> bool:
    """Whether a row is on predictions, judged, and may reject: all are in a bias.json without families."""
    if row.get("family", "blocking") != "blocking" or row.get("stage", "post") != "post":
        return False
    return row.get("margin") is not None and row.get("against") != "champion"


def _features(lineage: Json, evaluation: Json) -> dict[str, Any]:
    found = evaluation.get("importances") or []
    keys = ("feature", "increase", "low", "high")
    most = [{key: item.get(key) for key in keys} for item in found[:_MOST_FEATURES]]
    return {"count": len(lineage["features"]), "most_important": most}


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
    if small := _small(evaluation.get("slices") or {}):
        more = f" and {len(small) - _MOST_SLICES} more" if len(small) > _MOST_SLICES else ""
        named = ", ".join(small[:_MOST_SLICES])
        lines.append(f"Slices of fewer than {_FEW_ROWS} holdout rows say little: {named}{more}.")
    return [" ".join(line.split()) for line in lines]


def _small(slices: Mapping[str, Sequence[Json]]) -> list[str]:
    ordered: Iterable[tuple[str, Sequence[Json]]] = sorted(slices.items())
    return [
        f"{column} {item['slice']}" for column, items in ordered for item in items if item["n"] < _FEW_ROWS
    ]


def _origin(lineage: Json) -> dict[str, Any]:
    git = lineage["git"]
    return {
        "snapshot": lineage["snapshot"],
        "commit": git["commit"] or None,
        "dirty": bool(git["dirty"]),
        "problem_sha256": lineage["problem_sha256"],
        "code_sha256": lineage["code_sha256"],
        "image_digest": lineage["image_digest"] or None,
        "seeds": list(lineage["seeds"]),
    }
