"""How far groups are apart, which treatment is taken, and what one would do: decisions about mitigation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cd4ml.domain.bootstrap import FloatArray, IntArray
from cd4ml.domain.fairness.catalogue import default_blocking, find
from cd4ml.domain.fairness.measure import Measure, Sample, sums_by
from cd4ml.domain.fairness.slices import Categories, SliceColumn, build_slices
from cd4ml.errors import UsageError
from cd4ml.problem import Bias, Problem

__all__ = ["PLAIN", "RULE", "Gap", "Tried", "blocking", "choose_treatment", "suggest", "worst_gap"]

PLAIN = "none"
"""Name of the model as it is, without a treatment."""
RULE = (
    "of the treatments whose largest gap on the folds is within the bias policy, the one with the best"
    " primary metric (where that is equal no treatment, then the higher accuracy, then the first named);"
    " where none is, the one with the smallest gap"
)


@dataclass(frozen=True)
class Gap:
    """The largest difference between groups.

    Attributes
    ----------
    measure, column : str
        Where it was found: measure, and column or crossed columns. "" when nothing could be compared.
    groups : tuple of str
        The lowest and the highest group for a ratio of rates; else the group that differs from the rest.
    value : float
        0 means equal. 1 - lowest / highest of rates, error ratio - 1, or a difference.
    limit : float
        The largest value that the policy allows.
    """

    measure: str
    column: str
    groups: tuple[str, ...]
    value: float
    limit: float

    @property
    def share(self) -> float:
        """The value in limits: gaps of several measures compare by it."""
        return self.value / self.limit if self.limit > 0 else (math.inf if self.value > 0 else 0.0)

    @property
    def within(self) -> bool:
        """Whether the policy allows it."""
        return self.value <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """Return the gap as JSON."""
        return {
            "measure": self.measure,
            "column": self.column,
            "groups": list(self.groups),
            "value": self.value,
            "limit": self.limit,
            "within": self.within,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Gap:
        """Return the gap that `to_dict` wrote."""
        return cls(value["measure"], value["column"], tuple(value["groups"]), value["value"], value["limit"])


def blocking(problem: Problem) -> tuple[Measure, ...]:
    """Return the measures by which the bias policy blocks a model; those are what mitigation looks at."""
    names = problem.bias.block
    if names is None:
        names = list(default_blocking(problem.task, problem.metrics.primary))
    found = [find(name) for name in names]
    return tuple(m for m in found if m.stage == "post" and problem.task in m.tasks and m.judged)


def worst_gap(
    sample: Sample, columns: Mapping[str, Categories], measures: Sequence[Measure], policy: Bias
) -> Gap:
    """Return the largest gap in limits, over measures, columns and their crossings.

    Slices are those of the bias checks; ones with fewer than `policy.min_rows` rows take no part. These are
    points without intervals, to compare treatments by: whether a model passes is said by the bias checks.

    Parameters
    ----------
    columns : mapping of str to Categories
        The sensitive columns.
    """
    found = []
    for column in build_slices(columns, policy.depth, policy.min_rows):
        size = np.bincount(column.codes, minlength=column.cells) @ column.membership()
        kept = np.flatnonzero(size >= policy.min_rows)
        if len(kept) >= 2:
            found += [_gap(one, sample, column, kept, policy) for one in measures if one.applies(sample)]
    return max(found, key=lambda gap: gap.share, default=Gap("", "", (), 0.0, 1.0))


def _gap(measure: Measure, sample: Sample, column: SliceColumn, kept: IntArray, policy: Bias) -> Gap:
    member = column.membership().T
    cells = sums_by(measure.terms, sample, column.codes, column.cells)
    own = {name: (member @ values)[kept] for name, values in cells.items()}
    names = [column.names[place] for place in kept]
    if measure.compare == "rate_ratio" and measure.formula is not None:
        limit = 1 - policy.min_rate_ratio
        return Gap(measure.name, column.column, *_extremes(measure.formula(own), names), limit)
    rest = {name: values.sum(axis=0) - own[name] for name, values in cells.items()}
    contrast = np.asarray(measure.contrast(own, rest))
    if measure.compare == "error_ratio":
        values, limit = contrast - 1, policy.max_error_ratio - 1
    else:
        values, limit = np.abs(contrast), policy.max_difference
    if np.isnan(values).all():
        return Gap(measure.name, column.column, (), 0.0, limit)
    worst = int(np.nanargmax(values))
    return Gap(measure.name, column.column, (names[worst],), max(0.0, float(values[worst])), limit)


def _extremes(rates: FloatArray, names: Sequence[str]) -> tuple[tuple[str, ...], float]:
    """Return the lowest and the highest group and 1 - their ratio; groups without any positive are equal."""
    if np.isnan(rates).all() or np.nanmax(rates) <= 0:
        return (), 0.0
    low, high = int(np.nanargmin(rates)), int(np.nanargmax(rates))
    return (names[low], names[high]), 1 - float(rates[low] / rates[high])


@dataclass(frozen=True)
class Tried:
    """What a treatment came to on the folds.

    Attributes
    ----------
    metric : float
        The primary one.
    accuracy : float or None
        Share called right; None where nothing is classified.
    """

    name: str
    metric: float
    accuracy: float | None
    gap: Gap

    @classmethod
    def of(cls, entry: Mapping[str, Any], primary: str) -> Tried:
        """Return an entry of mitigation.json's `treatments`; `primary` is the name of the metric."""
        metrics = entry["folds"]["metrics"]
        accuracy = metrics["accuracy"]["estimate"] if "accuracy" in metrics else None
        return cls(
            entry["name"], metrics[primary]["estimate"], accuracy, Gap.from_dict(entry["folds"]["gap"])
        )


