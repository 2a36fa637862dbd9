"""The whole of a use case."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, model_validator

from cd4ml.errors import ProblemError
from cd4ml.problem.data import Filter, Join, Panel, Table, Target, Time
from cd4ml.problem.delivery import Rollout
from cd4ml.problem.features import Feature
from cd4ml.problem.judgement import Approval, Bias, Champion, Explanations, HoldoutBudget, Mitigation
from cd4ml.problem.kubernetes import Kubernetes
from cd4ml.problem.learning import Baseline, Candidate, Gates, Metrics, Search, Serving, Split, Stock
from cd4ml.problem.quantities import Duration, Model, Name, Names, duration_text
from cd4ml.problem.structure import check_structure

__all__ = ["Problem"]


class Problem(Model):
    """A use case as data."""

    name: Name
    description: str = ""
    owner: str = ""
    task: Literal["regression", "classification"]
    assumptions: list[str] = Field(default_factory=list)
    """What must be true for the holdout to be honest; the report repeats them."""
    tables: dict[str, Table]
    facts: Names
    """The table, or the tables of one shape, whose rows are predicted."""
    derived: dict[str, str] = Field(default_factory=dict)
    """New columns by expression; each may use those before it, `time` may be one."""
    time: Time | None = None
    entity: list[str] = Field(default_factory=list)
    panel: Panel | None = None
    filters: list[Filter] = Field(default_factory=list)
    joins: list[Join] = Field(default_factory=list)
    target: Target
    horizon: Duration = timedelta(0)
    """How far ahead is predicted: nothing that happens within it may be used."""
    features: list[Feature] = Field(min_length=1)
    split: Split
    candidates: list[Candidate] = Field(min_length=1)
    search: Search = Field(default_factory=Search)
    metrics: Metrics
    baselines: list[Baseline] = Field(min_length=1)
    stock: Stock | None = None
    slices: list[str] = Field(default_factory=list)
    """Columns by which errors are shown and compared."""
    sensitive: list[str] = Field(default_factory=list)
    """Columns for which the model must not differ without reason."""
    bias: Bias = Field(default_factory=Bias)
    mitigations: list[Mitigation] = Field(default_factory=list)
    champion: Champion = Field(default_factory=Champion)
    holdout_budget: HoldoutBudget = Field(default_factory=HoldoutBudget)
    explanations: Explanations = Field(default_factory=Explanations)
    approval: Approval = Field(default_factory=Approval)
    gates: Gates = Field(default_factory=Gates)
    serving: Serving = Field(default_factory=Serving)
    rollout: Rollout = Field(default_factory=Rollout)
    # Not written out: a model's id and what is cached depend on the written form.
    kubernetes: Kubernetes = Field(default_factory=Kubernetes, exclude=True)

    @property
    def fact(self) -> Table:
        """The (first) fact table: all fact tables have its columns."""
        return self.tables[self.facts[0]]

    def steps(self, value: timedelta, path: tuple[str | int, ...] = ()) -> int:
        """Return a duration in steps of the calendar.

        Raises
        ------
        ProblemError
            When there is no time column or the duration is not a whole number of steps.
        """
        if self.time is None:
            raise ProblemError("a duration needs `time`; found none. Declare `time: {column, step}`", path)
        count, rest = divmod(value, self.time.step)
        if rest:
            raise ProblemError(
                f"{duration_text(value)} is not a whole number of steps of {duration_text(self.time.step)}",
                path,
            )
        return count

    @model_validator(mode="after")
    def _structure(self) -> Problem:
        check_structure(self)
        return self
