from components._base import component

__all__ = ["leave_stable"]


@component
def leave_stable(
    *,
    service: str,
    model: str,
    version: str,
    store: str,
    run: str = "",
    wait_seconds: float = 600.0,
    silent_seconds: float = 600.0,
    look_seconds: float = 5.0,
) -> str:
    """End a version's rollout that has not ended, so that the stable version serves; for an exit handler.

    It leaves alone what has ended and what another run has taken up. Twice is once.

    Args:
        service: The endpoint.
        model: Name of the model in the registry.
        version: Number of the candidate.
        store: Folder or s3:// address in which snapshots, models and events are kept.
        run: Id of the pipeline's run, as start_rollout got it.
        wait_seconds: How long to wait for the controller to take the candidate back.
        silent_seconds: How long the controller may give no sign of life meanwhile.
        look_seconds: Time between two looks into the store.

    Returns:
        Output: nothing (all was done), or how it ended: aborted, rolled_back or promoted.
    """
    from cd4ml.steps.rollout_tasks import leave_stable as step

    patience = (wait_seconds, silent_seconds, look_seconds)
    return step(service, model, version, store, run=run, patience=patience)
