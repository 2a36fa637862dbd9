from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components._base import component

__all__ = ["update_history"]


@component
def update_history(
    *,
    bundle: Input[Model],
    snapshot: Input[Dataset],
    history: Output[Artifact],
    summary: Output[Metrics],
    steps: int = 0,
) -> None:
    """Make a history table of newer data, so that a model in use looks back at what was sold since training.

    Args:
        bundle: Folder of the bundle.
        snapshot: Folder of a snapshot of all data, the old and the new, by the bundle's problem.
        steps: How many recorded steps the table serves besides all that come after; 0 for all that the
            bundle's own history serves.

    Returns:
        history: Folder of the history table, with a manifest and the bundle's id.
        summary: Rows it was made of and rows set aside, steps added, steps changed and members gone.
    """
    from pathlib import Path

    from cd4ml.adapters.kubeflow.outputs import write_metrics
    from cd4ml.steps.history import update_history as step

    write_metrics(summary, step(Path(bundle.path), Path(snapshot.path), Path(history.path), steps=steps))
