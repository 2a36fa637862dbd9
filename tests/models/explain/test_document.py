"""An estimator that is not understood is refused before anything is said about it."""

from dataclasses import replace

import numpy as np
import pytest

from cd4ml.errors import DataError
from cd4ml.models.explain.document import Context, explain
from cd4ml.models.fit import fit
from cd4ml.models.persist import Model
from tests.models.samples import NAMES, candidate, make_problem


def test_contributions_that_do_not_add_up_stop_the_step(regression_rows):
    from sklearn.ensemble import HistGradientBoostingRegressor

    rows, problem = regression_rows, make_problem()
    chosen = rows.role == 0
    X, y = rows.X[chosen], np.log1p(rows.y[chosen])
    fitted = fit(problem, candidate("gradient_boosting"), {}, X, rows.y[chosen], rows.weight[chosen], 1)
    # Splits on sets of categories are no thresholds.
    sets = HistGradientBoostingRegressor(max_iter=5, categorical_features=[2], random_state=1).fit(X, y)
    with pytest.raises(DataError, match="must add up to the raw prediction"):
        explain(problem, rows, Model(replace(fitted, estimator=sets), b"", NAMES), Context())
