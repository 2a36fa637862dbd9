"""Trying each kind of treatment on predictions for rows that no model was fitted on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cd4ml.domain.group_thresholds import find_thresholds
from cd4ml.domain.hashing import uniform_hash
from cd4ml.domain.mitigation import PLAIN, Gap
from cd4ml.domain.recalibration import fit_curves
from cd4ml.domain.reweighting import group_losses, raise_weights, reweigh
from cd4ml.domain.treatment import Groups, Scale, Treatment, decide
from cd4ml.models.data import TRAIN, FloatArray, IntArray, rows_of
from cd4ml.models.fit import fit
from cd4ml.models.mitigation.grouping import Grouped, Judged
from cd4ml.models.search import candidate_of
from cd4ml.problem import Problem

__all__ = ["Attempt", "OutOfFold", "plain", "recalibrated", "reweighed", "thresholded", "with_bounded_loss"]

ROUNDS = 5
"""Most rounds of bounded group loss after the plain one."""
TARGETS = (0.0, 0.25, 0.5, 0.75, 0.9)
"""How far from the policy's ratio to equality thresholds aim, in turn, until they keep it on unseen rows."""
PARTS = 5
"""Parts of the judged rows: what is found on four is tried on the fifth."""


@dataclass(frozen=True)
class Attempt:
    """A treatment with what it makes of the judged rows; nothing was found on the rows that it is tried on.

    Attributes
    ----------
    treatment : Treatment or None
        As it would be served, found on all judged rows; None is the plain model.
    predictions, decisions : arrays of shape (n,)
        `decisions` are None where nothing is classified.
    row_fits : int
        Rows fitted for it.
    """

    name: str
    treatment: Treatment | None
    predictions: FloatArray
    decisions: FloatArray | None
    row_fits: int = 0


@dataclass
class OutOfFold:
    """Predictions of each fold's validation rows by a model fitted on the fold's training rows.

    Attributes
    ----------
    winner : mapping
        See `search.choose`.
    row_fits : int
        Rows fitted so far.
    """

    problem: Problem
    dataset: Grouped
    winner: Mapping[str, Any]
    progress: Callable[[str], None]
    row_fits: int = 0

    def predict(self, what: str, factors: FloatArray | None = None) -> FloatArray:
        """Return the predictions, in the order of `validation_rows`.

        Parameters
        ----------
        what : str
            For the line of progress.
        factors : array of shape (rows of the dataset,), optional
            What the weights are multiplied with.
        """
        data, found = self.dataset, []
        candidate = candidate_of(self.problem, str(self.winner["name"]))
        for train, validation in data.folds:
            rows = np.flatnonzero(train)
            weight = data.weight[rows] if factors is None else data.weight[rows] * factors[rows]
            X, seed = np.ascontiguousarray(data.X[rows]), self.problem.search.seed
            fitted = fit(self.problem, candidate, self.winner["parameters"], X, data.y[rows], weight, seed)
            found.append(fitted.predict(np.ascontiguousarray(data.X[np.flatnonzero(validation)])))
            self.row_fits += len(rows)
        self.progress(f"{candidate.name}, {what}, in {len(data.folds)} folds")
        return np.concatenate(found)


def _decisions(problem: Problem, predictions: FloatArray) -> FloatArray | None:
    return decide(predictions) if problem.task == "classification" else None


def plain(problem: Problem, predictions: FloatArray) -> Attempt:
    """Return the model as it is."""
    return Attempt(PLAIN, None, predictions, _decisions(problem, predictions))


def reweighed(problem: Problem, folds: OutOfFold, name: str, groups: Groups) -> Attempt:
    """Return the model fitted with weights by which group and label are independent."""
    data, before = folds.dataset, folds.row_fits
    train, codes = rows_of(data, TRAIN), groups.of(data.slices)
    factors = reweigh(codes[train], data.y[train], groups.count, data.weight[train])
    treatment = Treatment("reweighing", groups, fit_weights=factors)
    predictions = folds.predict(treatment.label, treatment.factors(codes, data.y))
    return Attempt(name, treatment, predictions, _decisions(problem, predictions), folds.row_fits - before)


