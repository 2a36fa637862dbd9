from typing import Dict

from kfp.dsl import Artifact, Input, Model

from components._base import component

__all__ = ["register"]


@component
def register(
    *,
    problem: Input[Artifact],
    bundle: Input[Model],
    verdict: Input[Artifact],
    evaluation: Input[Artifact],
    ratchet: Input[Artifact],
    store: str,
) -> Dict[str, str]:
    """Put the bundle into the registry as a new version; the same bundle twice is one version.

    Args:
        problem: The problem as JSON.
        bundle: Folder of the bundle.
        verdict: The verdict as JSON.
        evaluation: Folder of the evaluation.
        ratchet: JSON on challenger and champion, and the limits that the next one must hold.
        store: Folder or s3:// address in which snapshots, models and events are kept.

    Returns:
        Output: name, version, bundle (its hash) and storage_uri (which KServe reads).
    """
    from pathlib import Path

    from cd4ml.steps.register import register_model as step

    inputs = {"problem": problem, "bundle": bundle, "verdict": verdict}
    named = {**inputs, "evaluation": evaluation, "ratchet": ratchet}
    return step(store=store, **{name: Path(one.path) for name, one in named.items()})
