"""Features as data, with the time at which they are known."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cd4ml.problem.quantities import Aggregate, Duration, Model, Names, Statistic

__all__ = ["Age", "Calendar", "Category", "Columns", "Feature", "Historic", "Lag", "Rolling", "Seasonal"]


CalendarPart = Literal[
    "hour",
    "day_of_week",
    "day_of_month",
    "day_of_year",
    "week",
    "month",
    "year",
    "weekend",
    "payday",
    "days_to_month_end",
    "trend",
]


class Historic(Model):
    """What features of the past have in common."""

    of: str
    """A numeric column, raw or derived."""
    by: Names | None = None
    """Group whose history it is: entity columns or joined ones. The entity by default; [] is everybody."""
    aggregate: Aggregate = "mean"
    """How the entities of a group are put together."""
    name: str | None = None
    """Stem of the feature names; made from `of` and `by` by default."""


class Columns(Model):
    """Numbers and flags as they are."""

    kind: Literal["columns"]
    columns: Names


class Category(Model):
    """Categories as numbers."""

    kind: Literal["category"]
    columns: Names
    encoding: Literal["ordinal", "one_hot", "frequency"] = "ordinal"
    """`ordinal`: by descending frequency; `frequency`: share among the training rows."""
    max_categories: int = Field(255, ge=1, le=100_000)
    """Rarer ones share one bucket with the unknown."""


class Calendar(Model):
    """Parts of the time column."""

    kind: Literal["calendar"]
    parts: list[CalendarPart]
    """`payday`: days since the last 15th or month's end. `trend`: steps since the first training step."""


class Lag(Historic):
    """The value some time ago."""

    kind: Literal["lag"]
    lags: list[Duration]


class Rolling(Historic):
    """Statistics over windows that end some time ago."""

    kind: Literal["rolling"]
    windows: list[Duration]
    statistics: list[Statistic] = Field(default=["mean"])
    after: Duration | None = None
    """How long ago the newest step of a window is; the earliest honest one by default."""


class Seasonal(Historic):
    """Mean over the same phase of the last known seasons."""

    kind: Literal["seasonal"]
    period: Duration
    cycles: list[int] = Field(default_factory=lambda: [4])
    """How many seasons; each gives one feature."""


class Age(Model):
    """Steps since an entity was first seen, as known at the horizon; 0 on its first step."""

    kind: Literal["age"]
    by: Names | None = None


Feature = Annotated[
    Columns | Category | Calendar | Lag | Rolling | Seasonal | Age, Field(discriminator="kind")
]