def with_bounded_loss(
    problem: Problem, folds: OutOfFold, name: str, groups: Groups, judged: Judged, unweighted: FloatArray
) -> Attempt:
    """Return the model of the best round: the least loss with every group's within the bound.

    The bound is `bias.max_error_ratio` times the loss of the plain model over all judged rows; where no round
    keeps it, the round whose worst group is nearest to it is taken.
    """
    data, before = folds.dataset, folds.row_fits
    codes = groups.of(data.slices)
    inside, factors = codes[judged.rows], np.ones(groups.count)
    predictions, losses = unweighted, np.full(groups.count, np.nan)
    rounds: list[tuple[float, float, FloatArray, FloatArray]] = []
    bound = problem.bias.max_error_ratio * float(
        np.average(_loss(problem, judged.y, unweighted), weights=judged.weight)
    )
    while not rounds or (rounds[-1][0] > 1 and len(rounds) <= ROUNDS):
        if rounds:
            factors = raise_weights(factors, losses, bound)
            told = f"{name.replace('_', ' ')}, round {len(rounds)}"
            predictions = folds.predict(told, factors[codes])
        loss = _loss(problem, judged.y, predictions)
        losses = group_losses(loss, inside, groups.count, judged.weight)
        worst = float(np.nanmax(losses)) / bound if bound > 0 else 0.0
        rounds.append((max(1.0, worst), float(np.average(loss, weights=judged.weight)), factors, predictions))
    _, _, factors, predictions = min(rounds, key=lambda one: one[:2])
    weights = tuple((float(factor),) for factor in factors)
    treatment = Treatment("bounded_group_loss", groups, fit_weights=weights)
    return Attempt(name, treatment, predictions, _decisions(problem, predictions), folds.row_fits - before)


def _scale(problem: Problem) -> Scale:
    if problem.task == "classification":
        return "logit"
    return "log1p" if problem.target.transform == "log1p" else "identity"


def _loss(problem: Problem, y: FloatArray, predictions: FloatArray) -> FloatArray:
    """Return each row's loss: log loss, or the squared error on the scale of the fit."""
    if problem.task == "classification":
        p = np.clip(predictions, 1e-12, 1 - 1e-12)
        return np.asarray(-np.where(y > 0.5, np.log(p), np.log1p(-p)))
    if problem.target.transform == "log1p":
        return np.asarray((np.log1p(np.maximum(predictions, 0)) - np.log1p(np.maximum(y, 0))) ** 2)
    return np.asarray((predictions - y) ** 2)


def recalibrated(
    problem: Problem, name: str, groups: Groups, judged: Judged, predictions: FloatArray
) -> Attempt:
    """Return predictions put right by a curve for each group."""
    codes, scale = groups.of(judged.columns), _scale(problem)
    lowest = problem.target.min if problem.task == "regression" else None

    def found(rows: IntArray) -> Treatment:
        curves = fit_curves(predictions[rows], judged.y[rows], codes[rows], groups.count, scale)
        return Treatment("recalibration", groups, curves=curves, minimum=lowest)

    treated = np.empty_like(predictions)
    for others, part in _parts(problem, judged):
        treated[part] = found(others).recalibrate(predictions[part], codes[part])
    return Attempt(name, found(np.arange(len(codes))), treated, _decisions(problem, treated))


def thresholded(
    problem: Problem,
    name: str,
    groups: Groups,
    judged: Judged,
    predictions: FloatArray,
    gap: Callable[[Attempt], Gap],
) -> Attempt:
    """Return decisions by a threshold for each group.

    Thresholds that keep the policy's ratio on the rows that they are found on miss it by chance on others.
    So they aim at ratios ever nearer to 1, until the gap is within the policy on rows that they have not
    seen: the first is the cheapest. Where none is, the one with the smallest gap is returned.
    """
    codes, least = groups.of(judged.columns), problem.bias.min_rate_ratio

    def found(rows: IntArray, ratio: float) -> Treatment:
        limits = find_thresholds(predictions[rows], judged.y[rows], codes[rows], groups.count, ratio)
        return Treatment("group_thresholds", groups, thresholds=limits)

    tried: list[tuple[float, Attempt]] = []
    for step in TARGETS:
        ratio = least + step * (1 - least)
        decisions = np.empty_like(predictions)
        for others, part in _parts(problem, judged):
            decisions[part] = found(others, ratio).decide(predictions[part], codes[part])
        one = Attempt(name, found(np.arange(len(codes)), ratio), predictions, decisions)
        measured = gap(one)
        if measured.within:
            return one
        tried.append((measured.share, one))
    return min(tried, key=lambda pair: pair[0])[1]


def _parts(problem: Problem, judged: Judged) -> list[tuple[IntArray, IntArray]]:
    """Return (rows to find on, rows to try on) for each part; rows of one cluster stay together."""
    drawn = (uniform_hash(judged.cluster, problem.search.seed) * PARTS).astype(np.int64)
    parts = [np.flatnonzero(drawn == part) for part in np.unique(drawn)]
    if len(parts) == 1:  # a single cluster has nothing apart
        return [(parts[0], parts[0])]
    return [(np.setdiff1d(np.arange(len(drawn)), part), part) for part in parts]
