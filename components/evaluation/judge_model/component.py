from kfp.dsl import Artifact, Dataset, Input, Markdown, Model, Output

from components._base import component

__all__ = ["judge_model"]


@component
def judge_model(
    *,
    problem: Input[Artifact],
    snapshot: Input[Dataset],
    dataset: Input[Dataset],
    evaluation: Input[Artifact],
    checks: Input[Artifact],
    bundle: Input[Model],
    bias: Input[Artifact],
    explanations: Input[Artifact],
    champion: Input[Artifact],
    ledger: Input[Artifact],
    consumers: Input[Artifact],
    previous: str,
    store: str,
    verdict: Output[Artifact],
    ratchet: Output[Artifact],
    markdown: Output[Markdown],
) -> str:
    """Weigh data, model and code gates and give one verdict; it becomes a line of the audit log.

    Args:
        problem: The problem as JSON.
        snapshot: Folder of the snapshot.
        dataset: Folder of the dataset.
        evaluation: Folder of the evaluation.
        checks: Folder with the checks of the bundle.
        bundle: Folder of the bundle.
        bias: Folder with the bias checks.
        explanations: Folder with the explanations.
        champion: Folder of the champion's predictions.
        ledger: JSON on the looks at the holdout.
        consumers: Folder with the checks of consumers' contracts.
        previous: JSON of the hashes that the last run depended on; empty to compare with the champion.
        store: Folder or s3:// address in which snapshots, models and events are kept.

    Returns:
        verdict: The verdict as JSON: each gate with what was measured, its limit and the reason.
        ratchet: JSON on challenger and champion, and the limits that the next one must hold.
        markdown: The gates as a table.
        Output: The decision: accept, reject or needs_approval.
    """
    from pathlib import Path

    from cd4ml.steps.judge import judge_model as step

    model = {"problem": problem, "snapshot": snapshot, "dataset": dataset, "evaluation": evaluation}
    judged = {"bias": bias, "explanations": explanations, "champion": champion, "ledger": ledger}
    named = {**model, **judged, "checks": checks, "bundle": bundle, "consumers": consumers}
    outputs = {"out": verdict, "ratchet": ratchet, "markdown": markdown}
    made = {name: Path(one.path) for name, one in named.items()}
    return step(made, previous, store, **{name: Path(one.path) for name, one in outputs.items()})
