from typing import Dict

from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components._base import component

__all__ = ["package"]


@component
def package(
    *,
    problem: Input[Artifact],
    snapshot: Input[Dataset],
    dataset: Input[Dataset],
    model: Input[Model],
    evaluation: Input[Artifact],
    bias: Input[Artifact],
    fingerprint: Dict[str, str],
    git_commit: str,
    git_branch: str,
    bundle: Output[Model],
    checks: Output[Artifact],
    measured: Output[Metrics],
) -> None:
    """Export the model with all that serving and later judges need, and check that it predicts the same.

    Args:
        problem: The problem as JSON.
        snapshot: Folder of the snapshot.
        dataset: Folder of the dataset.
        model: Folder of the fitted model.
        evaluation: Folder of the evaluation.
        bias: Folder with the bias checks.
        fingerprint: Hashes of what the run depends on; they become part of the lineage.
        git_commit: Commit of the code that asks for the run, or empty.
        git_branch: Its branch, or empty.

    Returns:
        bundle: Folder of the model in ONNX with contract, history, lineage, card, manifest and signature.
        checks: Folder with the results of parity, latency and loading in a bare serving environment.
        measured: Largest difference of the export, milliseconds a row, bytes.
    """
    from pathlib import Path

    from cd4ml.adapters.kubeflow.outputs import write_metrics
    from cd4ml.steps.package import package_model as step

    inputs = {"snapshot": snapshot, "dataset": dataset, "model": model, "evaluation": evaluation}
    named = {**inputs, "bias": bias, "out": bundle, "checks": checks}
    paths = {name: Path(one.path) for name, one in named.items()}
    lineage = {**fingerprint, "git_commit": git_commit, "git_branch": git_branch}
    write_metrics(measured, step(problem=Path(problem.path), lineage=lineage, **paths))
