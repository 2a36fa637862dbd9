"""The search: one task a candidate, each a successive halving on the folds.

The budget counts rows fitted, so that a search repeats on any machine. Tasks share it in proportion to their
points. All tasks end on the same number of rows, all training rows where the budget pays for them, so that
their best scores can be compared.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cd4ml.domain.halving import nested_sample, sample_space, schedule, survivors
from cd4ml.domain.hashing import uniform_hash
from cd4ml.domain.metrics import METRICS, score
from cd4ml.domain.search_space import default_candidate
from cd4ml.errors import BudgetError, MetricError, NotFoundError, UsageError, nearest
from cd4ml.models.data import HOLDOUT, TRAIN, Dataset, rows_of
from cd4ml.models.families import simplicity
from cd4ml.models.fit import Fitted, fit
from cd4ml.problem import Candidate, Problem

__all__ = [
    "Refit",
    "candidate_of",
    "choose",
    "plan_search",
    "primary_score",
    "recent_sample",
    "refit",
    "run_search_task",
]

Progress = Callable[[str], None]
Task = dict[str, Any]
ETA = 3
MIN_ROWS = 2000
RECENT_SHARE = 0.5


def _silent(line: str) -> None:
    del line


def candidate_of(problem: Problem, name: str) -> Candidate:
    """Return a candidate by name.

    Raises
    ------
    NotFoundError
        If the problem has none of this name.
    """
    for candidate in problem.candidates:
        if candidate.name == name:
            return candidate
    names = [candidate.name for candidate in problem.candidates]
    raise NotFoundError(
        f"unknown candidate '{name}'{nearest(name, names)}; expected one of {', '.join(names)}"
    )


def plan_search(problem: Problem, dataset: Dataset) -> list[Task]:
    """Return one task a candidate, as JSON.

    A task has `name`, `family`, `points` (parameters to try, the default first), `rungs` (`candidates`,
    `rows`, `folds`), `rows` (those of a full fit) and `seed`.

    Raises
    ------
    BudgetError
        If the budget is below one row per candidate and fold.
    UsageError
        If there are no folds.
    """
    folds = len(dataset.folds)
    if not folds:
        raise UsageError("a search needs at least one fold; found none. Check `split.folds`")
    full = max(int(np.count_nonzero(train)) for train, _ in dataset.folds)
    seed = problem.search.seed
    points: dict[str, list[dict[str, Any]]]
    points = {c.name: sample_space(c.search, c.tries, seed) if c.search else [{}] for c in problem.candidates}
    shares = _shares(problem.search.budget_row_fits, [len(p) for p in points.values()])
    rows = min(full, min(shares) // folds)
    if rows < 1:
        raise BudgetError(
            f"search.budget_row_fits is {problem.search.budget_row_fits}; {len(points)} candidates in "
            f"{folds} folds need more. Raise it to {len(points) * folds * min(full, MIN_ROWS)} or more"
        )
    return [
        {
            "name": candidate.name,
            "family": candidate.family,
            "points": tried,
            "rungs": [
                {"candidates": r.candidates, "rows": r.rows, "folds": r.folds}
                for r in schedule(len(tried), rows, folds, share, ETA, min(MIN_ROWS, rows))
            ],
            "rows": full,
            "seed": seed,
        }
        for candidate, tried, share in zip(problem.candidates, points.values(), shares, strict=True)
    ]


def _shares(budget_row_fits: int, points: Sequence[int]) -> list[int]:
    return [budget_row_fits * count // sum(points) for count in points]


def recent_sample(step: npt.NDArray[np.int64], rows: int, seed: int, by_time: bool) -> npt.NDArray[np.int64]:
    """Return sorted indices of `rows` rows; a smaller sample is within a larger one.

    By time one half are the most recent rows, which look most like what is to be forecast, and the other half
    is drawn by hash from all before, which keeps seasons and trends. Otherwise all are drawn by hash.

    Parameters
    ----------
    step : array of shape (n,)
    rows : int
        From 0 to n; n or more returns all.
    """
    total = len(step)
    if rows >= total:
        return np.arange(total, dtype=np.int64)
    if not by_time:
        return nested_sample(total, rows, seed)
    hashed = uniform_hash(np.arange(total), seed)
    newest_first = np.lexsort((hashed, -step))
    recent = round(rows * RECENT_SHARE)
    older = newest_first[recent:]
    drawn = older[np.argsort(hashed[older], kind="stable")[: rows - recent]]
    return np.sort(np.concatenate([newest_first[:recent], drawn])).astype(np.int64)


def primary_score(problem: Problem, dataset: Dataset, rows: npt.NDArray[Any], predicted: Any) -> float:
    """Return the primary metric of predictions for some rows of a dataset."""
    name = problem.metrics.primary
    found = score(
        [name],
        dataset.y[rows],
        predicted,
        weight=dataset.weight[rows],
        cluster=np.zeros(len(predicted), dtype=np.int64),  # one cluster: no interval, no time spent on it
        quantile=problem.stock.quantile if problem.stock else None,
        resamples=100,
    )
    return float(found[name].estimate)


@dataclass(frozen=True)
class _Race:
    """One task while it runs."""

    problem: Problem
    dataset: Dataset
    candidate: Candidate
    task: Mapping[str, Any]
    check_time: Callable[[], None]

    def trial(self, parameters: Mapping[str, Any], rung: int, rows: int) -> Task:
        """Fit and score one point in every fold."""
        scores: list[float | None] = []
        spent, failure = 0, ""
        for train, validation in self.dataset.folds:
            self.check_time()
            fraction = rows / int(self.task["rows"])
            chosen = self._sample(np.flatnonzero(train), fraction)
            fitted = self._fit(parameters, chosen)
            spent += len(chosen)
            self.check_time()
            judged = np.flatnonzero(validation)
            try:
                predicted = fitted.predict(self.dataset.X[judged])
                scores.append(primary_score(self.problem, self.dataset, judged, predicted))
            except MetricError as error:
                scores.append(None)
                failure = str(error)
        known = [value for value in scores if value is not None]
        mean = statistics.fmean(known) if len(known) == len(scores) else None
        trial: Task = {"parameters": dict(parameters), "rung": rung, "rows": rows, "folds": len(scores)}
        trial |= {"scores": scores, "mean": mean, "row_fits": spent}
        return trial | ({"error": failure} if failure else {})

    def _sample(self, train: npt.NDArray[np.int64], fraction: float) -> npt.NDArray[np.int64]:
        """Return the fold's share of a rung: folds that are shorter get fewer rows."""
        count = max(1, round(fraction * len(train)))
        by_time = self.problem.split.kind == "time"
        step = np.asarray(self.dataset.step)[train]
        return np.asarray(train[recent_sample(step, count, int(self.task["seed"]), by_time)])

    def _fit(self, parameters: Mapping[str, Any], rows: npt.NDArray[np.int64]) -> Fitted:
        data = self.dataset
        return fit(
            self.problem,
            self.candidate,
            parameters,
            np.ascontiguousarray(data.X[rows]),
            data.y[rows],
            data.weight[rows],
            int(self.task["seed"]),
        )


