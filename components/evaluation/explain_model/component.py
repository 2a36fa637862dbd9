from typing import Dict

from kfp.dsl import Artifact, Dataset, Input, Model, Output

from components._base import component

__all__ = ["explain_model"]


@component
def explain_model(
    *,
    problem: Input[Artifact],
    dataset: Input[Dataset],
    model: Input[Model],
    evaluation: Input[Artifact],
    fingerprint: Dict[str, str],
    explanations: Output[Artifact],
) -> None:
    """Say what the model rests on: over all rows, by slice, by row, and through which proxies.

    Args:
        problem: The problem as JSON.
        dataset: Folder of the dataset.
        model: Folder of the fitted model.
        evaluation: Folder of the evaluation.
        fingerprint: Hashes of what the run depends on: a change runs the task again.

    Returns:
        explanations: Folder with explanations.json and the contributions of features, row by row.
    """
    from pathlib import Path

    from cd4ml.steps.explain import explain_model as step

    inputs = {"problem": problem, "dataset": dataset, "model": model}
    named = {**inputs, "evaluation": evaluation, "out": explanations}
    step(**{name: Path(one.path) for name, one in named.items()})
