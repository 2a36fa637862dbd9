"""How a model is judged beyond its scores: bias, mitigation, champion, holdout, explanations, approval."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from cd4ml.problem.quantities import Model, Names

__all__ = ["Approval", "Bias", "Champion", "Explanations", "HoldoutBudget", "Mitigation", "Waiver"]


class Waiver(Model):
    """A finding of the bias checks that a named person answers for, until a day."""

    metric: str
    """Name of the measure, e.g. `selection_rate`; `*` for all."""
    column: str
    """Column or intersection, e.g. `sex` or `sex x race`."""
    slice: str = "*"
    """The slice, e.g. `Female`; `*` for all of the column."""
    by: str = Field(min_length=1)
    reason: str = Field(min_length=10)
    until: date
    """The last day on which it holds; after it the finding fails again."""


class Bias(Model):
    """Limits of the bias checks on sensitive columns and their intersections."""

    depth: int = Field(2, ge=1, le=3)
    """How many sensitive columns are crossed."""
    min_rows: int = Field(200, ge=2)
    """A slice with fewer rows has insufficient data."""
    min_clusters: float = Field(5, ge=2)
    """Least effective number of clusters (by Kish's formula) of a slice."""
    references: dict[str, str] = Field(default_factory=dict)
    """Reference group by column; the largest group by default."""
    min_rate_ratio: float = Field(0.8, gt=0, le=1)
    """Four-fifths rule: least ratio of a slice's rate to the highest."""
    max_error_ratio: float = Field(1.25, ge=1)
    """Most times the error of the other rows that a slice may have."""
    max_difference: float = Field(0.1, gt=0)
    """Largest difference of two rates."""
    alpha: float = Field(0.05, gt=0, lt=0.5)
    """Family-wise error of all blocking comparisons together (Holm)."""
    block: Names | None = None
    """Measures that may reject a model; those of the task by default. All others only warn."""
    waivers: list[Waiver] = Field(default_factory=list)


class Mitigation(Model):
    """What is tried against bias, beside the plain model."""

    kind: Literal["reweighing", "group_thresholds", "bounded_group_loss", "recalibration"]
    columns: Names | None = None
    """Columns whose intersections are treated apart; the sensitive ones by default."""
    min_rows: int = Field(200, ge=2)
    """Smaller intersections share one treatment."""


class Champion(Model):
    """How a challenger is held against the model that is in use."""

    alias: str = "champion"
    margin_fraction: float = Field(0.01, ge=0, lt=1)
    """A challenger's error may be so much larger, as a fraction, before it counts as worse."""
    slice_margin_fraction: float = Field(0.1, ge=0, lt=1)
    """The same on a slice."""
    alpha: float = Field(0.05, gt=0, lt=0.5)


class HoldoutBudget(Model):
    """How often the same holdout may decide."""

    warn_looks: int | None = Field(None, ge=1)
    """Looks after which the verdict warns; from the holdout's size by default."""
    max_looks: int | None = Field(None, ge=1)
    """Looks after which the verdict refuses until the holdout is refreshed."""


class Explanations(Model):
    """What the model may rest on."""

    excluded: dict[str, float] = Field(default_factory=dict)
    """Largest AUC (or R2 of a number) with which a column may be told from the used features, weighted by
    their importance; 0.5 (0) means not at all."""
    rows: int = Field(2000, ge=50)
    """Holdout rows that explanations are computed on."""


class Approval(Model):
    """When a person must say yes."""

    policy: Literal["always", "only_if_warn", "never"] = "only_if_warn"
    valid_days: int = Field(30, ge=1)
    """An approval is worth nothing after so many days."""
    remind_days: int = Field(3, ge=1)
    """A pending approval is repeated after so many days."""
