from kfp.dsl import HTML, Artifact, Dataset, Input, Model, Output

from components._base import component

__all__ = ["report"]


@component
def report(
    *,
    problem: Input[Artifact],
    snapshot: Input[Dataset],
    dataset: Input[Dataset],
    model: Input[Model],
    evaluation: Input[Artifact],
    checks: Input[Artifact],
    bundle: Input[Model],
    verdict: Input[Artifact],
    bias: Input[Artifact],
    explanations: Input[Artifact],
    ledger: Input[Artifact],
    consumers: Input[Artifact],
    ratchet: Input[Artifact],
    report: Output[HTML],
    card: Output[HTML],
) -> None:
    """Write the page that shows the whole run, and the model card.

    Args:
        problem: The problem as JSON.
        snapshot: Folder of the snapshot.
        dataset: Folder of the dataset.
        model: Folder of the fitted model.
        evaluation: Folder of the evaluation.
        checks: Folder with the checks of the bundle.
        bundle: Folder of the bundle.
        verdict: The verdict as JSON.
        bias: Folder with the bias checks.
        explanations: Folder with the explanations.
        ledger: JSON on the looks at the holdout.
        consumers: Folder with the checks of consumers' contracts.
        ratchet: JSON on challenger and champion.

    Returns:
        report: One self-contained page.
        card: The model card as one.
    """
    from pathlib import Path

    from cd4ml.steps.report import write_report as step

    inputs = {"problem": problem, "snapshot": snapshot, "dataset": dataset, "model": model}
    results = {"evaluation": evaluation, "checks": checks, "bundle": bundle, "verdict": verdict}
    judged = {"bias": bias, "explanations": explanations, "ledger": ledger}
    named = {**inputs, **results, **judged, "consumers": consumers, "ratchet": ratchet, "out": report}
    named["card"] = card
    step(**{name: Path(one.path) for name, one in named.items()})
