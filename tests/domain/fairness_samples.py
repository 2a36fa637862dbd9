"""Tables small enough to be worked by hand, and the value of a measure on them."""

import numpy as np

from cd4ml.domain.fairness.catalogue import find
from cd4ml.domain.fairness.measure import Sample, sums_by


def sample(y, score=None, decision=None, **more):
    y = np.asarray(y, dtype=np.float64)
    more.setdefault("weight", np.ones(y.size))
    arrays = {name: value if name == "quantile" else np.asarray(value) for name, value in more.items()}
    as_floats = [None if x is None else np.asarray(x, dtype=np.float64) for x in (score, decision)]
    return Sample(y, *as_floats, **arrays)


def confusion(*groups):
    """Rows of groups given as (tp, fp, fn, tn); returns the sample and the group of each row."""
    y, decision, codes = [], [], []
    for code, counts in enumerate(groups):
        for count, actual, called in zip(counts, (1, 0, 1, 0), (1, 1, 0, 0), strict=True):
            y += [actual] * count
            decision += [called] * count
            codes += [code] * count
    return sample(y, decision, decision), np.array(codes)


def sums_of(name, rows, codes):
    """Sums of the slice (code 0) and of the others (code 1)."""
    sums = sums_by(find(name).terms, rows, codes, 2)
    return tuple({key: value[code] for key, value in sums.items()} for code in (0, 1))


def contrast(name, rows, codes):
    """What is judged of the slice (code 0) against the others (code 1)."""
    return float(find(name).contrast(*sums_of(name, rows, codes)))


def values(name, rows, codes):
    """What each of the two groups has."""
    return [float(find(name).formula(sums)) for sums in sums_of(name, rows, codes)]
