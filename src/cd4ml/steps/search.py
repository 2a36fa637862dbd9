"""Search over candidates: plan, one task a family, choose."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cd4ml.steps.documents import problem_of, read

__all__ = ["choose_model", "plan_search", "search_family"]


def _progress(line: str) -> None:
    sys.stderr.write(line + "\n")


def plan_search(problem: Path, dataset: Path) -> list[dict[str, Any]]:
    """Return one task a candidate; each carries all that the body of the loop needs."""
    from cd4ml.models import search
    from cd4ml.tables.dataset import Dataset

    return search.plan_search(problem_of(problem), Dataset.load(dataset))


def search_family(problem: Path, dataset: Path, task: dict[str, Any], out: Path) -> dict[str, float]:
    """Search one candidate and predict the holdout with its best point, fitted on all training rows.

    Parameters
    ----------
    task : dict
        One entry of `plan_search`.
    out : Path
        Folder with result.json and holdout.npy.

    Returns
    -------
    dict of str to float
        Mean primary score on the folds and the rows fitted.
    """
    import numpy as np

    from cd4ml.adapters.storage import atomic
    from cd4ml.models.search import choose, refit, run_search_task
    from cd4ml.tables.dataset import Dataset

    found, data = problem_of(problem), Dataset.load(dataset)
    result = run_search_task(found, data, task, found.search.max_seconds, time.monotonic, _progress)
    # The quantile of the stock decision is the winner's alone.
    alone = found.model_copy(update={"stock": None})
    fitted = refit(alone, data, choose(alone, [result]), 1, _progress).fitted
    with atomic.directory(out) as folder:
        atomic.write_json(folder / "result.json", result)
        np.save(folder / "holdout.npy", fitted.predict(np.ascontiguousarray(data.X[data.role == 1])))
    return {found.metrics.primary: result["best"]["mean"], "row_fits": float(result["row_fits"])}


def choose_model(problem: Path, dataset: Path, results: Sequence[Path], out: Path) -> dict[str, float]:
    """Take the best family, repeat its fit with other seeds, add what stock decisions need, try mitigations.

    Parameters
    ----------
    results : sequence of Path
        The folders that `search_family` wrote.
    out : Path
        Folder with the model and its export, search.json, and candidates/NAME.npy with the holdout as each
        candidate predicts it; with `mitigations` also mitigation.json, and treatment.json where one is taken.
    """
    import shutil

    from cd4ml.adapters.storage import atomic
    from cd4ml.models.mitigation import mitigate
    from cd4ml.models.persist import export_model, save_model
    from cd4ml.models.search import choose, refit
    from cd4ml.tables.dataset import Dataset

    found, data = problem_of(problem), Dataset.load(dataset)
    folders = {result["name"]: (result, path) for path in results for result in [read(path / "result.json")]}
    tried = [folders[name][0] for name in sorted(folders)]
    winner = choose(found, tried)
    model = export_model(refit(found, data, winner, found.search.repeats, _progress), data.names)
    frontier = None
    if found.mitigations:
        model, _, frontier = mitigate(found, data, model, winner, found.search.repeats, _progress)
    with atomic.directory(out) as folder:
        save_model(folder, model)
        if frontier is not None:
            atomic.write_json(folder / "mitigation.json", frontier)
        (folder / "candidates").mkdir()
        for name, (_, path) in folders.items():
            shutil.copyfile(path / "holdout.npy", folder / "candidates" / f"{name}.npy")
        document = {
            "winner": winner,
            "results": tried,
            "budget_row_fits": found.search.budget_row_fits,
            "spent_row_fits": sum(result["row_fits"] for result in tried),
            "seed": found.search.seed,
            "repeats": model.repeats,
        }
        atomic.write_json(folder / "search.json", document)
    return {found.metrics.primary: winner["mean"], "spent_row_fits": float(document["spent_row_fits"])}
