"""Explain the model on its holdout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.steps.documents import problem_of, read

if TYPE_CHECKING:
    from cd4ml.models.explain.document import Context
    from cd4ml.problem import Problem
    from cd4ml.tables.dataset import Dataset

__all__ = ["explain_model"]


def explain_model(problem: Path, dataset: Path, model: Path, evaluation: Path, out: Path) -> dict[str, Any]:
    """Write what the model rests on, over all rows, by slice and by row.

    Parameters
    ----------
    evaluation : Path
        What `score_model` wrote: the importances are taken from it.
    out : Path
        Folder with explanations.json, and contributions.npz: `base`, `values` (n, k), and `rows` (n), the
        numbers of the rows within the holdout.

    Returns
    -------
    dict
        `rows` explained and, for each sensitive or excluded column, the weighted `proxies` (None: unknown).
    """
    import numpy as np

    from cd4ml.adapters.storage import atomic
    from cd4ml.models.explain.document import explain
    from cd4ml.models.persist import load_model
    from cd4ml.tables.dataset import Dataset

    found, data = problem_of(problem), Dataset.load(dataset)
    importances = read(evaluation / "evaluation.json").get("importances") or []
    context = _context(found, data)
    explained = explain(found, data, load_model(model), context, importances, _progress)
    with atomic.directory(out) as folder:
        atomic.write_json(folder / "explanations.json", explained.document)
        np.save(folder / "contributions.npy", explained.contributions.values)
        np.save(folder / "rows.npy", explained.rows)
    proxies = {
        one["column"]: one["weighted"] and one["weighted"]["estimate"]
        for one in explained.document["proxies"]
    }
    return {"rows": explained.document["rows"]["contributions"], "proxies": proxies}


def _progress(line: str) -> None:
    sys.stderr.write(line + "\n")


def _context(problem: Problem, data: Dataset) -> Context:
    from cd4ml.features.plan import CategoryFeature, compile_plan
    from cd4ml.features.sources import holders
    from cd4ml.models.explain.document import Context

    plan, vocabularies = compile_plan(problem), data.state.vocabularies
    ordinal = [
        one.name for one in plan.features if isinstance(one, CategoryFeature) and one.encoding == "ordinal"
    ]
    columns = {name: data.slices[name] for name in problem.sensitive} | data.excluded
    return Context(
        labels={name: vocabularies[name].texts for name in ordinal},
        slices=data.slices,
        columns=columns,
        direct={name: holders(plan, name, data.names) for name in columns},
    )
