from typing import Dict

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components._base import component

__all__ = ["features"]


@component
def features(
    *,
    problem: Input[Artifact],
    snapshot: Input[Dataset],
    fingerprint: Dict[str, str],
    dataset: Output[Dataset],
    counts: Output[Metrics],
) -> None:
    """Join the tables, compute features from what is known in time, and split into training and holdout rows.

    Args:
        problem: The problem as JSON.
        snapshot: Folder of the snapshot.
        fingerprint: Hashes of what the run depends on: a change runs the task again.

    Returns:
        dataset: Folder of arrays: features, target, weights, folds, baselines, and serving's state.
        counts: Rows in, filtered and used; features.
    """
    from pathlib import Path

    from cd4ml.adapters.kubeflow.outputs import write_metrics
    from cd4ml.steps.features import build_features as step

    rows = step(problem=Path(problem.path), snapshot=Path(snapshot.path), out=Path(dataset.path))
    write_metrics(counts, rows)
