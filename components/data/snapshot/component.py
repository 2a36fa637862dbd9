from typing import Dict

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output

from components._base import component

__all__ = ["snapshot"]


@component
def snapshot(
    *,
    problem: Input[Artifact],
    data: str,
    store: str,
    fingerprint: Dict[str, str],
    snapshot: Output[Dataset],
    profile: Output[HTML],
    counts: Output[Metrics],
) -> None:
    """Read the sources, hold them to their contract and keep them as an immutable snapshot.

    Rows that break a rule are set aside with a reason; data that break a rule of severity refuse end the run.

    Args:
        problem: The problem as JSON.
        data: Folder, or object-store or web address, under which the sources are found.
        store: Folder or s3:// address in which snapshots, models and events are kept.
        fingerprint: Hashes of what the run depends on: a change runs the task again.

    Returns:
        snapshot: Folder of Parquet files with manifest and validation report; its id is its content.
        profile: Page that shows each table: distributions, gaps, outliers, correlations.
        counts: Rows read, accepted and set aside.
    """
    from pathlib import Path

    from cd4ml.adapters.kubeflow.outputs import write_metrics
    from cd4ml.steps.snapshot import take_snapshot as step

    rows = step(
        problem=Path(problem.path), data=data, store=store, out=Path(snapshot.path), page=Path(profile.path)
    )
    write_metrics(counts, rows)
