"""Is a challenger worse than the champion? Both on the same rows, overall and slice by slice.

Error is the distance of a metric from its best value, so that 1 % more error means the same for WAPE and for
ROC AUC. A challenger may have `margin` more of it: it fails where it surely has more than that, and passes
where it surely has not. Both models see the same resampled clusters, so the shocks that they share cancel.

The contrast of a slice is D = error of the challenger - (1 + margin) * error of the champion. The p-value of
D <= 0 is Student's, with the effective clusters of the slice less 1 degrees of freedom and the standard
deviation of the resamples: percentiles of 1000 resamples cannot reach 0.05 / 400. As D is linear, a champion
without any error needs no case of its own. Half of alpha goes to the whole holdout, and half, by Holm's
steps, to all slices together: with more slices the whole is not judged more mildly.

Margins alone would let releases get worse by a little each: see `cd4ml.domain.ratchet_limits`.

References
----------
.. [1] Wellek, 2010, Testing Statistical Hypotheses of Equivalence and Noninferiority, 2nd ed.
.. [2] Fieller, 1954, Some Problems in Interval Estimation (a ratio tested as a linear contrast).
.. [3] Holm, 1979, A simple sequentially rejective multiple test procedure.
.. [4] Cameron, Gelbach, Miller, 2008, Bootstrap-Based Improvements for Inference with Clustered Errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cd4ml.domain.bootstrap import FloatArray, IntArray, Resampling, resample
from cd4ml.domain.fairness.multiplicity import holm
from cd4ml.domain.fairness.sizes import slice_sizes
from cd4ml.domain.fairness.slices import Categories, SliceColumn, build_slices
from cd4ml.domain.metric_rows import Rows, prepare
from cd4ml.domain.metric_table import Metric, find
from cd4ml.domain.metrics import replicate
from cd4ml.errors import MetricError

__all__ = ["Comparison", "Margins", "Row", "compare"]

RowStatus = Literal["pass", "fail", "warn", "insufficient_data"]
_SAME = 1e-5
"""Predictions so near, as a fraction, are one model's: it is served in float32 and judged in double."""
_ROUNDING = 1e-9
_SAME_ERROR = 1e-3
"""So much their errors may be apart, as a fraction."""


@dataclass(frozen=True)
class Margins:
    """What a challenger is allowed.

    Attributes
    ----------
    overall, on_slices : float
        How much more error than the champion's, as a fraction; 0 allows none.
    alpha : float
        Probability with which a challenger that keeps all margins fails somewhere.
    min_rows, min_clusters : int, float
        A slice with fewer rows, or effective clusters, has insufficient data.
    """

    overall: float = 0.01
    on_slices: float = 0.1
    alpha: float = 0.05
    min_rows: int = 200
    min_clusters: float = 5.0


