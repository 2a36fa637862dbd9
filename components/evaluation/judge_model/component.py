from kfp.dsl import Artifact, Dataset, Input, Markdown, Model, Output

from components._base import component

__all__ = ["judge"]


@component
def judge(
    *,
    problem: Input[Artifact],
    snapshot: Input[Dataset],
    dataset: Input[Dataset],
    evaluation: Input[Artifact],
    checks: Input[Artifact],
    bundle: Input[Model],
    previous: str,
    verdict: Output[Artifact],
    markdown: Output[Markdown],
) -> str:
    """Weigh data, model and code gates and give one verdict.

    Args:
        problem: The problem as JSON.
        snapshot: Folder of the snapshot.
        dataset: Folder of the dataset.
        evaluation: Folder of the evaluation.
        checks: Folder with the checks of the bundle.
        bundle: Folder of the bundle.
        previous: JSON of the hashes that the last run depended on, or empty for none.

    Returns:
        verdict: The verdict as JSON: each gate with what was measured, its limit and the reason.
        markdown: The gates as a table.
        Output: The decision: accept, reject or needs_approval.
    """
    from pathlib import Path

    from cd4ml.steps.judge import judge_model as step

    inputs = {"problem": problem, "snapshot": snapshot, "dataset": dataset, "evaluation": evaluation}
    named = {**inputs, "checks": checks, "bundle": bundle, "out": verdict, "markdown": markdown}
    return step(previous=previous, **{name: Path(one.path) for name, one in named.items()})
