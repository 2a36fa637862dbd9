from kfp.dsl import Artifact, Dataset, Input, Output

from components._base import component

__all__ = ["champion"]


@component
def champion(
    *,
    problem: Input[Artifact],
    snapshot: Input[Dataset],
    dataset: Input[Dataset],
    store: str,
    champion: Output[Artifact],
) -> None:
    """Predict the holdout with the model that is in use, from its own verified bundle.

    Never cached: the alias moves. A champion that cannot be read fails the judge's gate and not this task.

    Args:
        problem: The problem as JSON.
        snapshot: Folder of the snapshot.
        dataset: Folder of the dataset.
        store: Folder or s3:// address in which snapshots, models and events are kept.

    Returns:
        champion: Folder with champion.json (scored, first_release or unreadable) and its predictions.
    """
    from pathlib import Path

    from cd4ml.steps.champion import score_champion as step

    inputs = {"problem": problem, "snapshot": snapshot, "dataset": dataset, "out": champion}
    step(store=store, **{name: Path(one.path) for name, one in inputs.items()})