@dataclass(frozen=True)
class Row:
    """Challenger against champion on some rows.

    Attributes
    ----------
    column, slice : str
        "" for the whole holdout.
    n, clusters : int
        Rows and distinct clusters.
    effective_clusters : float
        As many clusters of equal size would say as much (Kish).
    challenger, champion : float or None
        The metric of both; None where it has no value.
    ratio : float or None
        Error of the challenger over the champion's: 1 means equal, 1.1 means 10 % more error. None where the
        champion alone is without error.
    low, high : float or None
        Interval of the ratio.
    adjusted_p : float or None
        Probability of such an excess, corrected for all that are tested, if none had more than its limit.
    limit : float
        The largest ratio that is right.
    status : str
        `pass`: the whole interval keeps the limit, or the predictions are the same. `fail`: the excess is
        significant. `warn`: neither. `insufficient_data`: too few rows or clusters to test.
    """

    metric: str
    column: str
    slice: str
    n: int
    clusters: int
    effective_clusters: float
    challenger: float | None
    champion: float | None
    ratio: float | None
    low: float | None
    high: float | None
    adjusted_p: float | None
    limit: float
    status: RowStatus

    def to_dict(self) -> dict[str, Any]:
        """Return the row as ratchet.json has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Row:
        """Return the row that `to_dict` wrote."""
        return cls(**found)


@dataclass(frozen=True)
class Comparison:
    """All that came of holding a challenger against the champion.

    Attributes
    ----------
    overall : Row
        The whole holdout.
    slices : tuple of Row
        Each slice, in the order of columns and categories.
    gain : bool
        Whether the challenger surely has less error on the whole.
    """

    overall: Row
    slices: tuple[Row, ...]
    gain: bool


@dataclass(frozen=True)
class _Contrast:
    """One row before it is corrected for the others; `p` is None where nothing is to be tested."""

    row: Row
    p: float | None
    gain: bool = False


@dataclass(frozen=True)
class _Pair:
    """The rows with the predictions of both models."""

    metric: Metric
    challenger: Rows
    champion: Rows
    design: Resampling

    def take(self, rows: IntArray) -> _Pair:
        parts = self.challenger.take(rows), self.champion.take(rows), self.design.subset(rows)
        return _Pair(self.metric, *parts)


def compare(  # noqa: PLR0913 - keywords
    metric_name: str,
    y_true: npt.ArrayLike,
    challenger: npt.ArrayLike,
    champion: npt.ArrayLike,
    *,
    slices: Mapping[str, Categories] | None = None,
    margins: Margins | None = None,
    allowance: float | None = None,
    weight: npt.ArrayLike | None = None,
    cluster: npt.ArrayLike | None = None,
    quantile: float | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Hold a challenger against the champion on the same rows.

    Parameters
    ----------
    metric_name : str
        Key of METRICS.
    y_true, challenger, champion : arrays of shape (n,)
        Actual values and the predictions of both, as `metrics.score` takes them.
    slices : mapping
        Column -> groups of the rows. Each column's groups with fewer than `margins.min_rows` rows are pooled.
    allowance : float, optional
        Largest ratio overall where limits leave less than `margins.overall` (see `ratchet_limits.allowance`).
    weight, cluster, quantile, resamples, level, seed
        As `metrics.score` takes them.

    Raises
    ------
    MetricError
        If the metric has no value on the whole holdout, or predictions are not finite.
    """
    margins, metric = margins or Margins(), find(metric_name)
    binary = metric.spec.task == "classification"
    ours, theirs = (
        prepare([metric_name], y_true, p, binary=binary, weight=weight, quantile=quantile)
        for p in (challenger, champion)
    )
    design = resample(ours.y.size, cluster, resamples=resamples, level=level, seed=seed)
    pair = _Pair(metric, ours, theirs, design)
    limit = min(1 + margins.overall, allowance or np.inf)
    everything = SliceColumn("", (), np.zeros(ours.y.size, dtype=np.int64), ("",), ((0,),))
    whole = next(_contrasts(pair, everything, limit, Margins(min_rows=0, min_clusters=0)))
    if whole.row.challenger is None:
        raise MetricError(
            f"{metric_name}: has no value over {ours.y.size} holdout rows; choose another metric"
        )
    columns = build_slices(slices or {}, depth=1, min_rows=margins.min_rows)
    parts = [part for c in columns for part in _contrasts(pair, c, 1 + margins.on_slices, margins)]
    overall, rest = _corrected(whole, parts, margins.alpha)
    return Comparison(overall, rest, whole.gain)


def _contrasts(pair: _Pair, column: SliceColumn, limit: float, margins: Margins) -> Iterator[_Contrast]:
    """Yield the contrast of each slice; rare ones that stand together are not taken alone as well."""
    sizes = slice_sizes(column, pair.design)[0]
    pooled = {cell for cells in column.members for cell in cells if len(cells) > 1}
    order = np.argsort(column.codes, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(column.codes, minlength=column.cells))[:-1])
    for number, (name, cells) in enumerate(zip(column.names, column.members, strict=True)):
        if len(cells) == 1 and cells[0] in pooled:
            continue
        rows = np.sort(np.concatenate([parts[cell] for cell in cells]))
        counts = (int(sizes.rows[number]), int(sizes.clusters[number]), float(sizes.effective[number]))
        enough = bool(sizes.enough(margins.min_rows, margins.min_clusters)[number])
        blank = Row(
            pair.metric.spec.name, column.column, name, *counts, *(None,) * 6, limit, "insufficient_data"
        )
        yield _contrast(pair.take(rows), blank, enough)