def choose_treatment(tried: Sequence[Tried], higher_is_better: bool) -> Tried:
    """Return the treatment that is taken, by RULE.

    Parameters
    ----------
    tried : sequence
        The plain model first, then in the order of the problem.
    higher_is_better : bool
        Of the primary metric.
    """
    if not tried:
        raise UsageError("expected at least the plain model to choose from; found nothing")
    sign = -1.0 if higher_is_better else 1.0

    def rank(one: Tried) -> tuple[float, float, bool, float]:
        # Groups are not told apart without need: equal is not enough.
        cost = (sign * one.metric, one.name != PLAIN, -(one.accuracy or 0.0))
        return (0.0, *cost) if one.gap.within else (one.gap.share, *cost)

    within = [one for one in tried if one.gap.within]
    return min(within or tried, key=rank)


def suggest(frontier: Mapping[str, Any]) -> str:
    """Return in a sentence what the best treatment of a frontier does and costs; "" where none helps.

    Parameters
    ----------
    frontier : mapping
        mitigation.json. The best one is that of RULE, the plain model left out.
    """
    entries = {entry["name"]: entry for entry in frontier["treatments"]}
    plain = entries[PLAIN]["folds"]
    others = [Tried.of(entry, frontier["primary"]) for name, entry in entries.items() if name != PLAIN]
    before = Gap.from_dict(plain["gap"])
    better = [one for one in others if one.gap.share < before.share]
    if not better:
        return ""
    best = choose_treatment(better, frontier["higher_is_better"])
    entry = entries[best.name]
    text = f"{entry['label']} would bring the largest gap from {_said(before)} to {_said(best.gap)}"
    costs = [
        f"{name} {plain['metrics'][name]['estimate']:.4f} to {found['estimate']:.4f}"
        for name, found in entry["folds"]["metrics"].items()
        if name in ("accuracy", frontier["primary"])
    ]
    within = "within" if best.gap.within else "still beyond"
    return (
        f"{text}, {within} the policy's {best.gap.limit:.3g}; {', '.join(costs)} ({frontier['simulated_on']})"
    )


def _said(gap: Gap) -> str:
    return f"{gap.value:.3g} ({gap.measure} by {gap.column})"
