from kfp.dsl import HTML, Metrics, Output

from components._base import component

__all__ = ["await_phase"]


@component
def await_phase(
    *,
    service: str,
    rollout: str,
    phase: str,
    store: str,
    page: Output[HTML],
    progress: Output[Metrics],
    wait_seconds: float = 0.0,
    silent_seconds: float = 900.0,
    look_seconds: float = 5.0,
    on_rollback: str = "fail",
) -> str:
    """Wait until a phase is behind a rollout, or the rollout has ended; the controller acts, not this task.

    Never cache it. It can be run again at any time: it waits for the same rollout.

    Args:
        service: The endpoint.
        rollout: Id of the rollout.
        phase: verify, shadow, canary, approval or watch.
        store: Folder or s3:// address in which snapshots, models and events are kept.
        wait_seconds: How long to wait; 0 as long as a controller looks after the rollout.
        silent_seconds: How long the controller may give no sign of life.
        look_seconds: Time between two looks into the store.
        on_rollback: What to do when the model is not promoted: fail, or tell (return the word).

    Returns:
        page: Where the rollout stands and how it came there, as one self-contained page.
        progress: Seconds of the rollout and of this wait, steps taken, share of the candidate.
        Output: passed, rolled_back or aborted.
    """
    from pathlib import Path

    from cd4ml.adapters.kubeflow.outputs import write_metrics
    from cd4ml.steps.rollout_tasks import await_phase as step

    patience = (wait_seconds, silent_seconds, look_seconds)
    out = Path(page.path)
    reached, numbers = step(service, rollout, phase, store, out, patience=patience, on_rollback=on_rollback)
    write_metrics(progress, numbers)
    return reached