def _contrast(pair: _Pair, blank: Row, enough: bool) -> _Contrast:
    """Return the row with its numbers, and the p-value where there are rows and clusters `enough`."""
    metric, limit, same = pair.metric, blank.limit, _same(pair)
    try:
        ours, our_samples = replicate(metric, pair.challenger, pair.design)
        theirs, their_samples = replicate(metric, pair.champion, pair.design)
    except MetricError:
        return _Contrast(replace(blank, status="pass") if same else blank, None)
    best = metric.spec.best
    errors = abs(best - ours), abs(best - theirs)
    samples = np.abs(best - our_samples), np.abs(best - their_samples)
    ratio = _ratio(pair.design, errors, samples)
    row = replace(blank, challenger=ours, champion=theirs, ratio=ratio[0], low=ratio[1], high=ratio[2])
    if same and (row.ratio is None or row.ratio <= limit + _SAME_ERROR):
        return _Contrast(replace(row, status="pass"), None)
    p = _excess(errors, samples, limit, row.effective_clusters) if enough else None
    if p is None:
        return _Contrast(row, None)
    surely = (1 + pair.design.level) / 2
    kept = row.high is not None and row.high <= limit and p >= surely
    even = _excess(errors, samples, 1.0, row.effective_clusters)
    gain = row.high is not None and row.high < 1 and even is not None and even >= surely
    return _Contrast(replace(row, status="pass" if kept else "warn"), p, gain)


def _same(pair: _Pair) -> bool:
    ours, theirs = pair.challenger.p, pair.champion.p
    scale = np.maximum(np.abs(theirs), np.abs(theirs).mean())
    return bool((np.abs(ours - theirs) <= _SAME * scale).all())


def _ratio(
    design: Resampling, errors: tuple[float, float], samples: tuple[FloatArray, FloatArray]
) -> tuple[float | None, float | None, float | None]:
    """Return the ratio of the errors with its interval; None where there is none."""
    ours, theirs = errors
    if theirs == 0:
        return (1.0 if ours == 0 else None), None, None
    with np.errstate(divide="ignore", invalid="ignore"):
        found = design.interval(ours / theirs, samples[0] / samples[1])
    return found.estimate, found.low, found.high


def _excess(
    errors: tuple[float, float], samples: tuple[FloatArray, FloatArray], limit: float, effective: float
) -> float | None:
    """Return the p-value of "no more error than `limit` times the champion's"; None for too few clusters.

    A value near 1 says as surely that it is less.
    """
    from scipy.special import stdtr  # 0.25 s, and gates are read without it

    contrast, drawn = errors[0] - limit * errors[1], samples[0] - limit * samples[1]
    finite = drawn[np.isfinite(drawn)]
    if effective < 2 or 2 * finite.size < drawn.size:
        return None
    error = float(finite.std(ddof=1)) * np.sqrt(effective / (effective - 1))
    rounding = _ROUNDING * (errors[0] + errors[1])
    if error <= rounding:
        return 0.0 if contrast > rounding else 1.0
    return float(stdtr(effective - 1, -contrast / error))


def _corrected(whole: _Contrast, parts: list[_Contrast], alpha: float) -> tuple[Row, tuple[Row, ...]]:
    """Give half of alpha to the whole, half to the slices by Holm's steps; all of it to one that is alone."""
    tested = [part.p for part in parts if part.p is not None]
    share = 2 if tested and whole.p is not None else 1
    adjusted = iter(min(1.0, share * p) for p in holm(tested))
    own = None if whole.p is None else min(1.0, share * whole.p)
    rows = (part.row if part.p is None else _judged(part.row, next(adjusted), alpha) for part in parts)
    return whole.row if own is None else _judged(whole.row, own, alpha), tuple(rows)


def _judged(row: Row, adjusted_p: float, alpha: float) -> Row:
    return replace(row, adjusted_p=adjusted_p, status="fail" if adjusted_p < alpha else row.status)
