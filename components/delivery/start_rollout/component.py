from typing import Any, Dict

from components._base import component

__all__ = ["start_rollout"]


@component
def start_rollout(
    *,
    model: str,
    version: str,
    service: str,
    store: str,
    stable: str = "champion",
    policy: Dict[str, Any] = {},  # noqa: B006 - kfp takes no None for a mapping
    attempt: int = 1,
    run: str = "",
) -> str:
    """Start the rollout of a registered version, or take up the one that was started before.

    Never cache it. It refuses a version without an accepting verdict or a standing approval, a service that
    has another rollout, and another policy for a rollout that is there.

    Args:
        model: Name of the model in the registry.
        version: Number of the version; an alias would move.
        service: The endpoint.
        store: Folder or s3:// address in which snapshots, models and events are kept.
        stable: The version that is replaced, and serves whenever something fails: number or alias.
        policy: What differs from the policy in the bundle, such as {"strategy": "blue_green"}.
        attempt: Count it up to roll out again what was taken back.
        run: Id of the pipeline's run, which owns the rollout from now on; leave_stable ends what it owns.

    Returns:
        Output: Id of the rollout.
    """
    from cd4ml.steps.rollout_start import start_rollout as step

    return step(model, version, service, store, stable=stable, policy=policy, attempt=attempt, run=run)
