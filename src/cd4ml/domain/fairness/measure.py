"""What a measure of bias is: sums over rows, and a formula that compares the sums of two groups.

A measure is written once and serves the point estimate and every resample: its terms give each row a value,
the values are summed per group (or per cluster and resampled), and its formula takes those sums in any
leading shape. The measures themselves are in `cd4ml.domain.fairness.catalogue`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from inspect import cleandoc
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cd4ml.domain.bootstrap import FloatArray, IntArray
from cd4ml.domain.fairness.bins import Bins, cells_within, fine_bins
from cd4ml.errors import UsageError

__all__ = ["Bins", "Compare", "Measure", "Sample", "Stage", "Sums", "Term", "define", "divide", "sums_by"]

Sums = Mapping[str, FloatArray]
Stage = Literal["pre", "post"]
Compare = Literal["rate_ratio", "error_ratio", "difference", "distance"]


@dataclass(frozen=True)
class Sample:
    """The rows that are checked, as arrays of shape (n,).

    Attributes
    ----------
    y : array
        Actual; 0 or 1 for classification. Before training NaN is a missing label.
    score : array or None
        Prediction, as a value or a probability; None before training.
    decision : array or None
        0 or 1, whether the row is called positive; None for regression and before training.
    weight : array
        Weight in the metric that takes one (nwrmsle); 1 where there is none.
    age : array or None
        How long ago the row was observed, in days.
    strata : array of int or None
        Stratum of each row, from 0: what is compared like with like.
    low, high : array or None
        Ends of the predicted interval.
    quantile_score : array or None
        Predicted quantile, of the level `quantile`.
    """

    y: FloatArray
    score: FloatArray | None
    decision: FloatArray | None
    weight: FloatArray
    age: FloatArray | None = None
    strata: IntArray | None = None
    low: FloatArray | None = None
    high: FloatArray | None = None
    quantile_score: FloatArray | None = None
    quantile: float | None = None

    def take(self, rows: npt.NDArray[np.bool_] | IntArray) -> Sample:
        """Return some of the rows, by mask or by index."""
        held: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        taken: dict[str, Any] = {k: v[rows] for k, v in held.items() if isinstance(v, np.ndarray)}
        return replace(self, **taken)

    def have(self, name: str) -> FloatArray:
        """Return an array of the sample by name, or raise UsageError where there is none."""
        found = getattr(self, name)
        if found is None:
            raise UsageError(f"this measure needs the sample's {name}; found none: choose by `applies`")
        return np.asarray(found, dtype=np.float64)

    @cached_property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """Whether the row has a label."""
        return np.isfinite(self.y)

    @cached_property
    def target_bins(self) -> Bins:
        """Bins of the actual."""
        return fine_bins(self.y)

    @cached_property
    def score_bins(self) -> Bins:
        """Bins of the prediction."""
        return fine_bins(self.have("score"))

    @cached_property
    def score_cells(self) -> Bins:
        """Bins of the prediction within deciles of the actual."""
        return cells_within(self.y, self.have("score"))


@dataclass(frozen=True)
class Term:
    """A value a row that a measure needs the sums of.

    Attributes
    ----------
    name : str
        Key of its sums. One name is one thing in the whole catalogue, so that a sum is taken once.
    amount : callable
        The value of each row, (n,).
    bins : callable or None
        Where given, amounts are summed per bin, and sums have k bins along their last axis. Bins come from
        all rows of the sample, so every slice has the same ones.
    """

    name: str
    amount: Callable[[Sample], npt.NDArray[np.generic]]
    bins: Callable[[Sample], Bins] | None = None

    def values(self, sample: Sample) -> FloatArray:
        """Return values of shape (n,), or (n, k) with bins: the amount in its bin, 0 in the others.

        `amount` and `bins` say the same in less memory.
        """
        amount = np.asarray(self.amount(sample), dtype=np.float64)
        if self.bins is None:
            return amount
        bins = self.bins(sample)
        spread = np.zeros((amount.size, bins.count))
        spread[np.arange(amount.size), bins.codes] = amount
        return spread


@dataclass(frozen=True)
class Measure:
    """One way to see whether a slice of the rows is treated as others are.

    Attributes
    ----------
    name, label : str
        Its key, and the reader's words for it.
    stage : str
        `pre`: on the target, before training; `post`: on predictions.
    tasks : frozenset of {"classification", "regression"}
        Where it has a meaning.
    terms : tuple of Term
        What is summed.
    formula : callable or None
        Sums (..., ) or (..., k) of one group to its value (...,), NaN where that is undefined.
    pair : callable or None
        Sums of the slice and of the other rows to their contrast, NaN where undefined. Where it is given
        it is what is judged, against 0; `formula`, if there is one, then only says what each group has.
        It compares two groups of one sample: a challenger and its champion have bins of their own, so hold
        their distances from the rest against each other, and not one with the other.
    compare : str
        What is judged, and by which limit of the policy.
        `rate_ratio`: value of the slice / value of the others; 1 means equal, and too low and too high both
        matter (>= min_rate_ratio and <= 1 / min_rate_ratio).
        `error_ratio`: the same of an error, which only matters above 1 (<= max_error_ratio).
        `difference`: signed, slice - others, or `pair`; 0 means equal (absolute value <= max_difference).
        `distance`: `pair`, never negative; 0 means equal (<= max_difference). Noise alone raises it, so its
        interval must be mirrored and its null is not 0.
    higher_is_better : bool or None
        Whether more of it is better for a group; None where neither is.
    description : str
        The numpydoc text of its function: formula, range, what zero means.
    source : str
        Who published it.
    aliases : tuple of str
        Its names elsewhere, e.g. "DPPL".
    needs : frozenset of str
        Attributes of the sample without which it has no value.
    judged : bool
        False: it is shown and never judged, as it follows from the groups' sizes and not from how they are
        treated.
    """

    name: str
    label: str
    stage: Stage
    tasks: frozenset[str]
    terms: tuple[Term, ...]
    formula: Callable[[Sums], FloatArray] | None
    pair: Callable[[Sums, Sums], FloatArray] | None
    compare: Compare
    higher_is_better: bool | None
    description: str
    source: str
    aliases: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    judged: bool = True

    def applies(self, sample: Sample) -> bool:
        """Return whether the sample has what the measure needs."""
        return all(getattr(sample, name) is not None for name in self.needs)

    def contrast(self, own: Sums, other: Sums) -> FloatArray:
        """Return what is judged: the ratio, difference or distance of a slice to other rows.

        Parameters
        ----------
        own, other : mapping of str to array
            Sums of the slice and of the rows it is held against, of shape (...,) or (..., k).

        Returns
        -------
        array of shape (...,)
            NaN where undefined.
        """
        if self.pair is not None:
            return self.pair(own, other)
        if self.formula is None:
            raise UsageError(f"measure '{self.name}' needs a formula or a pair; found neither")
        here, there = self.formula(own), self.formula(other)
        return here - there if self.compare in ("difference", "distance") else divide(here, there)


def define(  # noqa: PLR0913 - keywords
    function: Callable[..., FloatArray],
    label: str,
    *terms: Term,
    stage: Stage,
    tasks: Iterable[str],
    compare: Compare,
    better: bool | None = None,
    pair: bool = False,
    shown: Callable[[Sums], FloatArray] | None = None,
    aliases: tuple[str, ...] = (),
    needs: Iterable[str] = (),
    judged: bool = True,
) -> Measure:
    """Return the measure of a formula (or, with `pair`, of a contrast), named and described by its function.

    Parameters
    ----------
    shown : callable or None
        What a pair shows of each group alone.
    """
    text = cleandoc(function.__doc__ or "")
    return Measure(
        name=function.__name__,
        label=label,
        stage=stage,
        tasks=frozenset(tasks),
        terms=terms,
        formula=shown if pair else function,
        pair=function if pair else None,
        compare=compare,
        higher_is_better=better,
        description=text,
        source=" ".join(text.rpartition("Source: ")[2].split()),
        aliases=aliases,
        needs=frozenset(needs),
        judged=judged,
    )


def divide(above: npt.ArrayLike, below: npt.ArrayLike) -> FloatArray:
    """Divide, giving NaN where the denominator is 0."""
    a, b = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(b != 0, a / b, np.nan), dtype=np.float64)


def sums_by(terms: Iterable[Term], sample: Sample, codes: IntArray, count: int) -> dict[str, FloatArray]:
    """Return the sums of each term per group.

    Parameters
    ----------
    codes : array of shape (n,)
        Group of each row, 0 to `count` - 1; rows below 0 are in none.

    Returns
    -------
    dict of str to array
        Of shape (count,), or (count, k) for a term with k bins.
    """
    inside = codes >= 0
    group = codes[inside]
    found: dict[str, FloatArray] = {}
    for term in terms:
        if term.name in found:
            continue
        amount = np.asarray(term.amount(sample), dtype=np.float64)[inside]
        if term.bins is None:
            found[term.name] = np.bincount(group, weights=amount, minlength=count).astype(np.float64)
            continue
        bins = term.bins(sample)
        cells = group * bins.count + bins.codes[inside]
        sums = np.bincount(cells, weights=amount, minlength=count * bins.count)
        found[term.name] = sums.reshape(count, bins.count).astype(np.float64)
    return found
