from kfp.dsl import HTML, Output

from components._base import component

__all__ = ["rollout_page"]


@component
def rollout_page(*, service: str, rollout: str, store: str, page: Output[HTML]) -> None:
    """Write the page of a rollout: where it stands, each step with its reasons, what people asked.

    Args:
        service: The endpoint.
        rollout: Id of the rollout.
        store: Folder or s3:// address in which snapshots, models and events are kept.

    Returns:
        page: One self-contained page.
    """
    from pathlib import Path

    from cd4ml.steps.rollout_tasks import write_rollout_page as step

    step(service, rollout, store, Path(page.path))
