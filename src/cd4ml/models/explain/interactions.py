"""Which pairs of features act together: Friedman's H, a hint from a bounded sample.

References
----------
.. [1] Friedman, Popescu, 2008, Predictive Learning via Rule Ensembles, Annals of Applied Statistics 2(3),
   section 8.1, equation 44.
.. [2] Inglis, Parnell, Hurley, 2022, Visualizing Variable Importance and Variable Interaction Effects,
   JCGS 31(3) (the share misleads where both features hardly matter; so the size is told beside it).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from cd4ml.models.data import FloatArray, Matrix

__all__ = ["Interaction", "interactions"]

Predict = Callable[[Matrix], FloatArray]


@dataclass(frozen=True)
class Interaction:
    """How two features act together.

    Attributes
    ----------
    first, second : int
        The features.
    share : float
        Friedman's H: 0 when their effects add up, 1 when their joint effect is interaction alone.
    size : float
        Root mean square of the interaction, in units of the prediction; small ones do not matter whatever
        their share.
    """

    first: int
    second: int
    share: float
    size: float


def interactions(predict: Predict, X: Matrix, features: Sequence[int]) -> list[Interaction]:
    """Return all pairs of some features, the largest interaction first.

    Parameters
    ----------
    predict : callable
        Features (n, k) -> raw predictions (n,): on the original scale a model that adds up logarithms would
        seem to interact everywhere.
    X : float32 array of shape (m, k)
        m x m predictions are made for each feature and for each pair.
    """
    alone = {feature: _dependence(predict, X, (feature,)) for feature in features}
    found = []
    for first, second in combinations(features, 2):
        joint = _dependence(predict, X, (first, second))
        rest = joint - alone[first] - alone[second]
        whole = float(np.mean(joint**2))
        size = float(np.sqrt(np.mean(rest**2)))
        share = min(1.0, size / float(np.sqrt(whole))) if whole > 0 else 0.0
        found.append(Interaction(first, second, share, size))
    return sorted(found, key=lambda one: (-one.size, one.first, one.second))


def _dependence(predict: Predict, X: Matrix, features: tuple[int, ...]) -> FloatArray:
    """Return the centred partial dependence on some features at each row's own values, shape (m,)."""
    rows = len(X)
    grid = np.repeat(X[None], rows, axis=0)  # point, row, feature
    for feature in features:
        grid[:, :, feature] = X[:, feature][:, None]
    mean = predict(grid.reshape(rows * rows, -1)).reshape(rows, rows).mean(axis=1)
    return np.asarray(mean - mean.mean())
