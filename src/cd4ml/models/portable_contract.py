"""What a team without cd4ml needs to know of a model's features: order, meaning, and what "no value" is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cd4ml.features.plan import (
    AgeFeature,
    CalendarFeature,
    CategoryFeature,
    LagFeature,
    NumberFeature,
    Plan,
    RollingFeature,
    SeasonalFeature,
)
from cd4ml.features.state import State
from cd4ml.models.runtime import Bundle

__all__ = ["feature_contract", "feature_schema", "json_rows"]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def feature_contract(bundle: Bundle) -> dict[str, Any]:
    """Return what the model's input is made of.

    Returns
    -------
    dict
        `model`, `bundle`, `task`, `input` and `outputs` (name, dtype, shape), `missing` (the rule of NaN),
        `step_seconds` (length of a step of the calendar, 0 without time), `derived` (columns made of others),
        `joins` (tables whose columns are looked up), `history_until_step` and `features`: `name`, `position`,
        `kind` and how it is made.
    """
    problem, state = bundle.problem, bundle.state
    outputs = [
        {"file": "model.onnx", "name": "prediction", "means": bundle.contract["output"]["description"]}
    ]
    if bundle.quantile is not None:
        means = f"the quantile {bundle.quantile} of {problem.target.column}"
        outputs.append({"file": "model-quantile.onnx", "name": "prediction", "means": means})
    return {
        "model": problem.name,
        "bundle": bundle.id,
        "task": problem.task,
        "input": {"name": "features", "dtype": "float32", "shape": ["rows", len(state.names)]},
        "outputs": [{**output, "dtype": "float32", "shape": ["rows"]} for output in outputs],
        "missing": "NaN where a value is not known; infinities are NaN too",
        "step_seconds": state.step_seconds,
        "step_0_seconds_since_1970": state.origin_seconds,
        "history_until_step": state.last_step,
        "derived": dict(problem.derived),
        "joins": [join.model_dump(mode="json", exclude_defaults=True) for join in problem.joins],
        "features": _features(bundle.plan, state),
    }


def _features(plan: Plan, state: State) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for part in plan.features:
        made = _made(part, plan, state)
        texts = state.vocabularies[part.name].texts if isinstance(part, CategoryFeature) else ()
        for place in range(len(texts) + 1 if made.get("encoding") == "one_hot" else 1):
            about = dict(made)
            if about.get("encoding") == "one_hot":
                about["equals"] = texts[place] if place < len(texts) else None
                about["how"] = (
                    "1 where the text is this one" if place < len(texts) else "1 for any other text"
                )
            position = len(found)
            found.append({"name": state.names[position], "position": position, "dtype": "float32", **about})
    return found


def _made(part: Any, plan: Plan, state: State) -> dict[str, Any]:
    """Return how a feature is made, as data and in words."""
    made: dict[str, Any] = {}
    match part:
        case NumberFeature():
            made = {"kind": "number", "column": part.column, "how": "the value as it is; null is NaN"}
        case CategoryFeature():
            made = _category(part, state)
        case CalendarFeature():
            made = {"kind": "calendar", "part": part.part, "how": f"{part.part} of the row's time"}
        case AgeFeature():
            how = f"steps since {list(part.by)} had its first row, 0 if that was under {part.delay} steps ago"
            made = {"kind": "age", "by": list(part.by), "delay": part.delay, "how": how}
        case LagFeature() | RollingFeature() | SeasonalFeature():
            made = {**_series(part.series, plan), **_past(part)}
    return made


def _past(part: LagFeature | RollingFeature | SeasonalFeature) -> dict[str, Any]:
    if isinstance(part, LagFeature):
        how = f"the value {part.delay} steps before the row's"
        return {"kind": "lag", "delay": part.delay, "how": how}
    if isinstance(part, SeasonalFeature):
        how = f"mean of the values {', '.join(map(str, part.delays))} steps before the row's"
        return {"kind": "seasonal", "delays": list(part.delays), "how": how}
    how = f"{part.statistic} of the {part.size} steps that end {part.after} steps before the row's"
    return {
        "kind": "rolling",
        "statistic": part.statistic,
        "size": part.size,
        "after": part.after,
        "how": how,
    }


def _series(index: int, plan: Plan) -> dict[str, Any]:
    series = plan.series[index]
    return {"of": series.of, "by": list(series.by), "aggregate": series.aggregate}


def _category(part: CategoryFeature, state: State) -> dict[str, Any]:
    words = state.vocabularies[part.name]
    about: dict[str, Any] = {"kind": "category", "column": part.column, "encoding": part.encoding}
    if part.encoding == "frequency":
        about["values"] = dict(zip(words.texts, words.shares, strict=True))
        return about | {
            "unknown": 0.0,
            "null": None,
            "how": "the share in `values`; unknown is 0, null is NaN",
        }
    about["values"] = {text: code for code, text in enumerate(words.texts)}
    if part.encoding == "one_hot":
        return about
    how = "the number in `values`; any other text is `unknown`, null is NaN"
    return about | {"unknown": len(words.texts), "null": None, "how": how}


def feature_schema(contract: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of one row of features by name; null is NaN."""
    properties = {
        feature["name"]: {"type": ["number", "null"], "description": feature["how"]}
        for feature in contract["features"]
    }
    return {
        "$schema": _DRAFT,
        "title": f"features of {contract['model']}",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def json_rows(X: np.ndarray[Any, np.dtype[np.float32]]) -> list[list[float | None]]:
    """Return a float32 matrix as JSON: NaN is null, and every number reads back as the same float32."""
    return [[None if np.isnan(value) else float(value) for value in row] for row in X]
