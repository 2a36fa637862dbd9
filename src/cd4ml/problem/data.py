"""Sources, their tables and contracts, and what is done to their rows before features are made."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cd4ml.problem.quantities import Duration, Model, Name, Names, Scalar, Severity

__all__ = [
    "Column",
    "Csv",
    "Drift",
    "Filter",
    "ForeignKey",
    "Freshness",
    "Join",
    "Panel",
    "RowCount",
    "Table",
    "Target",
    "Time",
    "Unique",
]


class Column(Model):
    """What a column of a source must look like."""

    type: Literal["integer", "number", "text", "category", "boolean", "date", "timestamp"]
    format: str | None = None
    """strptime format of a date or timestamp, e.g. `%m/%d/%Y`; without it ISO 8601."""
    nulls: bool = False
    """May the value be absent?"""
    min: Scalar | None = None
    max: Scalar | None = None
    """Inclusive bounds; `today` is allowed for dates."""
    allowed: list[Scalar] | None = None
    """The only values that are right."""
    replace: dict[str, str] = Field(default_factory=dict)
    """Texts that are replaced before anything is checked, e.g. `{"<=50K.": "<=50K"}`."""
    severity: Severity = "quarantine"
    """What happens to a row that breaks a rule of this column."""
    known: Literal["ahead"] | Duration | None = None
    """`ahead`: known before the horizon begins (a calendar, a plan). A duration: how long after the fact it
    is recorded. Without it: facts are known at once, tables without the time column always."""
    description: str = ""


class Csv(Model):
    """How a text file is written."""

    delimiter: str = Field(",", min_length=1, max_length=1)
    header: bool = True
    """Without a header the columns are taken in the order in which they are declared."""
    skip_rows: int = Field(0, ge=0)
    comment: str | None = Field(None, min_length=1, max_length=1)
    """Lines that begin with this character are ignored."""
    encoding: Literal["utf-8", "latin-1"] = "utf-8"
    missing: list[str] = Field(default_factory=lambda: [""])
    """Texts that mean "no value"."""
    strip: bool = False
    """Remove blanks around values."""


class ForeignKey(Model):
    """Every value must exist in another table."""

    columns: Names
    table: str
    references: Names | None = None
    """Columns of the other table; the same names by default."""
    severity: Severity = "quarantine"


class Unique(Model):
    """No two rows may agree in these columns."""

    columns: Names
    severity: Severity = "quarantine"


class Freshness(Model):
    """The newest value of a time column must not be older than this when the snapshot is taken."""

    column: str
    within: Duration
    severity: Severity = "warn"


class RowCount(Model):
    """How many rows are right, alone and against the last accepted snapshot."""

    min: int = Field(1, ge=0)
    max: int | None = None
    max_change_fraction: float | None = Field(None, gt=0)
    """0.5 means: half as many or one and a half times as many rows are still right."""
    severity: Severity = "refuse"


class Drift(Model):
    """How far a distribution may move from the last accepted snapshot."""

    max_l_infinity: float = Field(0.25, gt=0, le=1)
    """Largest change of one category's share; 0 means equal."""
    max_jensen_shannon: float = Field(0.15, gt=0, le=1)
    """Jensen-Shannon distance of numbers in base 2; 0 means equal, 1 disjoint."""
    severity: Severity = "warn"


class Table(Model):
    """One source table and its contract."""

    file: Names = Field(default_factory=list)
    """File names below the data folder, or whole URLs (`s3://`, `https://`). CSV, CSV.gz and Parquet are
    known by name; `train.csv` also finds `train.csv.gz` and `train.parquet`."""
    query: str | None = None
    """SQL instead of a file; needs `database`."""
    database: str | None = None
    """`sqlite:FILE` or `postgres:CONNECTION`; passwords come from the environment."""
    csv: Csv = Field(default_factory=Csv)
    columns: dict[str, Column]
    unique: list[Unique] = Field(default_factory=list)
    foreign_keys: list[ForeignKey] = Field(default_factory=list)
    freshness: Freshness | None = None
    rows: RowCount = Field(default_factory=RowCount)
    drift: Drift = Field(default_factory=Drift)
    known: Literal["ahead"] | Duration | None = None
    """Default of `known` for all of its columns."""
    optional: bool = False
    """An absent table is then empty: its joined columns are null, its flags false."""
    description: str = ""
    owner: str = ""

    @model_validator(mode="after")
    def _one_source(self) -> Table:
        if bool(self.file) == bool(self.query):
            raise ValueError("expected either `file` or `query`; found " + ("both" if self.file else "none"))
        if self.query and not self.database:
            raise ValueError("a `query` needs `database`, e.g. `sqlite:shop.db`")
        return self


class Filter(Model):
    """Rows that are left out by rule; they are counted."""

    name: Name
    drop: str
    """Expression over the facts' own columns; rows where it is true are left out."""
    reason: str


class Join(Model):
    """Columns of another table brought to each fact."""

    table: str
    on: dict[str, str] | Names
    """Column names that agree, or a mapping from the fact's column to the table's."""
    where: str | None = None
    """Expression over the table's columns: only these rows take part."""
    columns: dict[str, str] | Names | None = None
    """Which columns, or a mapping from the table's name to the new one; all but the keys by default."""
    flag: str | None = None
    """Name of a new 0/1 column instead of columns: 1 where at least one row matches."""

    @property
    def keys(self) -> dict[str, str]:
        """Fact column -> table column."""
        return dict(self.on) if isinstance(self.on, dict) else {name: name for name in self.on}

    def renamed(self, table: Table) -> dict[str, str]:
        """Table column -> new column."""
        if self.flag:
            return {}
        if isinstance(self.columns, dict):
            return dict(self.columns)
        chosen = self.columns or [name for name in table.columns if name not in self.keys.values()]
        return {name: name for name in chosen}


class Time(Model):
    """The time of a fact."""

    column: str
    """A column of the facts, or a derived one."""
    step: Duration
    """The length of one step of the calendar."""


class Panel(Model):
    """What an absent step of an entity means."""

    absent: Literal["zero", "missing"]
    """`zero`: nothing happened (no row is no sale). `missing`: nobody knows."""


class Target(Model):
    """What is to be predicted."""

    column: str
    positive: Scalar | None = None
    """Classification: the value that counts as 1."""
    transform: Literal["none", "log1p"] = "none"
    """Regression: the scale on which models are fitted; predictions come back on the original one."""
    min: float | None = None
    """Predictions below are raised to this; 0 for counts."""
