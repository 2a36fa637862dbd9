from typing import Any, Dict

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components._base import component

__all__ = ["search"]


@component
def search(
    *,
    problem: Input[Artifact],
    dataset: Input[Dataset],
    item: Dict[str, Any],
    result: Output[Artifact],
    scores: Output[Metrics],
) -> None:
    """Search the parameters of one candidate family by successive halving over the folds.

    Args:
        problem: The problem as JSON.
        dataset: Folder of the dataset.
        item: One item of the plan.

    Returns:
        result: JSON with every trial: parameters, rows, folds and scores.
        scores: The best trial's score and the work that was spent.
    """
    import json
    from pathlib import Path

    from cd4ml.adapters.kubeflow.outputs import write_metrics
    from cd4ml.steps.search import search_family as step

    task = json.loads(item["task"])
    found = step(problem=Path(problem.path), dataset=Path(dataset.path), task=task, out=Path(result.path))
    write_metrics(scores, found)
