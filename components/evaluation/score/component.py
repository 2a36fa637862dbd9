from typing import Dict

from kfp.dsl import Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from components._base import component

__all__ = ["score"]


@component
def score(
    *,
    problem: Input[Artifact],
    snapshot: Input[Dataset],
    dataset: Input[Dataset],
    model: Input[Model],
    fingerprint: Dict[str, str],
    evaluation: Output[Artifact],
    scores: Output[Metrics],
    curves: Output[ClassificationMetrics],
) -> None:
    """Score the model on the holdout: intervals, baselines, slices, bias.

    Args:
        problem: The problem as JSON.
        snapshot: Folder of the snapshot.
        dataset: Folder of the dataset.
        model: Folder of the fitted model.
        fingerprint: Hashes of what the run depends on: a change runs the task again.

    Returns:
        evaluation: Folder with metrics.json, bias.json and evaluation.json.
        scores: The holdout's metrics.
        curves: Confusion matrix and ROC curve of a classification.
    """
    from pathlib import Path

    from cd4ml.adapters.kubeflow.outputs import write_curves, write_metrics
    from cd4ml.steps.score import score_model as step

    paths = {"snapshot": snapshot, "dataset": dataset, "model": model, "out": evaluation}
    found = step(problem=Path(problem.path), **{name: Path(one.path) for name, one in paths.items()})
    write_metrics(scores, found["metrics"])
    write_curves(curves, found["confusion"], found["roc"])
