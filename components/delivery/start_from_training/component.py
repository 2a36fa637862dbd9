from typing import Dict

from kfp.dsl import Artifact, Input

from components._base import component

__all__ = ["start_from_training"]


@component
def start_from_training(
    *, registered: Dict[str, str], verdict: Input[Artifact], approval: str, service: str, store: str
) -> str:
    """Start the rollout of what a training run has registered; the controller does the rest.

    Args:
        registered: Name, version and bundle, as the registry gave them.
        verdict: The verdict as JSON; it must be on this bundle.
        approval: What came of asking a person, as await_approval returns it.
        service: The endpoint.
        store: Folder or s3:// address in which snapshots, models and events are kept.

    Returns:
        Output: Id of the rollout, or why there is none: not_approved or already_serving.
    """
    from pathlib import Path

    from cd4ml.steps.rollout_start import start_from_training as step

    return step(registered, Path(verdict.path), approval, service, store)
