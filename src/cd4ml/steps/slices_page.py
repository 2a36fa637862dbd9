"""Write the page on which a reader cuts the holdout at will."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.steps.documents import problem_of

if TYPE_CHECKING:
    from cd4ml.features.columns import ColumnLike
    from cd4ml.problem import Problem
    from cd4ml.reports.explorer_data import Judged
    from cd4ml.tables.dataset import Dataset

__all__ = ["write_slices_page"]


def write_slices_page(
    problem: Path, dataset: Path, evaluation: Path, out: Path, champion: Path | None = None
) -> None:
    """Write one self-contained HTML file to `out`.

    Parameters
    ----------
    dataset, evaluation : Path
        Folders of the dataset and of the model's scores.
    champion : Path, optional
        Folder of the champion's predictions on the same rows; without them the baselines stand alone.
    """
    from cd4ml.adapters.storage.atomic import write_text
    from cd4ml.reports.slice_explorer import slice_explorer_page
    from cd4ml.tables.dataset import Dataset

    found, data = problem_of(problem), Dataset.load(dataset)
    first = list(dict.fromkeys([*found.sensitive, *found.slices]))
    judged = _judged(found, data, evaluation, champion, first)
    html = slice_explorer_page(found.model_dump(mode="json"), judged, first=first, seed=found.search.seed)
    write_text(out, html)


def _judged(
    problem: Problem, data: Dataset, evaluation: Path, champion: Path | None, first: list[str]
) -> Judged:
    import numpy as np

    from cd4ml.reports.explorer_data import Judged

    held = data.role == 1
    predictions = {"model": np.load(evaluation / "predictions.npy")}
    decisions: dict[str, Any] = {}
    folders = {"model": evaluation} | ({"champion": champion} if champion else {})
    for name, folder in folders.items():
        if (folder / "predictions.npy").exists():
            predictions[name] = np.load(folder / "predictions.npy")
        if (folder / "decisions.npy").exists():
            decisions[name] = np.load(folder / "decisions.npy")
    predictions |= {name: np.asarray(values[held]) for name, values in sorted(data.baselines.items())}
    actual = np.asarray(data.y[held])
    columns = _columns(problem, data, first)
    columns |= {"(predicted)": predictions["model"], "(actual)": actual}
    return Judged(
        actual,
        predictions,
        columns,
        cluster=np.asarray(data.cluster[held]),
        weight=np.asarray(data.weight[held]),
        decisions=decisions,
    )


def _columns(problem: Problem, data: Dataset, first: list[str]) -> dict[str, ColumnLike]:
    """Return slices and sensitive columns, uncut where the dataset has them so, then all other inputs."""
    import numpy as np
    import polars as pl

    from cd4ml.features.columns import CategoryArray
    from cd4ml.tables.columns import to_columns

    held = data.role == 1
    frame = pl.read_parquet(data.folder / "holdout.parquet")
    kept = {name: column for name, column in problem.fact.columns.items() if name in frame.columns}
    raw = dict(to_columns(frame, problem.fact.model_copy(update={"columns": kept})))
    raw.pop(problem.target.column, None)
    cut = {name: CategoryArray(one.codes[held], one.categories) for name, one in data.slices.items()}
    times: dict[str, ColumnLike] = {}
    if problem.time is not None and not np.isnat(data.times[held]).any():
        times = {problem.time.column: np.asarray(data.times[held])}
    found = {name: raw.get(name, cut[name]) for name in first if name in raw or name in cut}
    return found | {name: one for name, one in {**times, **raw}.items() if name not in found}
