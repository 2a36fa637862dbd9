from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components._base import component

__all__ = ["look"]


@component
def look(
    *,
    problem: Input[Artifact],
    snapshot: Input[Dataset],
    model: Input[Model],
    store: str,
    git_commit: str,
    ledger: Output[Artifact],
    budget: Output[Metrics],
) -> None:
    """Record a look at the holdout before anybody sees its scores; one model is one look.

    Args:
        problem: The problem as JSON.
        snapshot: Folder of the snapshot.
        model: Folder of the fitted model.
        store: Folder or s3:// address in which snapshots, models and events are kept.
        git_commit: Commit of the code that asks for the run, or empty.

    Returns:
        ledger: JSON: which holdout, its looks and its budget.
        budget: Looks, and from how many the verdict warns and refuses.
    """
    from pathlib import Path

    from cd4ml.adapters.kubeflow.outputs import write_metrics
    from cd4ml.steps.ledger import record_look as step

    read, taken, fitted = (Path(one.path) for one in (problem, snapshot, model))
    write_metrics(budget, step(read, taken, fitted, store, Path(ledger.path), git_commit))
