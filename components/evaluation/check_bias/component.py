from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components._base import component

__all__ = ["check_bias"]


@component
def check_bias(
    *,
    problem: Input[Artifact],
    snapshot: Input[Dataset],
    dataset: Input[Dataset],
    model: Input[Model],
    evaluation: Input[Artifact],
    champion: Input[Artifact],
    bias: Output[Artifact],
    counts: Output[Metrics],
) -> None:
    """Compare slices before training and after: with the rest, with a reference, with the champion.

    Args:
        problem: The problem as JSON.
        snapshot: Folder of the snapshot.
        dataset: Folder of the dataset.
        model: Folder of the fitted model.
        evaluation: Folder of the evaluation.
        champion: Folder of the champion's predictions.

    Returns:
        bias: Folder with bias.json: one row a measure and slice, with interval, adjusted p-value and status.
        counts: Rows by status.
    """
    from pathlib import Path

    from cd4ml.adapters.kubeflow.outputs import write_metrics
    from cd4ml.steps.bias import check_bias as step

    inputs = {"problem": problem, "snapshot": snapshot, "dataset": dataset, "model": model}
    named = {**inputs, "evaluation": evaluation, "champion": champion, "out": bias}
    write_metrics(counts, step(**{name: Path(one.path) for name, one in named.items()}))
