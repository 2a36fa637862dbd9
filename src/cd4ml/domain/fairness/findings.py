"""Comparisons of every slice by every measure, each with its p-value, before they are weighed together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cd4ml.domain.bootstrap import FloatArray, Resampling
from cd4ml.domain.fairness.extremes import find_extremes
from cd4ml.domain.fairness.inference import Limits, infer, shrink
from cd4ml.domain.fairness.measure import Measure, Sample
from cd4ml.domain.fairness.resampling import Replicates, replicate
from cd4ml.domain.fairness.sizes import Sizes, slice_sizes
from cd4ml.domain.fairness.slices import SliceColumn
from cd4ml.errors import UsageError, nearest
from cd4ml.problem import Bias

__all__ = ["Finding", "Question", "find_findings"]

MIN_SUPPORT = 30
"""A rate that is a share of fewer rows (a true positive rate of 20 positives) has insufficient data."""


@dataclass(frozen=True)
class Question:
    """What is asked of the rows of a check.

    Attributes
    ----------
    champion_margin_fraction : float
        How much worse than under the champion a slice may fare.
    """

    sample: Sample
    measures: Sequence[Measure]
    policy: Bias
    design: Resampling
    references: Mapping[str, str]
    champion: Sample | None
    champion_margin_fraction: float

    def limits(self, measure: Measure, against: str) -> Limits:
        """Return what is right of a measure."""
        if against == "champion":
            share = self.champion_margin_fraction
            return Limits.of(measure.compare, 1 / (1 + share), 1 + share, share)
        policy = self.policy
        return Limits.of(
            measure.compare, policy.min_rate_ratio, policy.max_error_ratio, policy.max_difference
        )


@dataclass(frozen=True)
class Finding:
    """One comparison.

    Attributes
    ----------
    facts : dict
        The columns of its row that are numbers and names.
    other : str
        The rows that the slice is held against, in words.
    p : float or None
        Raw p-value; None where nothing was tested.
    within : bool
        Whether the whole interval keeps the limits.
    lacking : str
        Why nothing was tested; empty where it was.
    """

    facts: dict[str, Any]
    other: str
    p: float | None
    within: bool
    lacking: str


def find_findings(question: Question, column: SliceColumn) -> Iterator[Finding]:
    """Yield the findings of one column: each measure of each slice against rest, reference and champion."""
    own, rest = slice_sizes(column, question.design)
    reference = _reference(question.references, column, own)
    measured = replicate(
        question.sample, column, question.measures, question.design, reference, question.champion
    )
    for found in measured:
        if found.against == "rest":
            other = rest
        else:
            others = [reference or 0] if found.against.startswith("reference") else range(len(column.names))
            other = own.take(np.resize(others, len(column.names)))
        yield from _of_slices(question, column, found, own, other, reference)
        if found.against == "rest" and found.measure.compare == "rate_ratio" and found.measure.judged:
            yield _of_extremes(question, column, found, own)


def _reference(references: Mapping[str, str], column: SliceColumn, own: Sizes) -> int | None:
    """Return the position of the reference group: the named one, or the largest.

    None with fewer than three groups: the rest of one of two is the other.
    """
    groups = column.names[: column.cells]
    name = references.get(column.column)
    if name is not None and name not in groups:
        raise UsageError(
            f"bias.references.{column.column} must be a group of {column.column} with rows: "
            f"{', '.join(groups)}; found '{name}'{nearest(name, groups)}"
        )
    if len(groups) < 3:
        return None
    return groups.index(name) if name is not None else int(np.argmax(own.rows[: column.cells]))


def _of_slices(
    question: Question,
    column: SliceColumn,
    found: Replicates,
    own: Sizes,
    other: Sizes,
    reference: int | None,
) -> Iterator[Finding]:
    """Yield a finding a slice."""
    measure, against, policy = found.measure, found.against, question.policy
    limits = question.limits(measure, against)
    result = infer(found, limits, np.minimum(own.clusters, other.clusters), question.design.level)
    parts = np.arange(len(column.names)) < column.cells
    shrunk = shrink(found, own.clusters, parts)
    told = _Told(own, other, found, policy)
    for position, name in enumerate(column.names):
        if against.startswith("reference") and position == reference:
            continue
        lacking = told.lacking(position) if np.isnan(result.p[position]) or told.few(position) else ""
        tested = measure.judged and not lacking
        facts = _facts(measure, column, name, against, own, position) | {
            "estimate": _number(found.value, position),
            "reference": _number(found.other, position),
            "shrunk": _finite(shrunk[position]),
            "ratio": _finite(result.estimate[position]),
            "low": _finite(result.low[position]),
            "high": _finite(result.high[position]),
            "margin": limits.margin if measure.judged else None,
        }
        p = float(result.p[position]) if tested else None
        yield Finding(facts, _words(against), p, bool(result.within[position]), lacking)


def _of_extremes(question: Question, column: SliceColumn, found: Replicates, own: Sizes) -> Finding:
    """Return the lowest rate over the highest among the groups of a column."""
    policy, limit = question.policy, question.policy.min_rate_ratio
    parts = np.arange(len(column.names)) < column.cells
    usable = parts & own.enough(policy.min_rows, policy.min_clusters) & (found.support >= MIN_SUPPORT)
    ends = find_extremes(found, own.clusters, usable, limit, question.design.level)
    if ends is None:
        at = int(np.argmax(own.rows))
        facts = _facts(found.measure, column, column.names[at], "extremes", own, at) | dict.fromkeys(
            ("estimate", "reference", "shrunk", "ratio", "low", "high")
        )
        lacking = f"fewer than two groups with {policy.min_rows} rows have a rate above 0"
        return Finding(facts | {"margin": limit}, "the highest", None, False, lacking)
    facts = _facts(found.measure, column, column.names[ends.lowest], "extremes", own, ends.lowest) | {
        "estimate": _number(found.value, ends.lowest),
        "reference": _number(found.value, ends.highest),
        "shrunk": None,
        "ratio": ends.ratio,
        "low": min(ends.low, ends.ratio),
        "high": max(ends.high, ends.ratio),
        "margin": limit,
    }
    return Finding(facts, f"{column.names[ends.highest]}, the highest,", ends.p, ends.low >= limit, "")


@dataclass(frozen=True)
class _Told:
    """Why a slice is not tested."""

    own: Sizes
    other: Sizes
    found: Replicates
    policy: Bias

    def few(self, position: int) -> bool:
        """Return whether either side has too little to say anything."""
        enough = (sizes.enough(self.policy.min_rows, self.policy.min_clusters) for sizes in self._sides())
        support = min(self.found.support[position], self.found.other_support[position])
        return not all(side[position] for side in enough) or bool(support < MIN_SUPPORT)

    def lacking(self, position: int) -> str:
        """Return what there is too little of."""
        for sizes, words in zip(self._sides(), ("the slice has", "the others have"), strict=True):
            rows, effective = int(sizes.rows[position]), float(sizes.effective[position])
            if rows < self.policy.min_rows:
                return f"{words} {rows:,} rows, and {self.policy.min_rows:,} are needed"
            if effective < self.policy.min_clusters or sizes.clusters[position] < 2:
                return (
                    f"{words} {effective:.3g} effective clusters, and {self.policy.min_clusters:g} are needed"
                )
        support = float(min(self.found.support[position], self.found.other_support[position]))
        if support < MIN_SUPPORT:
            return f"it is a share of about {support:.0f} rows, and {MIN_SUPPORT} are needed"
        return "it has no value in one of them or in most resamples"

    def _sides(self) -> tuple[Sizes, Sizes]:
        return self.own, self.other


def _facts(
    measure: Measure, column: SliceColumn, name: str, against: str, own: Sizes, position: int
) -> dict[str, Any]:
    return {
        "metric": measure.name,
        "label": measure.label,
        "stage": measure.stage,
        "column": column.column,
        "slice": name,
        "against": against,
        "compare": measure.compare,
        "n": int(own.rows[position]),
        "clusters": int(own.clusters[position]),
        "effective_clusters": round(float(own.effective[position]), 3),
    }


def _words(against: str) -> str:
    kind, _, name = against.partition(":")
    return {"rest": "the rest", "champion": "the champion"}.get(kind, f"the reference {name}")


def _number(values: FloatArray | None, position: int) -> float | None:
    return None if values is None else _finite(values[0, position])


def _finite(value: float | npt.NDArray[np.float64]) -> float | None:
    found = float(value)
    return found if np.isfinite(found) else None
