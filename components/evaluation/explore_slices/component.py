from kfp.dsl import HTML, Artifact, Dataset, Input, Output

from components._base import component

__all__ = ["explore_slices"]


@component
def explore_slices(
    *,
    problem: Input[Artifact],
    dataset: Input[Dataset],
    evaluation: Input[Artifact],
    champion: Input[Artifact],
    page: Output[HTML],
) -> None:
    """Write a page on which any one or two columns are crossed: distribution, error and interval by slice.

    Args:
        problem: The problem as JSON.
        dataset: Folder of the dataset.
        evaluation: Folder of the evaluation.
        champion: Folder of the champion's predictions.

    Returns:
        page: One self-contained page.
    """
    from pathlib import Path

    from cd4ml.steps.slices_page import write_slices_page as step

    inputs = {"problem": problem, "dataset": dataset, "evaluation": evaluation}
    named = {**inputs, "champion": champion, "out": page}
    step(**{name: Path(one.path) for name, one in named.items()})
