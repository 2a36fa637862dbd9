from typing import Any, Dict

from kfp.dsl import HTML, Artifact, Input, Model, Output

from components._base import component

__all__ = ["approval_page"]


@component
def approval_page(
    *,
    problem: Input[Artifact],
    bundle: Input[Model],
    verdict: Input[Artifact],
    registered: Dict[str, str],
    evaluation: Input[Artifact],
    bias: Input[Artifact],
    champion: Input[Artifact],
    ratchet: Input[Artifact],
    consumers: Input[Artifact],
    ledger: Input[Artifact],
    page: Output[HTML],
) -> None:
    """Write the page by which a person decides: verdict, card, slices, and what changed since the champion.

    Args:
        problem: The problem as JSON.
        bundle: Folder of the bundle.
        verdict: The verdict as JSON.
        registered: Name and version of the bundle in the registry.
        evaluation: Folder of the evaluation.
        bias: Folder with the bias checks.
        champion: Folder of the champion's predictions, with what its bundle says of itself.
        ratchet: JSON on challenger and champion.
        consumers: Folder with the checks of consumers' contracts.
        ledger: JSON on the looks at the holdout.

    Returns:
        page: One self-contained page.
    """
    from pathlib import Path

    from cd4ml.steps.approval_page import write_approval_page as step

    inputs = {
        "problem": problem,
        "bundle": bundle,
        "verdict": verdict,
        "evaluation": evaluation,
        "bias": bias,
    }
    told = {"champion": champion, "ratchet": ratchet, "consumers": consumers, "ledger": ledger, "out": page}
    named: Dict[str, Any] = {name: Path(one.path) for name, one in {**inputs, **told}.items()}
    step(reference=f"{registered['name']}@{registered['version']}", **named)
