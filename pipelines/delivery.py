"""From a registered version to one that serves, or to the reasons why it does not."""

from typing import Any, Dict

from kfp import dsl

from components.delivery.await_phase.component import await_phase
from components.delivery.conclude.component import conclude
from components.delivery.leave_stable.component import leave_stable
from components.delivery.rollout_page.component import rollout_page
from components.delivery.start_rollout.component import start_rollout
from pipelines._tasks import on_cluster, with_retries, with_store

__all__ = ["delivery"]

_PHASES = {
    "verify": "Endpoint verified",
    "shadow": "Shadow",
    "canary": "Canary",
    "approval": "Approved",
    "watch": "Watched",
}
"""What the tasks that wait are called, in the order in which a rollout goes."""


def _task(task: Any, name: str) -> Any:
    """Return a task that is never taken from a cache, and tried again when its pod or the store fails."""
    return with_retries(with_store(on_cluster(task, name, cached=False)))


def _waited(keyed: Dict[str, Any], patience: Dict[str, Any], approval_wait_seconds: float) -> Any:
    """Wait for each phase in turn; return the last task. A rollout that has ended lets all pass at once."""
    last = None
    for phase, name in _PHASES.items():
        own = {**patience, "wait_seconds": approval_wait_seconds} if phase == "approval" else patience
        waiting = await_phase(**keyed, **own, phase=phase, on_rollback="tell")
        last = _task(waiting if last is None else waiting.after(last), name)
    return last


@dsl.pipeline(name="cd4ml-delivery", display_name="Deliver a registered model")
def delivery(  # noqa: PLR0917 - kfp calls it by names
    model: str = "sales-forecast",
    version: str = "",
    service: str = "sales-forecast",
    store: str = "s3://cd4ml/store",
    stable: str = "champion",
    policy: Dict[str, Any] = {},  # noqa: B006 - kfp takes no None for a mapping
    attempt: int = 1,
    wait_seconds: float = 0.0,
    approval_wait_seconds: float = 0.0,
    silent_seconds: float = 900.0,
    look_seconds: float = 5.0,
) -> None:
    """Verify, shadow, canary, promote or take back; when the run fails, the stable version serves.

    Args:
        model: Name of the model in the registry.
        version: Number of the version that is delivered; an alias would move.
        service: The endpoint.
        store: s3:// address in which snapshots, models and events are kept.
        stable: The version that is replaced, and serves whenever something fails: number or alias.
        policy: What differs from the policy in the bundle, such as {"strategy": "blue_green"}.
        attempt: Count it up to deliver again what was taken back.
        wait_seconds: How long to wait for each phase; 0 as long as a controller looks after the rollout.
        approval_wait_seconds: How long to wait for a person where the policy asks for one; 0 as above.
        silent_seconds: How long the controller may give no sign of life.
        look_seconds: Time between two looks into the store.
    """
    patience = {"silent_seconds": silent_seconds, "look_seconds": look_seconds}
    where = {"service": service, "store": store}
    named = {**where, "model": model, "version": version, "run": dsl.PIPELINE_JOB_ID_PLACEHOLDER}
    leaving = leave_stable(**named, **patience)
    with dsl.ExitHandler(_task(leaving, "Stable version serves"), name="Delivery"):
        starting = start_rollout(**named, stable=stable, policy=policy, attempt=attempt)
        keyed = {**where, "rollout": _task(starting, "Start").output}
        last = _waited(keyed, {**patience, "wait_seconds": wait_seconds}, approval_wait_seconds)
        ended = _task(conclude(**keyed).after(last), "Conclusion")
        shown = _task(rollout_page(**keyed).after(last), "Page")
        # Of an output that is not called "Output" kfp.local takes each condition for false, without a word.
        with dsl.If(last.outputs["Output"] != "passed", name="Not promoted"):
            # Only now, so that the pages of all before it are kept: a run without a promotion has failed.
            failing = await_phase(**keyed, phase="watch", on_rollback="fail").after(ended, shown)
            with_store(on_cluster(failing, "Not promoted", cached=False))
