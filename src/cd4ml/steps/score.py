"""Score the model, the candidates and the baselines on the holdout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.steps.documents import problem_of, read

if TYPE_CHECKING:
    from cd4ml.models.evaluation import Holdout
    from cd4ml.problem import Problem
    from cd4ml.tables.dataset import Dataset

__all__ = ["score_model"]


def score_model(problem: Path, snapshot: Path, dataset: Path, model: Path, out: Path) -> dict[str, Any]:
    """Write metrics.json, evaluation.json, improvements.json and predictions to `out`.

    `decisions.npy` has who is called positive (0 or 1), by the model's treatment where it has one;
    mitigation.json which treatments were tried, or what some would do where none was asked for.

    Returns
    -------
    dict
        `metrics`: estimates by name; `confusion` and `roc` for classification, else None.
    """
    import numpy as np

    from cd4ml.adapters.storage import atomic
    from cd4ml.models import evaluation
    from cd4ml.models.importance import permutation_importance
    from cd4ml.models.persist import load_model
    from cd4ml.tables.dataset import Dataset

    found, data = problem_of(problem), Dataset.load(dataset)
    judged = load_model(model)
    fitted, quantile = judged.fitted, judged.quantile
    holdout, features = _holdout(data), np.ascontiguousarray(data.X[data.role == 1])
    predicted, decisions = judged.judge(features, holdout.slices)
    candidates = {path.stem: np.load(path) for path in sorted((model / "candidates").glob("*.npy"))}
    metrics = evaluation.metric_table(found, holdout, predicted, candidates, decisions)
    order = quantile.predict(features) if quantile else None
    page = evaluation.evaluate(found, holdout, predicted, order, decisions)
    page["clipped_negative"] = (
        int((fitted.unclipped(features) < 0).sum()) if found.task == "regression" else 0
    )
    page["importances"] = permutation_importance(found, judged.onnx, data, seed=found.search.seed)
    improvements = evaluation.compare(found, holdout, predicted, decisions)
    with atomic.directory(out) as folder:
        atomic.write_json(folder / "metrics.json", metrics)
        atomic.write_json(folder / "evaluation.json", page)
        atomic.write_json(folder / "improvements.json", {k: v.to_dict() for k, v in improvements.items()})
        np.save(folder / "predictions.npy", predicted)
        if decisions is not None:
            np.save(folder / "decisions.npy", decisions)
        if (frontier := _frontier(found, model, holdout, predicted)) is not None:
            atomic.write_json(folder / "mitigation.json", frontier)
    estimates = {name: value["estimate"] for name, value in metrics["holdout"].items()}
    return {"metrics": estimates, "confusion": page.get("confusion"), "roc": page.get("roc")}


def _frontier(problem: Problem, model: Path, holdout: Holdout, predicted: Any) -> dict[str, Any] | None:
    """Return what treatments were tried; where none was asked for, what some would do, by simulation."""
    from cd4ml.models.mitigation import simulate

    if (model / "mitigation.json").is_file():
        tried: dict[str, Any] = read(model / "mitigation.json")
        return tried
    if not problem.sensitive:
        return None
    return simulate(
        problem, holdout.y, predicted, holdout.slices, weight=holdout.weight, cluster=holdout.cluster
    )


def _holdout(data: Dataset) -> Holdout:
    import numpy as np

    from cd4ml.features.columns import CategoryArray
    from cd4ml.models.evaluation import Holdout

    chosen = data.role == 1
    return Holdout(
        y=np.asarray(data.y[chosen]),
        weight=np.asarray(data.weight[chosen]),
        cluster=np.asarray(data.cluster[chosen]),
        times=None if data.times is None else np.asarray(data.times[chosen]),
        baselines={name: np.asarray(values[chosen]) for name, values in data.baselines.items()},
        slices={k: CategoryArray(v.codes[chosen], v.categories) for k, v in data.slices.items()},
    )
