from kfp.dsl import Artifact, Input, Model

from components._base import component

__all__ = ["await_approval"]


@component
def await_approval(
    *,
    problem: Input[Artifact],
    bundle: Input[Model],
    verdict: Input[Artifact],
    store: str,
    wait_seconds: float,
) -> str:
    """Ask a person for a decision where the verdict needs one, and wait for it.

    A decision belongs to one bundle: its hash is signed with it.

    Args:
        problem: The problem as JSON.
        bundle: Folder of the bundle.
        verdict: The verdict as JSON.
        store: Folder or s3:// address in which snapshots, models and events are kept.
        wait_seconds: How long to wait; 0 looks once.

    Returns:
        Output: not_needed, approved, rejected, expired or pending.
    """
    from pathlib import Path

    from cd4ml.steps.approval import await_approval as step

    made, packed, judged = (Path(one.path) for one in (problem, bundle, verdict))
    return step(made, packed, judged, store, wait_seconds)
