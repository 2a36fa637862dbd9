"""How far groups are apart, which treatment is taken, and what one would do: decisions about mitigation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from cd4ml.domain.fairness.catalogue import DEFAULT_BLOCKING, find
from cd4ml.domain.fairness.measure import Measure, Sample, sums_by
from cd4ml.domain.treatment import Coded, FloatArray, Groups
from cd4ml.errors import UsageError
from cd4ml.problem import Bias

__all__ = ["PLAIN", "RULE", "Gap", "Tried", "blocking", "choose_treatment", "suggest", "worst_gap"]

PLAIN = "none"
"""Name of the model as it is, without a treatment."""
RULE = (
    "of the treatments whose largest gap on the folds is within the bias policy, the one with the best"
    " primary metric (the higher accuracy where that is equal, then the first named; no treatment comes"
    " first); where none is, the one with the smallest gap"
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


def blocking(task: str, policy: Bias) -> tuple[Measure, ...]:
    """Return the measures by which the policy blocks a model; those are what mitigation looks at."""
    names = DEFAULT_BLOCKING[task] if policy.block is None else policy.block
    found = [find(name) for name in names]
    return tuple(m for m in found if m.stage == "post" and task in m.tasks and m.judged)


def worst_gap(sample: Sample, columns: Mapping[str, Coded], measures: Sequence[Measure], policy: Bias) -> Gap:
    """Return the largest gap in limits, over measures, columns and their crossings.

    Groups of fewer than `policy.min_rows` rows are pooled; the pool takes part when it has as many.
    These are the points alone, to compare treatments by: whether a model passes is said by the bias checks.

    Parameters
    ----------
    columns : mapping of str to Coded
        The sensitive columns.
    """
    found = [Gap("", "", (), 0.0, 1.0)]
    for groups in _crossings(columns, policy):
        codes = groups.of(columns)
        size = np.bincount(codes, minlength=groups.count)
        kept = np.flatnonzero(size >= policy.min_rows)
        if len(kept) < 2:
            continue
        for measure in measures:
            if measure.applies(sample):
                found.append(_gap(measure, sample, groups, codes, kept, policy))
    return max(found, key=lambda gap: gap.share)


def _crossings(columns: Mapping[str, Coded], policy: Bias) -> Iterator[Groups]:
    for depth in range(1, policy.depth + 1):
        for names in combinations(columns, depth):
            crossed = {name: columns[name] for name in names}
            rows = np.arange(len(next(iter(crossed.values())).codes))
            yield Groups.found(crossed, rows, policy.min_rows)


def _gap(measure: Measure, sample: Sample, groups: Groups, codes: Any, kept: Any, policy: Bias) -> Gap:
    sums = sums_by(measure.terms, sample, codes, groups.count)
    if measure.compare == "rate_ratio" and measure.formula is not None:
        return _extremes(measure.name, measure.formula(sums)[kept], groups, kept, 1 - policy.min_rate_ratio)
    rest = {name: values.sum(axis=0) - values for name, values in sums.items()}
    contrast = np.asarray(measure.contrast(sums, rest))[kept]
    if measure.compare == "error_ratio":
        values, limit = contrast - 1, policy.max_error_ratio - 1
    else:
        values, limit = np.abs(contrast), policy.max_difference
    if np.isnan(values).all():
        return Gap(measure.name, groups.label, (), 0.0, limit)
    worst = int(np.nanargmax(values))
    name = groups.names[kept[worst]]
    return Gap(measure.name, groups.label, (name,), max(0.0, float(values[worst])), limit)


def _extremes(name: str, rates: FloatArray, groups: Groups, kept: Any, limit: float) -> Gap:
    """Return 1 - lowest / highest rate; groups of which none has a positive are equal."""
    if np.isnan(rates).all() or np.nanmax(rates) <= 0:
        return Gap(name, groups.label, (), 0.0, limit)
    low, high = int(np.nanargmin(rates)), int(np.nanargmax(rates))
    value = 1 - float(rates[low] / rates[high])
    return Gap(name, groups.label, (groups.names[kept[low]], groups.names[kept[high]]), value, limit)


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

    def rank(one: Tried) -> tuple[float, float, float]:
        cost = (sign * one.metric, -(one.accuracy or 0.0))
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
