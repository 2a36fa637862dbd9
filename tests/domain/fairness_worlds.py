"""Made rows whose truth is known: slices, days with shocks, and errors or selections by slice."""

import numpy as np

from cd4ml.domain.fairness.measure import Sample
from cd4ml.domain.fairness.slices import build_slices
from cd4ml.features.columns import CategoryArray


def column(codes, names=None):
    codes = np.asarray(codes, dtype=np.int32)
    return CategoryArray(codes, tuple(names or (f"s{i}" for i in range(int(codes.max()) + 1))))


def one_column(codes, names=None, min_rows=200):
    return build_slices({"shop": column(codes, names)}, 1, min_rows)


def forecasts(absolute_error):
    """Return rows whose absolute errors are given, every other one above the actual."""
    error = np.asarray(absolute_error, dtype=np.float64)
    y = np.full(error.size, 100.0)
    sign = np.where(np.arange(error.size) % 2, 1.0, -1.0)
    return Sample(y=y, score=y + sign * error, decision=None, weight=np.ones(error.size))


def decisions(called, y=None):
    called = np.asarray(called, dtype=np.float64)
    actual = called if y is None else np.asarray(y, dtype=np.float64)
    return Sample(y=actual, score=called, decision=called, weight=np.ones(called.size))


def shocked(rng, slices, rows, days=28, shared=0.2, own=0.1):
    """Return slice and day of each row and an absolute error of coefficient of variation 0.3 with mean 1.

    `rows` a slice; `shared` shocks hit all rows of a day, `own` ones those of one slice on it.
    """
    counts = np.broadcast_to(rows, slices)
    code = np.repeat(np.arange(slices), counts)
    day = np.concatenate([np.arange(count) % days for count in counts])
    row = rng.gamma(1 / 0.09, 0.09, code.size)
    common = rng.lognormal(-(shared**2) / 2, shared, days)[day]
    apart = rng.lognormal(-(own**2) / 2, own, (slices, days))[code, day]
    return code, day, row * common * apart
