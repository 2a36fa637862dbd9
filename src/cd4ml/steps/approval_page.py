"""Write the page that an approver decides by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cd4ml.steps.documents import problem_of, read

__all__ = ["write_approval_page"]


def write_approval_page(
    problem: Path,
    bundle: Path,
    verdict: Path,
    reference: str,
    out: Path,
    *,
    evaluation: Path | None = None,
    bias: Path | None = None,
    champion: Path | None = None,
    ratchet: Path | None = None,
    consumers: Path | None = None,
    ledger: Path | None = None,
    standing: dict[str, Any] | None = None,
) -> None:
    """Write one self-contained HTML file to `out`.

    Parameters
    ----------
    reference : str
        What the commands of the page name, e.g. bike-demand@3.
    evaluation : Path, optional
        Folder of the model's scores: metrics.json, evaluation.json and, where treatments were tried,
        mitigation.json.
    bias, consumers : Path, optional
        Folders of these checks.
    champion : Path, optional
        The champion's bundle, or the folder of its predictions; the page says so when there is none.
    ratchet, ledger : Path, optional
        Files on the champion and on the looks at the holdout.
    standing : dict, optional
        What was decided already.
    """
    from cd4ml.adapters.storage.atomic import write_text
    from cd4ml.reports.approval_page import approval_page

    folders = {"metrics": evaluation, "evaluation": evaluation, "mitigation": evaluation, "bias": bias}
    files = {name: folder / f"{name}.json" for name, folder in folders.items() if folder}
    files |= {"consumers": consumers / "consumers.json"} if consumers else {}
    files |= {name: path for name, path in {"ratchet": ratchet, "ledger": ledger}.items() if path}
    html = approval_page(
        reference=reference,
        problem=problem_of(problem).model_dump(mode="json"),
        verdict=read(verdict),
        card=read(bundle / "card.json"),
        papers=_papers(bundle),
        champion=(_papers(champion) or None) if champion else None,
        standing=standing,
        **{name: read(path) for name, path in files.items() if path.exists()},
    )
    write_text(out, html)


def _papers(bundle: Path) -> dict[str, Any]:
    """Return what a bundle says of its origin; older ones may lack a file."""
    from cd4ml.reports.changes_sections import PAPERS

    paths = {name: bundle / f"{name}.json" for name in PAPERS}
    return {name: read(path) for name, path in paths.items() if path.exists()}