def run_search_task(
    problem: Problem,
    dataset: Dataset,
    task: Mapping[str, Any],
    deadline_seconds: float,
    clock: Callable[[], float],
    progress: Progress = _silent,
) -> Task:
    """Run one task of `plan_search`.

    Parameters
    ----------
    deadline_seconds : float
        Wall time that the task may take; it is looked at before and after each fit.
    clock : callable
        Seconds that only grow, e.g. time.monotonic.
    progress : callable
        Called with a line after each trial.

    Returns
    -------
    dict
        `name`, `family`, `trials` (`parameters`, `rung`, `rows`, `folds`, `scores`, `mean`, `row_fits`),
        `row_fits` and `best`, the best trial of the last rung.

    Raises
    ------
    BudgetError
        If the time is over.
    MetricError
        If no point has a finite score.
    """
    candidate = candidate_of(problem, str(task["name"]))
    started = clock()

    def check_time() -> None:
        if clock() - started > deadline_seconds:
            raise BudgetError(
                f"the search of '{candidate.name}' took longer than {deadline_seconds:g} s; lower "
                "search.budget_row_fits or raise search.max_seconds"
            )

    race = _Race(problem, dataset, candidate, task, check_time)
    trials, best = _halve(race, task, progress)
    if best["mean"] is None:
        raise MetricError(
            f"no point of '{candidate.name}' has a finite {problem.metrics.primary}: {best['error']}"
        )
    spent = sum(int(trial["row_fits"]) for trial in trials)
    return {
        "name": candidate.name,
        "family": candidate.family,
        "trials": trials,
        "row_fits": spent,
        "best": best,
    }


def _halve(race: _Race, task: Mapping[str, Any], progress: Progress) -> tuple[list[Task], Task]:
    """Return all trials, rung by rung, and the best of the last rung."""
    metric = race.problem.metrics.primary
    higher = METRICS[metric].higher_is_better
    alive: list[dict[str, Any]] = list(task["points"])
    trials: list[Task] = []
    last: list[Task] = []
    for index, rung in enumerate(task["rungs"]):
        if last:
            alive = [last[i]["parameters"] for i in _ranking(last, int(rung["candidates"]), higher)]
        last = []
        for parameters in alive[: int(rung["candidates"])]:
            last.append(race.trial(parameters, index, int(rung["rows"])))
            progress(_line(race.candidate.name, last[-1], metric))
        trials += last
    return trials, last[_ranking(last, 1, higher)[0]]


