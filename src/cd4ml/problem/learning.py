"""Split, candidates, metrics, gates and serving of a problem."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from cd4ml.problem.quantities import Duration, Model, Name, Names

__all__ = [
    "Baseline",
    "Candidate",
    "Gates",
    "Metrics",
    "Search",
    "Serving",
    "Split",
    "Stock",
    "Threshold",
]


class Split(Model):
    """What is learnt from, chosen on and judged on."""

    kind: Literal["time", "entity", "random", "table"]
    holdout: Duration | Annotated[float, Field(gt=0, lt=1)] | str
    """`time`: a duration at the end. `entity`, `random`: a fraction. `table`: a fact table's name."""
    folds: int = Field(3, ge=1, le=20)
    fold: Duration | None = None
    """`time`: length of a validation fold; the holdout's, shortened where needed, by default."""
    gap: Duration = timedelta(0)
    """Left out between training and what is judged."""
    embargo: Duration = timedelta(0)
    """`time`: steps between two validation folds, so that one does not lean on the other."""


class Candidate(Model):
    """A family of models and the space in which it is searched."""

    name: Name
    family: Literal["gradient_boosting", "random_forest", "ridge", "logistic"]
    loss: Literal["squared_error", "absolute_error", "poisson", "quantile", "log_loss"] | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Fixed parameters of the estimator."""
    search: dict[str, Any] = Field(default_factory=dict)
    """Parameter -> list of values (the first is the default) or {low, high, scale, type}."""
    tries: int = Field(4, ge=1)
    """How many points of the space enter the search."""


class Search(Model):
    """Successive halving over all candidates."""

    budget_row_fits: int = Field(3_000_000, ge=1)
    """Sum over fits of the rows fitted: repeats on any machine, unlike seconds."""
    max_seconds: float = Field(3600, gt=0)
    """A search that takes longer fails loudly."""
    seed: int = 0
    repeats: int = Field(1, ge=1, le=10)
    """Fits of the winner with other seeds; their spread goes into the verdict."""


class Metrics(Model):
    """How models are compared."""

    primary: str
    also: list[str] = Field(default_factory=list)
    weight: str | None = None
    """Expression that gives a row's weight."""
    cluster: Literal["row", "day", "step", "entity"] = "row"
    """What is resampled as a whole by the bootstrap: rows of one cluster share shocks."""
    resamples: int = Field(1000, ge=100)
    level: float = Field(0.95, gt=0.5, lt=1)


class Baseline(Model):
    """A forecast that needs no model."""

    name: Name
    kind: Literal["seasonal_naive", "group_mean", "mean"]
    period: Duration | None = None
    """`seasonal_naive`: the season; the last known one before the horizon is repeated."""
    by: Names = Field(default_factory=list)
    """`group_mean`: mean of the training target by these columns, the overall mean for unknown ones."""


class Stock(Model):
    """What a wrong order costs; asks for a quantile model at under / (under + over)."""

    under_cost: float = Field(gt=0)
    """Cost of one unit too few."""
    over_cost: float = Field(gt=0)
    """Cost of one unit too many."""

    @property
    def quantile(self) -> float:
        """The newsvendor's critical fraction, in (0, 1)."""
        return self.under_cost / (self.under_cost + self.over_cost)


class Threshold(Model):
    """An absolute limit on a holdout metric."""

    metric: str
    limit: float
    on: Literal["estimate", "interval"] = "estimate"
    """`interval`: the worse end of the interval must keep the limit."""


class Gates(Model):
    """When a model is good enough."""

    max_quarantined_fraction: float = Field(0.01, ge=0, le=1)
    baseline_margin_fraction: float = 0.0
    """The improvement over each baseline must be larger, with its whole interval."""
    thresholds: list[Threshold] = Field(default_factory=list)
    parity_tolerance: float = Field(1e-4, gt=0)
    """Largest difference of the exported model from the estimator, relative to max(1, |prediction|)."""
    max_latency_ms: float = Field(50, gt=0)
    """99th percentile of a single row's prediction, features included."""


class Serving(Model):
    """What the served model asks of its callers."""

    unknown: Literal["bucket", "refuse"] = "bucket"
    """What happens to a category or an entity that training did not see."""
    max_rows: int = Field(10_000, ge=1)
