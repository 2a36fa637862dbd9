from kfp.dsl import Artifact, Input, Metrics, Model, Output

from components._base import component

__all__ = ["consumers"]


@component
def consumers(
    *,
    problem: Input[Artifact],
    bundle: Input[Model],
    champion: Input[Artifact],
    store: str,
    consumers: Output[Artifact],
    broken: Output[Metrics],
) -> None:
    """Hold the bundle against the contracts of those who call it, and its inputs against the champion's.

    Never cached: consumers commit contracts at any time.

    Args:
        problem: The problem as JSON.
        bundle: Folder of the bundle.
        champion: Folder of the champion's predictions.
        store: Folder or s3:// address in which snapshots, models and events are kept.

    Returns:
        consumers: Folder with consumers.json: checks by consumer, changes of the inputs, gates.
        broken: Contracts checked and broken.
    """
    from pathlib import Path

    from cd4ml.adapters.kubeflow.outputs import write_metrics
    from cd4ml.steps.consumers import check_consumers as step

    named = {"problem": problem, "bundle": bundle, "champion": champion, "out": consumers}
    write_metrics(broken, step(store=store, **{name: Path(one.path) for name, one in named.items()}))
