"""All explanations of a model, as explanations.json has them; the cost is bounded by rows and features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cd4ml.domain.bootstrap import resample
from cd4ml.domain.halving import nested_sample
from cd4ml.domain.proxies import Proxy
from cd4ml.errors import DataError
from cd4ml.features.columns import CategoryArray
from cd4ml.models.data import HOLDOUT, TRAIN, Dataset, FloatArray, IntArray, Matrix, rows_of
from cd4ml.models.explain import attribution
from cd4ml.models.explain.ale import Effect, accumulated_effect
from cd4ml.models.explain.coefficients import coefficients
from cd4ml.models.explain.contributions import (
    Contributions,
    affordable_rows,
    contribute,
    raw_prediction,
    raw_scale,
)
from cd4ml.models.explain.interactions import interactions
from cd4ml.models.explain.proxies import find_proxy
from cd4ml.models.importance import importance_by_slice
from cd4ml.models.persist import Model
from cd4ml.models.session import open_session, run
from cd4ml.models.threads import fitting_threads
from cd4ml.problem import Problem

__all__ = ["Context", "Explained", "explain"]

_RESAMPLES = 400
_EFFECTS = 12
_PAIRED = 5
_PAIR_ROWS = 50
_SLICE_FEATURES = 6
_SLICE_ROWS_TIMES = 2  # a shuffle through the export is cheap: slices get more rows than the rest
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Context:
    """What is known of the features beside their numbers.

    Attributes
    ----------
    labels : mapping
        Feature -> names of its codes, for categories that are codes.
    slices : mapping
        Column -> groups of all rows of the dataset.
    columns : mapping
        Column -> groups or numbers of all rows, whose proxies are looked for.
    direct : mapping
        Column -> features that hold it.
    """

    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    slices: Mapping[str, CategoryArray] = field(default_factory=dict)
    columns: Mapping[str, CategoryArray | FloatArray] = field(default_factory=dict)
    direct: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Explained:
    """explanations.json, and the contributions of each row of `rows` (numbers within the holdout)."""

    document: dict[str, Any]
    contributions: Contributions
    rows: IntArray


def explain(
    problem: Problem,
    dataset: Dataset,
    model: Model,
    context: Context,
    importances: Sequence[Mapping[str, Any]] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Explained:
    """Explain a model on its holdout.

    Parameters
    ----------
    importances : sequence
        What evaluation.json has of them: they are not made twice.

    Raises
    ------
    DataError
        If contributions do not add up to the model's raw prediction.
    """
    with fitting_threads(1):  # many small products: more BLAS threads wait for each other
        return _explain(problem, dataset, model, context, importances, progress)


def _explain(
    problem: Problem,
    dataset: Dataset,
    model: Model,
    context: Context,
    importances: Sequence[Mapping[str, Any]],
    progress: Callable[[str], None],
) -> Explained:
    seed, fitted, names = problem.search.seed, model.fitted, tuple(dataset.names)
    held = rows_of(dataset, HOLDOUT)
    wanted = min(len(held), problem.explanations.rows)
    few = nested_sample(len(held), affordable_rows(fitted, len(names), wanted), seed)
    found = _contributions(model, np.ascontiguousarray(dataset.X[held[few]]))
    progress(f"contributions of {len(few)} rows")
    document: dict[str, Any] = {
        "task": problem.task,
        "primary": problem.metrics.primary,
        "family": fitted.family,
        "scale": raw_scale(fitted),
        "rows": {"holdout": len(held), "sample": wanted, "contributions": len(few)},
    }
    sizes = np.abs(found.values).mean(axis=0)
    top = [int(i) for i in np.argsort(-sizes, kind="stable") if sizes[i] > 0]
    rows = held[nested_sample(len(held), wanted, seed)]
    document["contributions"] = _attributed(problem, dataset, model, context, found, held, few)
    leading = [names[i] for i in top[:_SLICE_FEATURES]]
    most = _SLICE_ROWS_TIMES * problem.explanations.rows
    document["importances"] = {
        "all": [dict(one) for one in importances],
        "slices": importance_by_slice(
            problem, model.onnx, dataset, context.slices, leading, max_rows=most, seed=seed
        ),
    }
    progress("importance by slice")
    document["effects"] = _effects(problem, dataset, model, context, rows, top)
    document["interactions"] = _interactions(
        model, dataset.X[rows[:: max(1, len(rows) // _PAIR_ROWS)]], names, top
    )
    progress("effects and interactions")
    document["coefficients"] = _coefficients(problem, dataset, model)
    document["proxies"] = [one.to_dict() for one in _proxies(problem, dataset, context, rows, sizes)]
    progress(f"proxies of {len(context.columns)} columns")
    return Explained(document, found, few)


def _contributions(model: Model, X: Matrix) -> Contributions:
    found, raw = contribute(model.fitted, X), raw_prediction(model.fitted, X)
    gap = np.abs(found.base + found.values.sum(axis=1) - raw) / np.maximum(1, np.abs(raw))
    if gap.max() > _TOLERANCE:
        raise DataError(
            f"contributions must add up to the raw prediction; they are {gap.max():.2g} apart, so this kind "
            "of estimator is not understood. Use another family"
        )
    return found


def _attributed(
    problem: Problem,
    dataset: Dataset,
    model: Model,
    context: Context,
    found: Contributions,
    held: IntArray,
    few: IntArray,
) -> dict[str, Any]:
    rows, names = held[few], tuple(dataset.names)
    level, seed = problem.metrics.level, problem.search.seed
    design = resample(len(rows), dataset.cluster[rows], resamples=_RESAMPLES, level=level, seed=seed)
    X = np.ascontiguousarray(dataset.X[rows])
    slices = {
        name: CategoryArray(np.asarray(groups.codes)[rows], groups.categories)
        for name, groups in context.slices.items()
    }
    predicted, actual = model.fitted.predict(X), np.asarray(dataset.y[rows])
    return {
        "base": found.base,
        "all": attribution.overall(found, names, design),
        "slices": attribution.by_slice(found, names, slices, design),
        "examples": attribution.examples(found, names, X, few, predicted, actual, context.labels),
    }


def _effects(
    problem: Problem, dataset: Dataset, model: Model, context: Context, rows: IntArray, top: Sequence[int]
) -> list[dict[str, Any]]:
    """Return the accumulated local effects of the leading features, through the exported model."""
    level, seed = problem.metrics.level, problem.search.seed
    design = resample(len(rows), dataset.cluster[rows], resamples=_RESAMPLES, level=level, seed=seed)
    session, X = open_session(model.onnx), np.ascontiguousarray(dataset.X[rows])
    result = []
    for index in top[:_EFFECTS]:
        name = dataset.names[index]
        labels = context.labels.get(name)
        effect = accumulated_effect(
            lambda moved: run(session, moved), X, index, design, nominal=labels is not None
        )
        if effect is not None:
            result.append(_effect(name, effect, labels))
    return result


def _effect(name: str, effect: Effect, labels: Sequence[str] | None) -> dict[str, Any]:
    points = [
        {"at": attribution.shown_value(np.float32(at), labels), "n": int(n), **value.to_dict()}
        for at, n, value in zip(effect.at, effect.rows, effect.values, strict=True)
    ]
    heights = [value.estimate for value in effect.values]
    return {
        "feature": name,
        "kind": "number" if labels is None else "category",
        "span": max(heights) - min(heights),
        "left_out": effect.left_out,
        "points": points,
    }


def _interactions(model: Model, X: Matrix, names: Sequence[str], top: Sequence[int]) -> dict[str, Any]:
    found = interactions(
        lambda moved: raw_prediction(model.fitted, moved), np.ascontiguousarray(X), top[:_PAIRED]
    )
    pairs = [{"features": [names[p.first], names[p.second]], "share": p.share, "size": p.size} for p in found]
    return {"rows": len(X), "pairs": pairs}


def _coefficients(problem: Problem, dataset: Dataset, model: Model) -> list[dict[str, Any]] | None:
    if model.fitted.family not in ("ridge", "logistic"):
        return None
    rows = rows_of(dataset, TRAIN)
    return coefficients(
        model.fitted,
        tuple(dataset.names),
        dataset.X[rows],
        dataset.y[rows],
        weight=dataset.weight[rows],
        cluster=dataset.cluster[rows],
        level=problem.metrics.level,
        seed=problem.search.seed,
    )


def _proxies(
    problem: Problem, dataset: Dataset, context: Context, rows: IntArray, sizes: FloatArray
) -> list[Proxy]:
    X, cluster = np.ascontiguousarray(dataset.X[rows]), np.asarray(dataset.cluster[rows])
    result = []
    for column, values in sorted(context.columns.items()):
        given = (
            CategoryArray(np.asarray(values.codes)[rows], values.categories)
            if isinstance(values, CategoryArray)
            else np.asarray(values[rows])
        )
        result.append(
            find_proxy(
                column,
                given,
                X,
                names=tuple(dataset.names),
                importance=sizes,
                direct=context.direct.get(column, ()),
                cluster=cluster,
                level=problem.metrics.level,
                seed=problem.search.seed,
            )
        )
    return result
