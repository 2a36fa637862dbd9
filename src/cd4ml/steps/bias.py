"""Check data and predictions for bias, slice by slice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.steps.documents import problem_of, read

if TYPE_CHECKING:
    from datetime import date

    import numpy as np

    from cd4ml.domain.bootstrap import FloatArray
    from cd4ml.domain.fairness.measure import Measure, Sample
    from cd4ml.domain.fairness.rows import BiasReport, BiasRow
    from cd4ml.domain.fairness.slices import Slices
    from cd4ml.problem import Bias, Problem
    from cd4ml.tables.dataset import Dataset

__all__ = ["Predictions", "bias_report", "check_bias", "decided"]

DAY_SECONDS = 86_400.0
FLIP_ROWS = 5_000


def check_bias(
    problem: Path,
    snapshot: Path,
    dataset: Path,
    model: Path,
    evaluation: Path,
    champion: Path,
    out: Path,
) -> dict[str, float]:
    """Write bias.json to `out`: training rows before training, holdout rows after it.

    `model.json` beside it is the same without the champion: what a bundle may say, whoever is champion. It is
    computed apart, since the rows of one report are corrected for each other.

    Parameters
    ----------
    evaluation : Path
        The model's predictions on the holdout, and decisions where it has its own.
    champion : Path
        The champion's on the same rows; where its status is not "scored" there is nothing to compare with.

    Returns
    -------
    dict of str to float
        Number of rows by status, and of rows that may reject.
    """
    import numpy as np

    from cd4ml.adapters.storage import atomic
    from cd4ml.models.persist import load_model
    from cd4ml.tables.dataset import Dataset

    found, data = problem_of(problem), Dataset.load(dataset)
    quantile = load_model(model).quantile if found.stock else None  # loading it takes a second
    features = np.ascontiguousarray(data.X[data.role == 1]) if quantile else None
    order = None if quantile is None or features is None else quantile.predict(features)
    ours = Predictions.read(evaluation, order)
    other = _champion(champion)
    own = bias_report(found, data, ours)
    report = own if other is None else bias_report(found, data, ours, other)
    with atomic.directory(out) as folder:
        atomic.write_json(folder / "bias.json", report.to_dict())
        atomic.write_json(folder / "model.json", own.to_dict())
    counts = {name: float(count) for name, count in report.summary["status"].items()}
    return counts | {"rows": float(len(report.rows)), "blocking": float(report.families["blocking"])}


@dataclass(frozen=True)
class Predictions:
    """A model's predictions on the holdout rows, in their order.

    Attributes
    ----------
    score : array of shape (n,)
        Values or probabilities.
    decision : array of shape (n,), optional
        1 where the row is called positive; without it those of a probability of at least 0.5 are.
    order : array of shape (n,), optional
        The predicted quantile, where the problem has stock.
    """

    score: FloatArray
    decision: Any | None = None
    order: FloatArray | None = None

    @classmethod
    def read(cls, folder: Path, order: FloatArray | None = None) -> Predictions:
        """Return what a step wrote to `folder`."""
        import numpy as np

        decided = folder / "decisions.npy"
        decision = np.load(decided) if decided.is_file() else None
        return cls(np.load(folder / "predictions.npy"), decision, order)


def bias_report(
    problem: Problem,
    data: Dataset,
    ours: Predictions,
    champion: Predictions | None = None,
    today: date | None = None,
) -> BiasReport:
    """Return all rows of bias.json.

    Sensitive columns and their intersections are judged by all measures. A problem without any has its slices
    compared by the measures that would block, and no gate rests on them.

    Parameters
    ----------
    today : date, optional
        Day on which waivers are held against; today by default, in UTC.
    """
    from datetime import UTC, datetime

    from cd4ml.domain.fairness.check import check_bias as check
    from cd4ml.domain.fairness.check import merge
    from cd4ml.domain.fairness.slices import build_slices

    now = today or datetime.now(UTC).date()
    policy, asked, slices_of = _policy(problem), _asked(problem), problem.sensitive or problem.slices
    reports = []
    for role, stage in enumerate(("pre", "post")):
        held = data.role == role
        sample = _sample(problem, data, held, ours if role else None)
        depth = policy.depth if problem.sensitive else 1
        groups = {name: _codes(data, name, held) for name in slices_of}
        reports.append(
            check(
                sample,
                build_slices(groups, depth, policy.min_rows),
                [measure for measure in asked if measure.stage == stage],
                policy,
                today=now,
                cluster=data.cluster[held],
                champion=_other(problem, sample, champion) if role else None,
                champion_margin_fraction=problem.champion.slice_margin_fraction,
                resamples=problem.metrics.resamples,
                level=problem.metrics.level,
                seed=problem.search.seed,
            )
        )
    flips = _flips(problem, data, ours, build_slices(groups, depth, policy.min_rows))
    reports.append(replace(reports[-1], rows=tuple(flips)))
    return merge(reports, policy, now, informs=() if problem.sensitive else tuple(slices_of))


def _flips(problem: Problem, data: Dataset, ours: Predictions, slices: Slices) -> list[BiasRow]:
    """Return the flip test of each slice, over at most FLIP_ROWS rows: near others take time to find."""
    import numpy as np

    from cd4ml.domain.fairness.flip_rows import flip_rows
    from cd4ml.domain.halving import nested_sample
    from cd4ml.features.plan import compile_plan
    from cd4ml.features.sources import holders

    decision, held = decided(problem, ours), np.flatnonzero(data.role == 1)
    if decision is None or not problem.sensitive:
        return []
    plan = compile_plan(problem)
    sensitive = {name for column in problem.sensitive for name in holders(plan, column, data.names)}
    alike = [position for position, name in enumerate(data.names) if name not in sensitive]
    if not alike:
        return []
    chosen = nested_sample(held.size, min(held.size, FLIP_ROWS), problem.search.seed)
    columns = replace(slices, columns=tuple(replace(one, codes=one.codes[chosen]) for one in slices.columns))
    return flip_rows(data.X[held[chosen]][:, alike], decision[chosen], columns, data.cluster[held[chosen]])


def _asked(problem: Problem) -> list[Measure]:
    """Return what is measured: all there is of sensitive columns, of others what would block."""
    from cd4ml.domain.fairness.catalogue import find, measures

    if problem.sensitive:
        return [*measures(problem.task, "pre"), *measures(problem.task, "post")]
    return [find(name) for name in _blocking(problem)]


def _blocking(problem: Problem) -> list[str]:
    from cd4ml.domain.fairness.catalogue import default_blocking, find

    named = problem.bias.block
    block = default_blocking(problem.task, problem.metrics.primary) if named is None else named
    return [find(name).name for name in block]


def _policy(problem: Problem) -> Bias:
    """Return the policy with the measures that block by their own names; without sensitive columns none."""
    block = _blocking(problem) if problem.sensitive else []
    return problem.bias.model_copy(update={"block": block})


def _other(problem: Problem, sample: Sample, champion: Predictions | None) -> Sample | None:
    """Return the same rows as the champion predicts them."""
    if champion is None:
        return None
    decision = decided(problem, champion)
    return replace(sample, score=champion.score, decision=decision, quantile_score=None)


def _sample(problem: Problem, data: Dataset, held: np.ndarray[Any, Any], ours: Predictions | None) -> Sample:
    import numpy as np

    from cd4ml.domain.fairness.measure import Sample

    return Sample(
        y=np.asarray(data.y[held]),
        score=None if ours is None else ours.score,
        decision=None if ours is None else decided(problem, ours),
        weight=np.asarray(data.weight[held]),
        strata=_strata(problem, data, held),
        quantile_score=None if ours is None else ours.order,
        quantile=None if ours is None or problem.stock is None else problem.stock.quantile,
        age=_age(problem, data, held) if ours is None else None,
    )


def decided(problem: Problem, found: Predictions) -> FloatArray | None:
    """Return who is called positive as 0 and 1; None for regression."""
    import numpy as np

    from cd4ml.domain.treatment import COMMON_THRESHOLD

    if problem.task == "regression":
        return None
    decided = found.score >= COMMON_THRESHOLD if found.decision is None else found.decision
    return np.asarray(decided, dtype=np.float64)


def _strata(problem: Problem, data: Dataset, held: np.ndarray[Any, Any]) -> Any | None:
    """Return the groups of the first slice that is not sensitive: within them like is compared with like."""
    import numpy as np

    name = next((name for name in problem.slices if name not in problem.sensitive), None)
    if name is None:
        return None
    column = data.slices[name]
    codes = np.asarray(column.codes[held], dtype=np.int64)
    return np.where(codes < 0, len(column.categories), codes)


def _age(problem: Problem, data: Dataset, held: np.ndarray[Any, Any]) -> FloatArray | None:
    """Return how many days before the last training row each was observed."""
    import numpy as np

    if problem.time is None:
        return None
    seconds = np.asarray(data.times[held]).astype(np.int64).astype(np.float64)
    return np.asarray((seconds.max() - seconds) / DAY_SECONDS)


def _codes(data: Dataset, name: str, held: np.ndarray[Any, Any]) -> Any:
    from cd4ml.features.columns import CategoryArray

    column = data.slices[name]
    return CategoryArray(column.codes[held], column.categories)


def _champion(folder: Path) -> Predictions | None:
    """Return the champion's predictions; None for a first release, or if the ratchet could not read it."""
    if read(folder / "champion.json")["status"] != "scored":
        return None
    return Predictions.read(folder)
