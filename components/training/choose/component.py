from typing import Dict, List

from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components._base import component

__all__ = ["choose"]


@component
def choose(
    *,
    problem: Input[Artifact],
    dataset: Input[Dataset],
    results: Input[List[Artifact]],
    fingerprint: Dict[str, str],
    model: Output[Model],
    scores: Output[Metrics],
) -> None:
    """Choose the best trial of all families and fit it on all training rows.

    Args:
        problem: The problem as JSON.
        dataset: Folder of the dataset.
        results: JSON of each family's trials.
        fingerprint: Hashes of what the run depends on: a change runs the task again.

    Returns:
        model: Folder of the fitted model with the search that led to it.
        scores: The winner's score over the folds.
    """
    from pathlib import Path

    from cd4ml.adapters.kubeflow.outputs import write_metrics
    from cd4ml.steps.search import choose_model as step

    trials = [Path(result.path) for result in results]
    best = step(problem=Path(problem.path), dataset=Path(dataset.path), results=trials, out=Path(model.path))
    write_metrics(scores, best)
