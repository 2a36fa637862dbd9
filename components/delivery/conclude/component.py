from typing import List, NamedTuple

from components._base import component

__all__ = ["conclude"]


@component
def conclude(*, service: str, rollout: str, store: str) -> NamedTuple(  # type: ignore[valid-type]
    "Conclusion", [("decision", str), ("version", str), ("reasons", List[str])]
):
    """Tell how a rollout ended.

    Args:
        service: The endpoint.
        rollout: Id of the rollout.
        store: Folder or s3:// address in which snapshots, models and events are kept.

    Returns:
        decision: promoted, rolled_back or aborted.
        version: Number of the version that serves.
        reasons: Why, one line each.
    """
    from cd4ml.steps.rollout_tasks import conclude as step

    return step(service, rollout, store)
