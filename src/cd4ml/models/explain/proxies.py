"""How well a column can be told from the features that a model uses: a small boosting, cross-validated.

The rows of a cluster are guessed together: a guess is never fitted on rows of the day (or person) that it is
tried on. What gives the column away are the guess's own Shapley values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cd4ml.domain.bootstrap import Interval, Resampling, resample
from cd4ml.domain.hashing import uniform_hash
from cd4ml.domain.metrics import score
from cd4ml.domain.proxies import Proxy, proxy_weight
from cd4ml.domain.ranking import replicate_area
from cd4ml.features.columns import CategoryArray
from cd4ml.models.data import BoolArray, FloatArray, IntArray, Matrix
from cd4ml.models.explain.contributions import contribute
from cd4ml.models.fit import Fitted
from cd4ml.models.threads import fitting_threads

__all__ = ["find_proxy"]

LEAST_ROWS = 100
LEAST_GROUP = 20
MOST_GROUPS = 6
_FOLDS = 3
_RESAMPLES = 400
_EXPLAINED_ROWS = 300
_OTHER_SEED = 7919  # the holdout and its sample were drawn by the hashes of the seed itself


def find_proxy(  # noqa: PLR0913 - keywords
    column: str,
    values: CategoryArray | FloatArray,
    X: Matrix,
    *,
    names: Sequence[str],
    importance: FloatArray,
    direct: Sequence[str] = (),
    cluster: IntArray,
    level: float = 0.95,
    seed: int = 0,
) -> Proxy:
    """Return how well a column can be told from the features that the model uses, and how much that weighs.

    Parameters
    ----------
    values : CategoryArray or float64 array of n rows
        The column; rows without a value are left out. Of categories the six largest are told apart.
    X : float32 array of shape (n, k)
    importance : array of shape (k,)
        0 for features that the model does not use: they are left out. `domain.proxies.proxy_weight` weighs.
    direct : sequence of str
        Features that hold the column itself: they are left out, and named.
    cluster : array of shape (n,)
    """
    used = np.flatnonzero([importance[i] > 0 and name not in direct for i, name in enumerate(names)])
    number = not isinstance(values, CategoryArray)
    measure: Any = "r2" if number else "roc_auc"
    known = ~np.isnan(values) if not isinstance(values, CategoryArray) else values.codes >= 0
    targets = _targets(values, known)
    folds = np.floor(uniform_hash(cluster[known], seed + _OTHER_SEED) * _FOLDS).astype(np.int64)
    reason = _reason(int(known.sum()), used.size, targets, folds)
    if reason:
        return Proxy(column, measure, None, 0.0, (), tuple(direct), int(known.sum()), reason)
    rows = np.flatnonzero(known)
    inputs = np.ascontiguousarray(X[np.ix_(rows, used)])
    design = resample(len(rows), cluster[rows], resamples=_RESAMPLES, level=level, seed=seed)
    guessed = [_guess(inputs, target, folds, number, seed) for target in targets]
    found = _measured(targets, [guess for guess, _ in guessed], design, number, cluster[rows], level, seed)
    portions = np.array([target.mean() if not number else 1.0 for target in targets])
    shares = np.average([share for _, share in guessed], axis=0, weights=portions)
    order = np.argsort(-shares, kind="stable")
    named = tuple((str(names[used[i]]), float(shares[i])) for i in order if shares[i] > 0)
    weight = proxy_weight(shares, importance[used])
    return Proxy(column, measure, found, weight, named, tuple(direct), len(rows))


def _targets(values: CategoryArray | FloatArray, known: BoolArray) -> list[FloatArray]:
    """Return what is guessed: the number, or for each group whether a row is of it; one for two groups."""
    if not isinstance(values, CategoryArray):
        return [np.asarray(values[known], dtype=np.float64)]
    codes = values.codes[known]
    sizes = np.bincount(codes, minlength=len(values.categories))
    largest = [code for code in np.argsort(-sizes, kind="stable")[:MOST_GROUPS] if sizes[code] >= LEAST_GROUP]
    told = [(codes == code).astype(np.float64) for code in largest if len(codes) - sizes[code] >= LEAST_GROUP]
    return told[-1:] if len(told) == 2 and sizes[largest].sum() == len(codes) else told


def _reason(rows: int, features: int, targets: list[FloatArray], folds: IntArray) -> str:
    """Return why nothing can be said; "" when it can."""
    if rows < LEAST_ROWS:
        return f"it has values in {rows} rows of the sample; {LEAST_ROWS} are needed"
    if not features:
        return "the model uses no other feature"
    if not targets or any(np.ptp(target) == 0 for target in targets):
        return f"it has no two groups of at least {LEAST_GROUP} rows"
    if np.unique(folds).size < _FOLDS:
        return f"there are too few clusters for {_FOLDS} folds"
    return ""


def _guess(
    X: Matrix, target: FloatArray, folds: IntArray, number: bool, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Return guesses for each row by a model fitted on other folds, and the features' shares in them."""
    guess, shares = np.zeros(len(X)), np.zeros(X.shape[1])
    for fold in range(_FOLDS):
        held = folds == fold
        fitted = _fit(X[~held], target[~held], number, seed)
        if fitted is None:  # one group alone in the other folds: every row is guessed alike
            guess[held] = target[~held].mean()
            continue
        guess[held] = fitted.predict(X[held])
        if not shares.any():
            shares = np.abs(contribute(fitted, X[held][:_EXPLAINED_ROWS]).values).mean(axis=0)
    return guess, shares / (shares.sum() or 1.0)


def _fit(X: Matrix, target: FloatArray, number: bool, seed: int) -> Fitted | None:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    if np.ptp(target) == 0:
        return None
    kind = HistGradientBoostingRegressor if number else HistGradientBoostingClassifier
    estimator = kind(
        max_iter=30, max_leaf_nodes=15, learning_rate=0.2, max_bins=63, l2_regularization=1.0,
        early_stopping=False, random_state=seed,
    )  # fmt: skip
    empty = np.isnan(X).all(axis=0)
    with fitting_threads(1):  # so few rows take longer on more
        estimator.fit(np.where(empty, np.float32(0), X), target)
    task = "regression" if number else "classification"
    return Fitted(estimator, "gradient_boosting", task, "squared_error" if number else "log_loss")


def _measured(
    targets: list[FloatArray],
    guesses: list[FloatArray],
    design: Resampling,
    number: bool,
    cluster: IntArray,
    level: float,
    seed: int,
) -> Interval:
    """Return R2, or the mean over groups, weighted by their rows, of the ROC AUC of each against the rest."""
    if number:
        return score(
            ["r2"], targets[0], guesses[0], cluster=cluster, resamples=_RESAMPLES, level=level, seed=seed
        )["r2"]
    areas = [replicate_area("roc_auc", y, p, design) for y, p in zip(targets, guesses, strict=True)]
    portions = [float(target.sum()) for target in targets]
    estimate = float(np.average([one for one, _ in areas], weights=portions))
    return design.interval(estimate, np.average([many for _, many in areas], axis=0, weights=portions))