def _ranking(trials: Sequence[Task], keep: int, higher_is_better: bool) -> list[int]:
    scores = [float("nan") if t["mean"] is None else float(t["mean"]) for t in trials]
    return survivors(scores, keep, higher_is_better)


def _line(name: str, trial: Task, metric: str) -> str:
    shown = ", ".join(f"{key}={value}" for key, value in sorted(trial["parameters"].items()))
    mean = "none" if trial["mean"] is None else f"{trial['mean']:.4f}"
    return f"{name} on {trial['rows']} rows x {trial['folds']} folds: {metric} {mean} ({shown or 'defaults'})"


def choose(problem: Problem, results: Sequence[Mapping[str, Any]]) -> Task:
    """Return the winner of all tasks: the best mean score; ties go to the simpler family, then by name.

    Returns
    -------
    dict
        `name`, `family`, `parameters`, `mean`, `scores`, `metric`.

    Raises
    ------
    UsageError
        If there are no results.
    """
    if not results:
        raise UsageError("expected the results of at least one search task; found none")
    sign = -1.0 if METRICS[problem.metrics.primary].higher_is_better else 1.0

    def rank(result: Mapping[str, Any]) -> tuple[float, int, str]:
        return sign * float(result["best"]["mean"]), simplicity(result["family"]), str(result["name"])

    first = min(results, key=rank)
    best = first["best"]
    return {
        "name": first["name"],
        "family": first["family"],
        "parameters": dict(best["parameters"]),
        "mean": best["mean"],
        "scores": list(best["scores"]),
        "metric": problem.metrics.primary,
    }


@dataclass(frozen=True)
class Refit:
    """The model that is judged.

    Attributes
    ----------
    fitted : Fitted
        On all training rows, with the seed of the search.
    quantile : Fitted or None
        Of `problem.stock`, on the same rows.
    repeats : list of {"seed", "score"}
        Primary metric on the holdout with each seed, the judged one first: how much of a difference is luck.
    """

    fitted: Fitted
    quantile: Fitted | None
    repeats: list[dict[str, Any]]


def refit(
    problem: Problem,
    dataset: Dataset,
    winner: Mapping[str, Any],
    repeats: int,
    progress: Progress = _silent,
    factors: npt.NDArray[np.float64] | None = None,
) -> Refit:
    """Fit the winner on all training rows, again with other seeds, and the quantile that `stock` asks for.

    Parameters
    ----------
    factors : array of shape (training rows,), optional
        What the weights of the fits are multiplied with; scores keep the weights of the dataset.
    """
    candidate = candidate_of(problem, str(winner["name"]))
    rows, held = rows_of(dataset, TRAIN), rows_of(dataset, HOLDOUT)
    X, y = np.ascontiguousarray(dataset.X[rows]), dataset.y[rows]
    weight, held_X = dataset.weight[rows], np.ascontiguousarray(dataset.X[held])
    if factors is not None:
        weight = weight * factors
    first, spread = None, []
    for seed in range(problem.search.seed, problem.search.seed + max(1, repeats)):
        fitted = fit(problem, candidate, winner["parameters"], X, y, weight, seed)
        first = first or fitted
        value = primary_score(problem, dataset, held, fitted.predict(held_X))
        spread.append({"seed": seed, "score": value})
        progress(f"{candidate.name} on {len(rows)} rows, seed {seed}: {problem.metrics.primary} {value:.4f}")
    if first is None:
        raise AssertionError("at least one fit was made")
    quantile = None
    if problem.stock:
        quantile = _quantile(problem, candidate, winner["parameters"], X, y, weight)
        progress(f"quantile {problem.stock.quantile:.3f} on {len(rows)} rows")
    return Refit(first, quantile, spread)


def _quantile(
    problem: Problem,
    candidate: Candidate,
    parameters: Mapping[str, Any],
    X: npt.NDArray[np.float32],
    y: npt.NDArray[np.float64],
    weight: npt.NDArray[np.float64],
) -> Fitted:
    """Fit the quantile, which boosting alone can: beside another winner, with boosting's default point."""
    if problem.stock is None:
        raise UsageError("a quantile needs `stock`; found none")
    if candidate.family != "gradient_boosting":
        boosting = [c for c in problem.candidates if c.family == "gradient_boosting"]
        candidate = boosting[0] if boosting else Candidate(name=candidate.name, family="gradient_boosting")
        parameters = default_candidate(candidate.search)
    return fit(problem, candidate, parameters, X, y, weight, problem.search.seed, problem.stock.quantile)
