"""Try every treatment that a problem names, and take one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cd4ml.domain.mitigation import Gap
from cd4ml.domain.treatment import Treatment
from cd4ml.models.data import TRAIN, rows_of
from cd4ml.models.mitigation.attempts import (
    Attempt,
    OutOfFold,
    plain,
    recalibrated,
    reweighed,
    thresholded,
    with_bounded_loss,
)
from cd4ml.models.mitigation.frontier import document, entry, gap_of, measured
from cd4ml.models.mitigation.grouping import Grouped, Judged, groups_for, holdout_rows, validation_rows
from cd4ml.models.persist import Model, export_model
from cd4ml.models.search import refit
from cd4ml.problem import Problem

__all__ = ["mitigate"]


def _silent(line: str) -> None:
    del line


def mitigate(
    problem: Problem,
    dataset: Grouped,
    model: Model,
    winner: Mapping[str, Any],
    repeats: int = 1,
    progress: Callable[[str], None] = _silent,
) -> tuple[Model, Treatment | None, dict[str, Any]]:
    """Try the treatments of `problem.mitigations` on the folds and take one by `domain.mitigation.RULE`.

    The holdout takes no part in the choice; it is measured for the report.

    Parameters
    ----------
    model : Model
        The winner, fitted on all training rows.
    winner : mapping
        What `search.choose` returned.
    repeats : int
        Fits with other seeds, where the treatment needs the model to be fitted again.
    progress : callable
        Takes a line a fit.

    Returns
    -------
    model : Model
        With its treatment.
    treatment : Treatment or None
        None where the plain model is taken.
    frontier : dict
        mitigation.json.

    Raises
    ------
    ProblemError
        If groups cannot be told by the columns.
    """
    judged = validation_rows(dataset)
    folds = OutOfFold(problem, dataset, winner, progress)
    attempts = _attempts(problem, dataset, folds, judged)
    held, entries, models = holdout_rows(dataset), [], {}
    for one in attempts:
        models[one.name] = _fitted(problem, dataset, model, winner, one.treatment, progress)
        X = np.ascontiguousarray(dataset.X[held.rows])
        shown = models[one.name].judge(X, held.columns)
        found = entry(problem, one, judged) | {"holdout": measured(problem, held, *shown, one.treatment)}
        entries.append(found)
    frontier = document(problem, entries, "on the folds")
    chosen = models[frontier["chosen"]]
    treatment = chosen.treatment
    if treatment is not None and treatment.fit_weights is not None and repeats > 1:
        chosen = _fitted(problem, dataset, model, winner, treatment, progress, repeats)
    return chosen, treatment, frontier


def _attempts(problem: Problem, dataset: Grouped, folds: OutOfFold, judged: Judged) -> list[Attempt]:
    first = replace(plain(problem, folds.predict("no treatment")), row_fits=folds.row_fits)

    def gap(one: Attempt) -> Gap:
        return gap_of(problem, judged, one.predictions, one.decisions)

    found, predictions = [first], first.predictions
    for index, name in enumerate(_names(problem)):
        groups = groups_for(problem, dataset, index)
        kind = problem.mitigations[index].kind
        if kind == "reweighing":
            found.append(reweighed(problem, folds, name, groups))
        elif kind == "bounded_group_loss":
            found.append(with_bounded_loss(problem, folds, name, groups, judged, predictions))
        elif kind == "recalibration":
            found.append(recalibrated(problem, name, groups, judged, predictions))
        else:
            found.append(thresholded(problem, name, groups, judged, predictions, gap))
    return found


def _names(problem: Problem) -> list[str]:
    """Return a name for each mitigation: its kind, with the columns where a kind is there twice."""
    count = Counter(one.kind for one in problem.mitigations)
    return [
        one.kind if count[one.kind] == 1 else f"{one.kind}:{'-'.join(one.columns or problem.sensitive)}"
        for one in problem.mitigations
    ]


def _fitted(
    problem: Problem,
    dataset: Grouped,
    model: Model,
    winner: Mapping[str, Any],
    treatment: Treatment | None,
    progress: Callable[[str], None],
    repeats: int = 1,
) -> Model:
    """Return the model with a treatment, fitted again where that has weights for it."""
    if treatment is None or treatment.fit_weights is None:
        return replace(model, treatment=treatment)
    rows = rows_of(dataset, TRAIN)
    factors = treatment.factors(treatment.groups.of(dataset.slices)[rows], dataset.y[rows])
    found = refit(problem, dataset, winner, repeats, progress, factors)
    return export_model(found, model.names, treatment)
