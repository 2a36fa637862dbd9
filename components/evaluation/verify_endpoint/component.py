from kfp.dsl import Artifact, Input, Metrics, Model, Output

from components._base import component

__all__ = ["verify_endpoint"]


@component
def verify_endpoint(
    *,
    bundle: Input[Model],
    url: str,
    found: Output[Artifact],
    agreement: Output[Metrics],
    protocol: str = "v1",
    batch_rows: int = 0,
    timeout_seconds: float = 10.0,
) -> None:
    """Replay a bundle's holdout against a live endpoint; fail when a prediction is not what was judged.

    Never cache it: the same address may serve another model.

    Args:
        bundle: Folder of the bundle.
        url: The server's address, or the model's own such as http://host/v1/models/NAME.
        protocol: v1 or v2, as KServe has them.
        batch_rows: Rows of a batch; 0 for 500, or fewer where the contract takes fewer.
        timeout_seconds: How long an answer may take.

    Returns:
        found: Rows, requests, how many rows differ and the first of them, as JSON.
        agreement: Rows compared and differing, and the largest difference.
    """
    from pathlib import Path

    from cd4ml.adapters.kubeflow.outputs import write_metrics
    from cd4ml.steps.endpoint import judge_endpoint as step

    folder, out = Path(bundle.path), Path(found.path)
    write_metrics(agreement, step(folder, url, protocol, batch_rows, timeout_seconds, out))
